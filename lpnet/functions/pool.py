"""Pooling: the largest or the mean of each window."""

from __future__ import annotations

from typing import Any, ClassVar

from ..backend import Array, get_array_module
from ..kernels import keeps_digits, kernel
from ..kernels.geometry import WindowGeometry
from ..tensor import Function, Tensor
from ..validate import Pair, pair


class _Pool(Function):
    name: ClassVar[str]

    def __init__(self, size: Pair, stride: Pair | None, padding: Pair) -> None:
        self.window = pair(self.name, "size", size)
        self.stride = self.window if stride is None else pair(self.name, "stride", stride)
        self.padding = pair(self.name, "padding", padding, 0)
        if any(2 * p > k for p, k in zip(self.padding, self.window, strict=True)):
            raise ValueError(f"{self.name}: padding {padding} is more than half the window {size}")

    def geometry_on(self, x: Array) -> WindowGeometry:
        """Return where the windows lie on x; raises ValueError if none does."""
        if x.ndim != 4:
            raise ValueError(f"{self.name}: expected input (N, C, H, W), got {x.shape}")
        geometry = WindowGeometry(x.shape[2:], self.window, self.stride, self.padding)
        geometry.check(self.name)
        return geometry


class MaxPool2d(_Pool):
    # y = max of the window; the first of equal ones gets the gradient
    name = "max_pool2d"

    def __init__(self, size: Pair, stride: Pair | None, padding: Pair) -> None:
        super().__init__(size, stride, padding)
        overlap = any(s < k for s, k in zip(self.stride, self.window, strict=True))
        self.rounds = "backward" if overlap else False  # an input in several windows gets several gradients

    @keeps_digits
    def forward(self, x: Array) -> Array:
        self.x, self.geometry = x, self.geometry_on(x)
        self.y = kernel("max_pool2d", get_array_module(x))(self.geometry, x)
        return self.y

    def backward(self, gy: Array) -> Array:
        gx = kernel("max_pool2d_backward", get_array_module(gy))(self.geometry, gy, self.x, self.y)
        return gx if self.rounds else kernel("carry_digits", get_array_module(gx))(gx, gy)


def max_pool2d(x: Any, size: Pair, stride: Pair | None = None, padding: Pair = 0) -> Tensor:
    """Return the maxima of the windows of x (N, C, H, W); stride None is the window's size."""
    return MaxPool2d(size, stride, padding)(x)


class AvgPool2d(_Pool):
    # y = mean of the window, its padding of zeros counted in
    name = "avg_pool2d"

    def forward(self, x: Array) -> Array:
        self.geometry = self.geometry_on(x)
        return kernel("avg_pool2d", get_array_module(x))(self.geometry, x)

    def backward(self, gy: Array) -> Array:
        return kernel("avg_pool2d_backward", get_array_module(gy))(self.geometry, gy)


def avg_pool2d(x: Any, size: Pair, stride: Pair | None = None, padding: Pair = 0) -> Tensor:
    """Return the means of the windows of x (N, C, H, W), padding included; stride None is the window's size."""
    return AvgPool2d(size, stride, padding)(x)
