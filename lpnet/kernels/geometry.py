"""Where the windows of a convolution or a pooling lie, in elements, (vertical, horizontal)."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Any

Two = tuple[int, int]


@dataclass(frozen=True)
class WindowGeometry:
    """Windows on images (H, W): place (i, j) of window (h, w) sees (h, w) * stride + (i, j) * dilation - padding."""

    size: Two  # of the image, without its border
    window: Two
    stride: Two = (1, 1)
    padding: Two = (0, 0)  # on each side
    dilation: Two = (1, 1)

    @functools.cached_property
    def out(self) -> Two:
        """How many windows fit, (H', W')."""
        fields = zip(self.size, self.window, self.stride, self.padding, self.dilation, strict=True)
        rows, columns = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in fields)
        return rows, columns

    @property
    def bordered(self) -> Two:
        """The size of the image with its border."""
        rows, columns = (n + 2 * p for n, p in zip(self.size, self.padding, strict=True))
        return rows, columns

    @property
    def inside(self) -> tuple[Any, ...]:
        """The index of the image within its border."""
        return (..., *(slice(p, p + n) for n, p in zip(self.size, self.padding, strict=True)))

    @functools.cached_property
    def taps(self) -> list[tuple[Any, ...]]:
        """For each place in the window the index of what it sees, (..., H', W'), in an image with its border."""
        fields = zip(self.window, self.dilation, self.stride, self.out, strict=True)
        sides = ([slice(i * d, i * d + s * (n - 1) + 1, s) for i in range(k)] for k, d, s, n in fields)
        return [(..., rows, columns) for rows, columns in itertools.product(*sides)]

    def check(self, name: str) -> None:
        """Raise ValueError if no window fits."""
        if min(self.out) < 1:
            raise ValueError(f"{name}: a window of {self.window} does not fit into an input of {self.size}")


@dataclass(frozen=True, kw_only=True)
class ConvGeometry(WindowGeometry):
    """A convolution of (N, `channels`, H, W) to (N, `filters`, H', W'); `groups` of either are convolved apart."""

    channels: int
    filters: int
    groups: int

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """The shape of the weight, (O, C/G, K, L)."""
        return (self.filters, self.channels // self.groups, *self.window)
