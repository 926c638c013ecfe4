"""Pooling: the largest or the mean of each window."""

from __future__ import annotations

from typing import Any, ClassVar

from ..backend import Array, get_array_module
from ..kernels import keeps_digits, kernel, pool
from ..kernels.geometry import WindowGeometry
from ..tensor import Function, Tensor
from ..validate import Pair, flag, integer, pair
from ._batch import of_batches


class _Pool(Function):
    name: ClassVar[str]

    def __init__(self, size: Pair, stride: Pair | None, padding: Pair, dilation: Pair, ceil_mode: bool) -> None:
        self.window = pair(self.name, "size", size)
        self.stride = self.window if stride is None else pair(self.name, "stride", stride)
        self.padding, self.dilation = pair(self.name, "padding", padding, 0), pair(self.name, "dilation", dilation)
        self.ceil_mode = flag(self.name, "ceil_mode", ceil_mode)
        self.reach = tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, self.window, strict=True))
        if any(2 * p > n for p, n in zip(self.padding, self.reach, strict=True)):
            raise ValueError(f"{self.name}: padding {padding} is more than half the window {size}")

    def geometry_on(self, x: Array) -> WindowGeometry:
        """Return where the windows lie on x; raises ValueError if none does."""
        if x.ndim != 4:
            raise ValueError(f"{self.name}: expected input (N, C, H, W) or (C, H, W), got {x.shape}")
        geometry = WindowGeometry(x.shape[2:], self.window, self.stride, self.padding, self.dilation)
        geometry = geometry.reaching() if self.ceil_mode else geometry
        geometry.check(self.name)
        return geometry


class MaxPool2d(_Pool):
    # y = max of the window; the first of equal ones gets the gradient
    name = "max_pool2d"

    def __init__(self, size: Pair, stride: Pair | None, padding: Pair, dilation: Pair, ceil_mode: bool) -> None:
        super().__init__(size, stride, padding, dilation, ceil_mode)
        overlap = any(s < n for s, n in zip(self.stride, self.reach, strict=True))
        self.rounds = "backward" if overlap else False  # an input in several windows gets several gradients

    @keeps_digits
    def forward(self, x: Array) -> Array:
        self.x, self.geometry = x, self.geometry_on(x)
        self.y = kernel("max_pool2d", get_array_module(x))(self.geometry, x)
        return self.y

    def backward(self, gy: Array) -> Array:
        gx = kernel("max_pool2d_backward", get_array_module(gy))(self.geometry, gy, self.x, self.y)
        return gx if self.rounds else kernel("carry_digits", get_array_module(gx))(gx, gy)


def max_pool2d(
    x: Any, size: Pair, stride: Pair | None = None, padding: Pair = 0, dilation: Pair = 1, ceil_mode: bool = False
) -> Tensor:
    """Return the maxima of the windows of x (N, C, H, W) or (C, H, W); stride None is the window's size.

    The padding is smaller than any number. dilation is the distance of a window's places; with ceil_mode, windows that
    begin in the image or before it may end behind its border. Raises ValueError for shapes that do not fit.
    """
    return of_batches(MaxPool2d(size, stride, padding, dilation, ceil_mode), x, 4)(x)


class AvgPool2d(_Pool):
    # y = mean of the window, with its padding of zeros or without
    name = "avg_pool2d"

    def __init__(
        self, size: Pair, stride: Pair | None, padding: Pair, ceil_mode: bool, count_include_pad: bool
    ) -> None:
        super().__init__(size, stride, padding, 1, ceil_mode)
        self.count_include_pad = flag(self.name, "count_include_pad", count_include_pad)

    def forward(self, x: Array) -> Array:
        self.geometry = self.geometry_on(x)
        self.count = pool.places(self.geometry, self.count_include_pad, x)
        return kernel("avg_pool2d", get_array_module(x))(self.geometry, x, self.count)

    def backward(self, gy: Array) -> Array:
        return kernel("avg_pool2d_backward", get_array_module(gy))(self.geometry, gy, self.count)


def avg_pool2d(
    x: Any,
    size: Pair,
    stride: Pair | None = None,
    padding: Pair = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Return the means of the windows of x (N, C, H, W) or (C, H, W); stride None is the window's size.

    The padding of zeros counts unless count_include_pad is False; with ceil_mode, windows that begin in the image or
    before it may end behind its border, and what is there never counts. Raises ValueError for shapes that do not fit.
    """
    return of_batches(AvgPool2d(size, stride, padding, ceil_mode, count_include_pad), x, 4)(x)


class AdaptiveAvgPool2d(Function):
    # y[h, w] = mean of rows floor(h H / H') to ceil((h + 1) H / H'), columns likewise
    def __init__(self, size: Any) -> None:
        both = size if isinstance(size, tuple | list) and len(size) == 2 else (size, size)
        self.out = [n if n is None else integer("adaptive_avg_pool2d", "size", n, 1) for n in both]

    def forward(self, x: Array) -> Array:
        if x.ndim != 4 or min(x.shape[2:]) < 1:
            raise ValueError(f"adaptive_avg_pool2d: expected input (N, C, H, W) or (C, H, W), got {x.shape}")
        self.shape = x.shape
        y = get_array_module(x).empty((*x.shape[:2], *map(len, self._parts())), x.dtype)
        for place, window, _ in self._windows():
            y[place] = x[window].mean(axis=(2, 3))
        return y

    def backward(self, gy: Array) -> Array:
        gx = get_array_module(gy).zeros(self.shape, gy.dtype)
        for place, window, count in self._windows():
            gx[window] += (gy[place] / count)[..., None, None]  # (N, C) -> (N, C, 1, 1)
        return gx

    def _parts(self) -> list[list[slice]]:
        """Return the rows of each row of the result, and its columns'."""
        sides = [(n, n if m is None else m) for n, m in zip(self.shape[2:], self.out, strict=True)]
        return [[slice(i * n // m, -(-(i + 1) * n // m)) for i in range(m)] for n, m in sides]

    def _windows(self) -> list[tuple[Any, Any, int]]:
        """Return the index of each place of the result, that of what it sees, and how many elements these are."""
        rows, columns = self._parts()
        return [
            ((..., h, w), (..., r, c), (r.stop - r.start) * (c.stop - c.start))
            for h, r in enumerate(rows)
            for w, c in enumerate(columns)
        ]


def adaptive_avg_pool2d(x: Any, size: Any) -> Tensor:
    """Return means of x (N, C, H, W) or (C, H, W) in as many windows as make images of `size`, whatever H and W.

    size is (H', W'), one number for both, or None for a side that stays as it is. Windows overlap where H' does not
    divide H. Raises ValueError for shapes that do not fit.
    """
    return of_batches(AdaptiveAvgPool2d(size), x, 4)(x)
