"""Where the windows of a convolution or a pooling lie, in elements, (vertical, horizontal)."""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass, replace
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
    extra: Two = (0, 0)  # further border behind the image, of pools whose last windows reach beyond it

    @functools.cached_property
    def out(self) -> Two:
        """How many windows fit, (H', W')."""
        fields = zip(self.bordered, self.window, self.stride, self.dilation, strict=True)
        rows, columns = ((n - d * (k - 1) - 1) // s + 1 for n, k, s, d in fields)
        return rows, columns

    @property
    def bordered(self) -> Two:
        """The size of the image with its border."""
        rows, columns = (n + 2 * p + e for n, p, e in zip(self.size, self.padding, self.extra, strict=True))
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

    def reaching(self) -> WindowGeometry:
        """Return these windows and those that begin in the image or before it, but end behind its border."""
        fields = zip(self.size, self.window, self.stride, self.padding, self.dilation, strict=True)
        rows, columns = (_missing(*numbers) for numbers in fields)
        return replace(self, extra=(rows, columns))

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


def _missing(n: int, k: int, s: int, p: int, d: int) -> int:
    """Return by how much the last window that begins in the image or before it reaches beyond the border."""
    reach = d * (k - 1) + 1
    last = min(-(-(n + 2 * p - reach) // s), (n + p - 1) // s)
    return max(0, last * s + reach - n - 2 * p)
