"""Layers that apply a function to every element."""

from __future__ import annotations

import math
from typing import Any

from .. import functions as F
from ..tensor import Tensor
from ..validate import choice, number
from .module import Module


class Activation(Module):
    """An elementwise function without parameters."""

    function: Any = None

    def forward(self, x: Any) -> Tensor:
        """Return the function of every element of x."""
        return type(self).function(x)


class ReLU(Activation):
    """Return max(x, 0)."""

    function = F.relu


class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    function = F.sigmoid


class Tanh(Activation):
    """The hyperbolic tangent."""

    function = F.tanh


class SiLU(Activation):
    """The input times its sigmoid, also called swish."""

    function = F.silu


class GELU(Activation):
    """The Gaussian error linear unit; approximate="tanh" takes the formula with tanh."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = choice("GELU", "approximate", approximate, ("none", "tanh"))

    def forward(self, x: Any) -> Tensor:
        """Return the function of every element of x."""
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        """Return the formula."""
        return f"approximate={self.approximate!r}"


class LeakyReLU(Activation):
    """The input where positive, `negative_slope` times it elsewhere."""

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = number("LeakyReLU", "negative_slope", negative_slope, -math.inf)

    def forward(self, x: Any) -> Tensor:
        """Return the function of every element of x."""
        return F.leaky_relu(x, self.negative_slope)

    def extra_repr(self) -> str:
        """Return the slope."""
        return f"negative_slope={self.negative_slope}"


class ELU(Activation):
    """The input x where positive, alpha (exp(x) - 1) elsewhere."""

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = number("ELU", "alpha", alpha)

    def forward(self, x: Any) -> Tensor:
        """Return the function of every element of x."""
        return F.elu(x, self.alpha)

    def extra_repr(self) -> str:
        """Return alpha."""
        return f"alpha={self.alpha}"


class Softplus(Activation):
    """A smooth ReLU, ln(1 + exp(beta x)) / beta."""

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = number("Softplus", "beta", beta, ends="(]")

    def forward(self, x: Any) -> Tensor:
        """Return the function of every element of x."""
        return F.softplus(x, self.beta)

    def extra_repr(self) -> str:
        """Return beta."""
        return f"beta={self.beta}"
