"""Dropout, whose mask is a function of seed, site and position like every other random bit."""

from __future__ import annotations

from typing import Any

from .. import random
from ..backend import Array, get_array_module, select
from ..tensor import Function, Tensor
from ..validate import number


class Dropout(Function):
    # y = x / (1 - p) where kept, 0 elsewhere
    def __init__(self, p: float, stream: random.Stream | None) -> None:
        self.p, self.stream = p, stream

    def forward(self, x: Array) -> Array:
        xp = get_array_module(x)
        self.kept = random.draw(self.stream, x.size, xp).reshape(x.shape) >= round(self.p * 65536)
        self.factor = x.dtype.type(1) / x.dtype.type(1 - self.p)
        return select(self.kept, x * self.factor)

    def backward(self, gy: Array) -> Array:
        return select(self.kept, gy * self.factor)


def dropout(x: Any, p: float = 0.5, stream: random.Stream | None = None) -> Tensor:
    """Return x with elements set to 0 with probability `p` (to 2^-16) and the others divided by 1 - p.

    Raises ValueError unless 0 <= p < 1. Source: Srivastava et al., JMLR 2014.
    """
    return Dropout(number("dropout", "p", p, 0, 1, "[)"), stream)(x)
