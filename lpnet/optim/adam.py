"""Adam, with weight decay as part of the gradient or of the step."""

from __future__ import annotations

from typing import Any, ClassVar

from ..backend import Array, get_array_module
from ..precision import ByName, PrecisionLike
from ..validate import number
from .groups import Hyperparameter, Params
from .optimizer import Optimizer, State


def _decays(owner: str, name: str, betas: Any) -> tuple[float, ...]:
    first, second = (number(owner, name, beta, 0, 1, "[)") for beta in betas)
    return first, second


class Adam(Optimizer):
    """Steps along the mean gradient divided by the root of the mean squared gradient.

    Both means are state: the first is kept rounded as momentum, the second as second_moment, which is exact unless it
    is given by itself. weight_decay is added to the gradient. Source: Kingma and Ba, ICLR 2015. Parameters: betas, the
    decay of the two means; eps, added to the root; the rest as for Optimizer.
    """

    decoupled, counts = False, True
    betas, eps, weight_decay = Hyperparameter(_decays), Hyperparameter(), Hyperparameter()
    roles: ClassVar[dict[str, str]] = {"square": "second_moment"}

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        precision: PrecisionLike | ByName = None,
        compensate: bool = False,
    ) -> None:
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        super().__init__(params, lr, precision, compensate)

    def update(self, w: Array, g: Array, state: State) -> Array:
        """Return the weights after one step."""
        xp, (b1, b2) = get_array_module(w), self.betas
        if self.weight_decay and self.decoupled:
            w = w - self.lr * self.weight_decay * w
        elif self.weight_decay:
            g = g + self.weight_decay * w
        m = state["mean"] = (1 - b1) * g + (b1 * state["mean"] if "mean" in state else 0)
        s = state["square"] = (1 - b2) * g * g + (b2 * state["square"] if "square" in state else 0)
        t = state["t"] = state.get("t", 0) + 1  # of this parameter: its means started at 0 with its first gradient
        root = xp.sqrt(s / (1 - b2**t)) + self.eps
        return w - (self.lr / (1 - b1**t)) * m / root

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned, or from a state with one count of steps for all parameters."""
        for i, arrays in enumerate(state["state"].values()):
            if ("mean" in arrays) != ("square" in arrays):
                raise ValueError(f"{type(self).__name__}: the saved state of parameter {i} has one mean of the two")
        super().load_state_dict(state)
        for own in self.state:
            if "mean" in own and "t" in state:
                own.setdefault("t", int(state["t"]))


class AdamW(Adam):
    """Adam whose weight decay shrinks the weights directly. Source: Loshchilov and Hutter, ICLR 2019."""

    decoupled = True

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        precision: PrecisionLike | ByName = None,
        compensate: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, precision, compensate)
