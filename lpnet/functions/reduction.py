"""Sums, means and extremes along axes."""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from ..backend import Array, get_array_module, select
from ..operators import Axis
from ..tensor import Function, Tensor
from .activation import top_of
from .arithmetic import Sqrt, div, power, sub


def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    axes = range(ndim) if axis is None else (axis,) if isinstance(axis, int | np.integer) else axis
    n = ndim or 1  # one number has an axis 0, too, that a sum may go along
    if wrong := [a for a in axes if not -n <= a < n]:
        raise np.exceptions.AxisError(wrong[0], ndim)
    return tuple(a % ndim for a in axes) if ndim else ()


def _numpys(axis: Axis, ndim: int) -> Axis:
    """Return `axis` as NumPy takes it: of one number it is none, where NumPy takes 0 but not (0,)."""
    _axes(axis, ndim)
    return axis if ndim else None


class Sum(Function):
    # y = sum of x along the axes
    def __init__(self, axis: Axis, keepdims: bool) -> None:
        self.axis, self.keepdims = axis, keepdims

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return x.sum(axis=_numpys(self.axis, x.ndim), keepdims=self.keepdims)

    def backward(self, gy: Array) -> Array:
        return get_array_module(gy).broadcast_to(self._with_axes(gy), self.shape)

    def _with_axes(self, gy: Array) -> Array:
        """Return `gy` with the summed axes back, of length 1."""
        axes = _axes(self.axis, len(self.shape))
        return gy.reshape([1 if i in axes else n for i, n in enumerate(self.shape)])


def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the sum along `axis` (None: of all elements)."""
    return Sum(axis, keepdims)(x)


class Mean(Sum):
    # y = sum of x along the axes / how many
    def forward(self, x: Array) -> Array:
        self.count = math.prod(x.shape[a] for a in _axes(self.axis, x.ndim))
        return super().forward(x) / self.count

    def backward(self, gy: Array) -> Array:
        return super().backward(gy / self.count)


def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the mean along `axis` (None: of all elements)."""
    return Mean(axis, keepdims)(x)


def var(x: Any, axis: Axis = None, keepdims: bool = False, correction: float = 0) -> Tensor:
    """Return the variance along `axis`, divided by the number of elements less `correction`, NumPy's 0, PyTorch's 1."""
    squares = power(sub(x, mean(x, axis, keepdims=True)), 2)
    if not correction:
        return mean(squares, axis, keepdims)
    n = math.prod(squares.shape[a] for a in _axes(axis, squares.ndim))
    return div(sum(squares, axis, keepdims), builtins.max(n - correction, 0))


class Deviation(Sqrt):
    # y = sqrt(variance), which is flat where all are equal: torch's choice at the kink
    def backward(self, gy: Array) -> Array:
        xp = get_array_module(gy)
        return select(self.y != 0, gy / xp.where(self.y == 0, 1, 2 * self.y))


def std(x: Any, axis: Axis = None, keepdims: bool = False, correction: float = 0) -> Tensor:
    """Return the square root of `var`; the gradient where that is 0 is 0."""
    return Deviation()(var(x, axis, keepdims, correction))


class Max(Sum):
    # y = max of x along the axes; the gradient is shared evenly by the elements that reach it
    rounds = "backward"

    def forward(self, x: Array) -> Array:
        y = self.extreme(x)
        self.shape = x.shape
        self.chosen = (x == self._with_axes(y)) | (x != x)  # NaN is the extreme wherever there is one
        return y

    def backward(self, gy: Array) -> Array:
        share = (1 / self.chosen.sum(axis=_numpys(self.axis, self.chosen.ndim), keepdims=True)).astype(gy.dtype)
        return select(self.chosen, self._with_axes(gy) * share)

    def extreme(self, x: Array) -> Array:
        return x.max(axis=_numpys(self.axis, x.ndim), keepdims=self.keepdims)


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the largest element along `axis`; equal ones share the gradient evenly."""
    return Max(axis, keepdims)(x)


class Min(Max):
    # y = min of x along the axes
    def extreme(self, x: Array) -> Array:
        return x.min(axis=_numpys(self.axis, x.ndim), keepdims=self.keepdims)


def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the smallest element along `axis`; equal ones share the gradient evenly."""
    return Min(axis, keepdims)(x)


class LogSumExp(Sum):
    # y = ln sum e^x,  gx = gy e^(x - y)
    def forward(self, x: Array) -> Array:
        xp = get_array_module(x)
        self.x, self.shape, axis = x, x.shape, _numpys(self.axis, x.ndim)
        top = top_of(x, axis)
        top = xp.where(xp.isfinite(top), top, 0)  # the shift changes nothing but overflow
        y = xp.log(xp.exp(x - top).sum(axis=axis, keepdims=True)) + top
        self.share = xp.exp(x - xp.where(xp.isfinite(y), y, 0))
        return y if self.keepdims else y.reshape(x.sum(axis=axis).shape)

    def backward(self, gy: Array) -> Array:
        return self.share * self._with_axes(gy)


def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the logarithm of the sum of exp(x) along `axis` (None: of all), without overflow."""
    return LogSumExp(axis, keepdims)(x)


class Prod(Sum):
    # y = product of x along one axis; gx is the product of the others, right also where there are zeros
    def forward(self, x: Array) -> Array:
        self.x, self.shape = x, x.shape
        return x.prod(axis=_numpys(self.axis, x.ndim), keepdims=self.keepdims)

    def backward(self, gy: Array) -> Array:
        xp, axes = get_array_module(gy), _axes(self.axis, len(self.shape))
        kept = [a for a in range(len(self.shape)) if a not in axes]
        n = math.prod(self.shape[a] for a in axes)
        x = self.x.transpose(*kept, *axes).reshape(*(self.shape[a] for a in kept), n)  # the factors last
        ones = xp.ones((*x.shape[:-1], 1), x.dtype)
        before = xp.cumprod(xp.concatenate([ones, x[..., :-1]], axis=-1), axis=-1)
        after = xp.cumprod(xp.concatenate([ones, x[..., :0:-1]], axis=-1), axis=-1)[..., ::-1]
        others = (before * after)[..., :n].reshape([self.shape[a] for a in (*kept, *axes)])
        return others.transpose(np.argsort([*kept, *axes]).tolist()) * self._with_axes(gy)


def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Return the product along `axis` (None: of all elements)."""
    return Prod(axis, keepdims)(x)


class CumSum(Function):
    # y_i = x_1 + ... + x_i;  gx_i = gy_i + ... + gy_n
    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Array) -> Array:
        return x.cumsum(axis=self.axis).reshape(x.shape)  # NumPy makes an axis of one number

    def backward(self, gy: Array) -> Array:
        xp, g = get_array_module(gy), gy if gy.ndim else gy[None]
        return xp.flip(xp.flip(g, self.axis).cumsum(axis=self.axis), self.axis).reshape(gy.shape)


def cumsum(x: Any, axis: int = 0) -> Tensor:
    """Return the sums of the elements up to each, along `axis`."""
    return CumSum(axis)(x)


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Array:
    """Return the place of the largest element along `axis` (None: in the flattened tensor), an array of integers."""
    array = x.data if isinstance(x, Tensor) else x
    return array.argmax(axis=_numpys(axis, array.ndim), keepdims=keepdims)
