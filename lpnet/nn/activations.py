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
    option = ""  # the attribute that the function takes beside x, if it takes one

    def forward(self, x: Any) -> Tensor:
        """Return the function of every element of x."""
        return type(self).function(x, *([getattr(self, self.option)] if self.option else []))

    def extra_repr(self) -> str:
        """Return the option."""
        return f"{self.option}={getattr(self, self.option)!r}" if self.option else ""


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

    function, option = F.gelu, "approximate"

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = choice("GELU", "approximate", approximate, ("none", "tanh"))


class LeakyReLU(Activation):
    """The input where positive, `negative_slope` times it elsewhere."""

    function, option = F.leaky_relu, "negative_slope"

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = number("LeakyReLU", "negative_slope", negative_slope, -math.inf)


class ELU(Activation):
    """The input x where positive, alpha (exp(x) - 1) elsewhere."""

    function, option = F.elu, "alpha"

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = number("ELU", "alpha", alpha)


class Softplus(Activation):
    """A smooth ReLU, ln(1 + exp(beta x)) / beta."""

    function, option = F.softplus, "beta"

    def __init__(self, beta: float = 1.0) -> None:
        self.beta = number("Softplus", "beta", beta, ends="(]")
