"""Operations that choose between values. None rounds."""

from __future__ import annotations

from typing import Any

from ..backend import Array, check_one_device, get_array_module
from ..kernels import keeps_digits
from ..tensor import Function, Tensor


class Where(Function):
    # y = a where condition else b
    rounds = False

    def __init__(self, condition: Array) -> None:
        self.condition = condition

    @keeps_digits
    def forward(self, a: Array, b: Array) -> Array:
        check_one_device("where", self.condition, a, b)
        return get_array_module(a).where(self.condition, a, b)

    @keeps_digits
    def backward(self, gy: Array) -> tuple[Array, Array]:
        xp = get_array_module(gy)
        zero = xp.zeros_like(gy)
        return xp.where(self.condition, gy, zero), xp.where(self.condition, zero, gy)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """Return `a` where `condition` (an array of truth values) holds, `b` elsewhere."""
    return Where(_mask(condition))(a, b)


class Maximum(Where):
    # y = max(a, b)
    def __init__(self) -> None:
        """The condition is found by `forward`."""

    @keeps_digits
    def forward(self, a: Array, b: Array) -> Array:
        self.condition = (a >= b) | (a != a)  # NaN is the larger, wherever it is
        return get_array_module(a).maximum(a, b)


def maximum(a: Any, b: Any) -> Tensor:
    """Return the larger of a and b, element by element; where they are equal the gradient goes to `a`."""
    return Maximum()(a, b)


class Minimum(Maximum):
    # y = min(a, b)
    @keeps_digits
    def forward(self, a: Array, b: Array) -> Array:
        self.condition = (a <= b) | (a != a)
        return get_array_module(a).minimum(a, b)


def minimum(a: Any, b: Any) -> Tensor:
    """Return the smaller of a and b, element by element; where they are equal the gradient goes to `a`."""
    return Minimum()(a, b)


def _mask(condition: Any) -> Array:
    array = condition.data if isinstance(condition, Tensor) else condition
    return get_array_module(array).asarray(array, dtype=bool)
