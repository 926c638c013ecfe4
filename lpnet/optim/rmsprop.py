"""RMSprop."""

from __future__ import annotations

from typing import ClassVar

from ..backend import Array, get_array_module
from ..precision import ByName, PrecisionLike
from ..validate import number
from .groups import Hyperparameter, Params, on
from .optimizer import Optimizer, State


class RMSprop(Optimizer):
    """Step by s <- alpha s + (1 - alpha) g^2,  w <- w - lr g / (root of s + eps).

    With momentum, v <- momentum v + g / (root of s + eps) is what w goes along; centered, the square of the mean
    gradient, kept as s is, is taken from s. s is kept rounded as second_moment, the mean and v as momentum;
    weight_decay is added to the gradient. Source: Hinton, "Neural networks for machine learning", 2012, lecture 6e;
    Graves, "Generating sequences with recurrent neural networks", 2013, equations 38 to 45, for what is centered.
    Parameters: alpha, the decay of s; eps, added to the root; the rest as for Optimizer.
    """

    alpha = Hyperparameter(lambda owner, name, value: number(owner, name, value, 0, 1))
    eps, weight_decay, momentum = Hyperparameter(), Hyperparameter(), Hyperparameter()
    centered = Hyperparameter(on)
    roles: ClassVar[dict[str, str]] = {"square": "second_moment"}

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        precision: PrecisionLike | ByName = None,
        compensate: bool = False,
    ) -> None:
        self.alpha, self.eps, self.weight_decay = alpha, eps, weight_decay
        self.momentum, self.centered = momentum, centered
        super().__init__(params, lr, precision, compensate)

    def update(self, w: Array, g: Array, state: State) -> Array:
        """Return the weights after one step."""
        xp = get_array_module(w)
        if self.weight_decay:
            g = g + self.weight_decay * w
        s = state["square"] = self._mean(state.get("square"), g * g)
        if self.centered:
            m = state["mean"] = self._mean(state.get("mean"), g)
            s = xp.maximum(s - m * m, 0)  # a variance, below 0 only where the two were rounded
        v = g / (xp.sqrt(s) + self.eps)
        if self.momentum:
            v = state["momentum"] = v + (self.momentum * state["momentum"] if "momentum" in state else 0)
        return w - self.lr * v

    def _mean(self, mean: Array | None, x: Array) -> Array:
        """Return the decaying mean with `x` in it; it begins with 0."""
        return (1 - self.alpha) * x + (0 if mean is None else self.alpha * mean)
