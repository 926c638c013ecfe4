"""Pooling of some samples, place by place of the window: array code that NumPy and CuPy share."""

from __future__ import annotations

import math

from ..backend import Array, get_array_module, select
from .geometry import WindowGeometry


def largest(geometry: WindowGeometry, x: Array, y: Array) -> None:
    """Write the largest number that each window sees of x (n, C, H, W) into y (n, C, H', W')."""
    first, *rest = _seen(geometry, x)
    y[...] = first
    for other in rest:
        get_array_module(x).maximum(y, other, out=y)


def means(geometry: WindowGeometry, x: Array, y: Array, count: int | Array) -> None:
    """Write the sum of each window of x, its border of zeros counted in, divided by `count`, into y."""
    y[...] = _sums(geometry, _padded(geometry, x)) / count


def places(geometry: WindowGeometry, padding_too: bool, like: Array) -> int | Array:
    """Return how many places of each window count: those in the image, or in its padding too; one number if all alike.

    A border that is there only because a window reaches beyond the padding never counts.
    """
    if geometry.bordered == geometry.size or (padding_too and geometry.extra == (0, 0)):
        return math.prod(geometry.window)
    ones = get_array_module(like).zeros(geometry.bordered, like.dtype)
    within = tuple(slice(n - e) for n, e in zip(geometry.bordered, geometry.extra, strict=True))
    ones[within if padding_too else geometry.inside] = 1
    return _sums(geometry, ones)


def _sums(geometry: WindowGeometry, padded: Array) -> Array:
    total: Array = 0
    for index in geometry.taps:
        total = total + padded[index]
    return total


def spread(geometry: WindowGeometry, share: Array, gx: Array) -> None:
    """Write into gx (n, C, H, W), which has its border, the share (n, C, H', W') that all places of a window get."""
    tiled = _tiled(geometry)
    if not tiled:
        gx[...] = 0
    for index in geometry.taps:
        if tiled:
            gx[index] = share
        else:
            gx[index] += share


def spread_to_largest(geometry: WindowGeometry, gy: Array, x: Array, y: Array, has_nan: bool, gx: Array) -> None:
    """Write into gx (n, C, H, W), which has its border, all of gy where a place is the first to see the window's y."""
    xp = get_array_module(x)
    inside = _padded(geometry, xp.ones(geometry.size, bool), False)  # the border gets nothing
    free, here = xp.ones(y.shape, bool), xp.empty(y.shape, bool)  # windows whose largest is to be met; that meet it now
    tiled = _tiled(geometry)
    if not tiled:
        gx[...] = 0
    for seen, index in zip(_seen(geometry, x), geometry.taps, strict=True):
        xp.equal(seen, y, out=here)
        if has_nan:  # the largest of a window that sees one
            here |= seen != seen
        if geometry.bordered != geometry.size:
            here &= inside[index]
        here &= free
        free ^= here
        if tiled:
            select(here, gy, out=gx[index])
        else:
            gx[index] += select(here, gy)


def _tiled(geometry: WindowGeometry) -> bool:
    """Return whether windows are side by side and reach everywhere: each input gets one share."""
    sides = zip(geometry.window, geometry.out, geometry.bordered, strict=True)
    return geometry.stride == geometry.window and all(k * m == n for k, m, n in sides)


def _seen(geometry: WindowGeometry, x: Array) -> list[Array]:
    """Return what each place in the window sees of x, (n, C, H', W'); the border is smaller than any number."""
    x = _padded(geometry, x, -math.inf)
    return [x[index] for index in geometry.taps]


def _padded(geometry: WindowGeometry, x: Array, value: float = 0.0) -> Array:
    """Return x (..., H, W) with a border of `value`; x itself if there is none."""
    if geometry.bordered == geometry.size:
        return x
    y = get_array_module(x).full((*x.shape[:-2], *geometry.bordered), value, dtype=x.dtype)
    y[geometry.inside] = x
    return y
