"""SGD with momentum."""

from __future__ import annotations

from ..backend import Array, get_array_module
from ..kernels import kernel
from ..precision import ByName, PrecisionLike
from .groups import Group, Hyperparameter, Params, on
from .optimizer import Optimizer, State


class SGD(Optimizer):
    """Step by v <- momentum * v + g,  w <- w - lr * v, where g is the rounded gradient plus weight_decay * w.

    v is kept rounded. With nesterov, the step is along g + momentum * v. Source: Algorithm 2 of Yang et al., "SWALP",
    ICML 2019. Parameters and errors as for Optimizer.
    """

    momentum, weight_decay, nesterov = Hyperparameter(), Hyperparameter(), Hyperparameter(on)

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        precision: PrecisionLike | ByName = None,
        compensate: bool = False,
    ) -> None:
        self.momentum, self.weight_decay, self.nesterov = momentum, weight_decay, nesterov
        super().__init__(params, lr, precision, compensate)

    def check_group(self, group: Group) -> None:
        """Raise ValueError for nesterov without momentum."""
        if group["nesterov"] and not group["momentum"]:
            raise ValueError("SGD: nesterov needs a momentum above 0")

    def update(self, w: Array, g: Array, state: State) -> Array:
        """Return the weights after one step."""
        sgd, v = kernel("sgd", get_array_module(w)), state.get("momentum")
        w, v = sgd(w, g, v, self.lr, self.weight_decay, self.momentum, self.nesterov)
        if self.momentum:
            state["momentum"] = v
        return w
