"""Pooling: the largest or the mean of each window."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..backend import carry_digits, empty, get_array_module, keeps_digits, parallel, select, slices
from ..tensor import Array, Function, Tensor
from ..validate import Pair, pair
from .conv import out_size, padded, taps


class _Pool(Function):
    name = "pool"

    def __init__(self, size: Pair, stride: Pair | None, padding: Pair) -> None:
        self.size = pair(self.name, "size", size)
        self.stride = self.size if stride is None else pair(self.name, "stride", stride)
        self.padding = pair(self.name, "padding", padding, 0)
        if any(2 * p > k for p, k in zip(self.padding, self.size, strict=True)):
            raise ValueError(f"{self.name}: padding {padding} is more than half the window {size}")

    def _look(self, x: Array) -> tuple[int, ...]:
        """Find for each place in the window the index of what it sees in the padded x; return the output's shape."""
        if x.ndim != 4:
            raise ValueError(f"{self.name}: expected input (N, C, H, W), got {x.shape}")
        self.shape = x.shape
        out = tuple(out_size(*numbers) for numbers in zip(x.shape[2:], self.size, self.stride, self.padding,
                                                          strict=True))  # fmt: skip
        if min(out) < 1:
            raise ValueError(f"{self.name}: a window of {self.size} does not fit into an input of {x.shape[2:]}")
        self.taps = list(taps(self.size, self.stride, (1, 1), out))
        return (*x.shape[:2], *out)

    def _slices(self, x: Array) -> list[slice]:
        if get_array_module(x) is not np:
            return [slice(None)]  # a GPU wants it whole
        return slices(self.shape[0], math.prod(self.shape[1:]))

    def _spread(self, gy: Array, share: Callable[[slice], Iterator[Array]]) -> Array:
        """Return the sum of the gradients that each place in the window gets, `share` of some samples at a time."""
        (n, c, h, w), (ph, pw), xp = self.shape, self.padding, get_array_module(gy)
        gx = empty((n, c, h + 2 * ph, w + 2 * pw), gy.dtype, xp)
        # Windows side by side that reach everywhere: each input gets one share.
        tiled = self.stride == self.size and all(k * m == n for k, m, n in zip(
            self.size, gy.shape[2:], gx.shape[2:], strict=True))  # fmt: skip

        def add(samples: slice) -> None:
            part = gx[samples]
            if not tiled:
                part[...] = 0
            for index, gradient in zip(self.taps, share(samples), strict=True):
                if tiled:
                    part[index] = gradient
                else:
                    part[index] += gradient

        parallel(add, self._slices(gy))
        return gx[..., ph : ph + h, pw : pw + w]


class MaxPool2d(_Pool):
    # y = max of the window; the first of equal ones gets the gradient
    name = "max_pool2d"

    def __init__(self, size: Pair, stride: Pair | None, padding: Pair) -> None:
        super().__init__(size, stride, padding)
        overlap = any(s < k for s, k in zip(self.stride, self.size, strict=True))
        self.rounds = "backward" if overlap else False  # an input in several windows gets several gradients

    @keeps_digits
    def forward(self, x: Array) -> Array:
        xp, self.x = get_array_module(x), x
        y = self.y = empty(self._look(x), x.dtype, xp)

        def pool(samples: slice) -> None:
            first, *rest = self._seen(samples)
            y[samples] = first
            for other in rest:
                xp.maximum(y[samples], other, out=y[samples])

        parallel(pool, self._slices(x))
        return y

    def backward(self, gy: Array) -> Array:
        xp = get_array_module(gy)
        inside = padded(xp.ones(self.shape[2:], bool), self.padding, False)  # the border never gets anything
        # Asking a GPU would mean to wait for it.
        has_nan = xp is not np or np.isnan(self.y).any()

        def share(samples: slice) -> Iterator[Array]:
            free = True  # windows whose largest is still to be met
            for x, index in zip(self._seen(samples), self.taps, strict=True):
                here = (x == self.y[samples]) & free
                if has_nan:  # the largest of a window that sees one
                    here |= (x != x) & free
                if self.padding != (0, 0):
                    here &= inside[index]
                free = free & ~here
                yield select(here, gy[samples])

        gx = self._spread(gy, share)
        if not self.rounds:
            carry_digits(gx, gy)
        return gx

    def _seen(self, samples: slice) -> list[Array]:
        """Return for each place in the window what it sees of some samples."""
        x = padded(self.x[samples], self.padding, -math.inf)
        return [x[index] for index in self.taps]


def max_pool2d(x: Any, size: Pair, stride: Pair | None = None, padding: Pair = 0) -> Tensor:
    """Return the maxima of the windows of x (N, C, H, W); stride None is the window's size."""
    return MaxPool2d(size, stride, padding)(x)


class AvgPool2d(_Pool):
    # y = mean of the window, its padding of zeros counted in
    name = "avg_pool2d"

    def forward(self, x: Array) -> Array:
        y = empty(self._look(x), x.dtype, get_array_module(x))

        def pool(samples: slice) -> None:
            padded_x, total = padded(x[samples], self.padding), 0
            for index in self.taps:
                total = total + padded_x[index]
            y[samples] = total / math.prod(self.size)

        parallel(pool, self._slices(x))
        return y

    def backward(self, gy: Array) -> Array:
        def share(samples: slice) -> Iterator[Array]:
            return itertools.repeat(gy[samples] / math.prod(self.size), len(self.taps))

        return self._spread(gy, share)


def avg_pool2d(x: Any, size: Pair, stride: Pair | None = None, padding: Pair = 0) -> Tensor:
    """Return the means of the windows of x (N, C, H, W), padding included; stride None is the window's size."""
    return AvgPool2d(size, stride, padding)(x)
