"""Pooling layers."""

from __future__ import annotations

from typing import Any

from .. import functions as F
from ..tensor import Tensor
from ..validate import Pair, flag, pair
from .module import Module


class _Pool2d(Module):
    function: Any = None

    def __init__(self, kernel_size: Pair, stride: Pair | None, padding: Pair, **options: Any) -> None:
        name = type(self).__name__
        size = pair(name, "kernel_size", kernel_size)
        stride = size if stride is None else pair(name, "stride", stride)
        self.geometry = size, stride, pair(name, "padding", padding, 0)
        self.options = options

    def forward(self, x: Any) -> Tensor:
        """Return one value a window of x (N, C, H, W) or (C, H, W)."""
        return type(self).function(x, *self.geometry, **self.options)

    def extra_repr(self) -> str:
        """Return window, stride, padding and what else is said."""
        size, stride, padding = self.geometry
        rest = "".join(f", {name}={value}" for name, value in self.options.items())
        return f"{size}, {stride=}, {padding=}{rest}"


class MaxPool2d(_Pool2d):
    """The largest value of each window; stride None is the window's size."""

    function = F.max_pool2d

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        dilation: Pair = 1,
        *,
        ceil_mode: bool = False,
    ) -> None:
        dilation, ceil_mode = pair("MaxPool2d", "dilation", dilation), flag("MaxPool2d", "ceil_mode", ceil_mode)
        super().__init__(kernel_size, stride, padding, dilation=dilation, ceil_mode=ceil_mode)


class AvgPool2d(_Pool2d):
    """The mean of each window, padding included unless count_include_pad is False; stride None is the window's size."""

    function = F.avg_pool2d

    def __init__(
        self,
        kernel_size: Pair,
        stride: Pair | None = None,
        padding: Pair = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        ceil_mode = flag("AvgPool2d", "ceil_mode", ceil_mode)
        count_include_pad = flag("AvgPool2d", "count_include_pad", count_include_pad)
        super().__init__(kernel_size, stride, padding, ceil_mode=ceil_mode, count_include_pad=count_include_pad)


class AdaptiveAvgPool2d(Module):
    """Means in as many windows as make images of `output_size`, (H', W') or one number; None keeps a side."""

    def __init__(self, output_size: Any) -> None:
        both = output_size if isinstance(output_size, tuple | list) else (output_size, output_size)
        sizes = [1 if n is None else n for n in both]
        pair("AdaptiveAvgPool2d", "output_size", sizes)
        self.output_size = tuple(None if n is None else int(n) for n in both)

    def forward(self, x: Any) -> Tensor:
        """Return images of that size of x (N, C, H, W) or (C, H, W)."""
        return F.adaptive_avg_pool2d(x, self.output_size)

    def extra_repr(self) -> str:
        """Return the size."""
        return str(self.output_size)
