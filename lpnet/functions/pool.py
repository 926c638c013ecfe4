"""Pooling: the largest or the mean of each window."""

from __future__ import annotations

import math
from typing import Any

from ..backend import get_array_module
from ..tensor import Array, Function, Tensor
from .conv import Pair, out_size, padded, pair, taps


class _Pool(Function):
    name = "pool"

    def __init__(self, size: Pair, stride: Pair | None, padding: Pair) -> None:
        self.size = pair(size, f"{self.name}: size")
        self.stride = self.size if stride is None else pair(stride, f"{self.name}: stride")
        self.padding = pair(padding, f"{self.name}: padding", least=0)
        if any(2 * p > k for p, k in zip(self.padding, self.size, strict=True)):
            raise ValueError(f"{self.name}: padding {padding} is more than half the window {size}")

    def _look(self, x: Array) -> None:
        """Find for each place in the window the index of what it sees in the padded x."""
        if x.ndim != 4:
            raise ValueError(f"{self.name}: expected input (N, C, H, W), got {x.shape}")
        self.shape = x.shape
        out = tuple(out_size(*numbers) for numbers in zip(x.shape[2:], self.size, self.stride, self.padding,
                                                          strict=True))  # fmt: skip
        if min(out) < 1:
            raise ValueError(f"{self.name}: a window of {self.size} does not fit into an input of {x.shape[2:]}")
        self.taps = list(taps(self.size, self.stride, (1, 1), out))

    def _empty_gradient(self, gy: Array) -> Array:
        (n, c, h, w), (ph, pw) = self.shape, self.padding
        return get_array_module(gy).zeros((n, c, h + 2 * ph, w + 2 * pw), dtype=gy.dtype)

    def _cropped(self, gx: Array) -> Array:
        (*_, h, w), (ph, pw) = self.shape, self.padding
        return gx[..., ph : ph + h, pw : pw + w]


class MaxPool2d(_Pool):
    # y = max of the window; the first of equal ones gets the gradient
    name, rounds = "max_pool2d", False

    def __init__(self, size: Pair, stride: Pair | None, padding: Pair) -> None:
        super().__init__(size, stride, padding)
        self.sums = any(s < k for s, k in zip(self.stride, self.size, strict=True))  # an input in several windows

    def forward(self, x: Array) -> Array:
        self._look(x)
        xp, (first, *rest) = get_array_module(x), self.taps
        x = padded(x, self.padding, -math.inf)
        y = x[first].copy()
        self.place = xp.zeros(y.shape, dtype=xp.uint8 if len(rest) < 256 else xp.int32)
        for k, index in enumerate(rest, 1):
            if any(self.needs):
                self.place = xp.where(x[index] > y, self.place.dtype.type(k), self.place)
            xp.maximum(y, x[index], out=y)
        return y

    def backward(self, gy: Array) -> Array:
        gx = self._empty_gradient(gy)
        for k, index in enumerate(self.taps):
            gx[index] += gy * (self.place == k)
        return self._cropped(gx)


def max_pool2d(x: Any, size: Pair, stride: Pair | None = None, padding: Pair = 0) -> Tensor:
    """Return the maxima of the windows of x (N, C, H, W); stride None is the window's size."""
    return MaxPool2d(size, stride, padding)(x)


class AvgPool2d(_Pool):
    # y = mean of the window, its padding of zeros counted in
    name = "avg_pool2d"

    def forward(self, x: Array) -> Array:
        self._look(x)
        first, *rest = self.taps
        x = padded(x, self.padding)
        y = x[first].copy()
        for index in rest:
            y += x[index]
        y /= math.prod(self.size)
        return y

    def backward(self, gy: Array) -> Array:
        gx, share = self._empty_gradient(gy), gy / math.prod(self.size)
        for index in self.taps:
            gx[index] += share
        return self._cropped(gx)


def avg_pool2d(x: Any, size: Pair, stride: Pair | None = None, padding: Pair = 0) -> Tensor:
    """Return the means of the windows of x (N, C, H, W), padding included; stride None is the window's size."""
    return AvgPool2d(size, stride, padding)(x)
