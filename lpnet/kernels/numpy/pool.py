"""Pooling of some samples at a time, on all threads."""

from __future__ import annotations

import math

import numpy as np

from ...backend import Array, empty, parallel, slices
from .. import pool
from ..geometry import WindowGeometry


def max_pool2d(geometry: WindowGeometry, x: Array) -> Array:
    """Return the largest number that each window sees of x (N, C, H, W): (N, C, H', W')."""
    y = empty((*x.shape[:2], *geometry.out), x.dtype)
    parallel(lambda part: pool.largest(geometry, x[part], y[part]), _slices(x))
    return y


def max_pool2d_backward(geometry: WindowGeometry, gy: Array, x: Array, y: Array) -> Array:
    """Return the gradient of x: the first of the largest in a window gets that window's."""
    gx, has_nan = empty((*x.shape[:2], *geometry.bordered), gy.dtype), bool(np.isnan(y).any())

    def spread(part: slice) -> None:
        pool.spread_to_largest(geometry, gy[part], x[part], y[part], has_nan, gx[part])

    parallel(spread, _slices(x, 1 << 17))  # with gx and masks in the cache
    return gx[geometry.inside]


def avg_pool2d(geometry: WindowGeometry, x: Array, count: int | Array) -> Array:
    """Return the sum of each window of x (N, C, H, W) divided by `count`: (N, C, H', W')."""
    y = empty((*x.shape[:2], *geometry.out), x.dtype)
    parallel(lambda part: pool.means(geometry, x[part], y[part], count), _slices(x))
    return y


def avg_pool2d_backward(geometry: WindowGeometry, gy: Array, count: int | Array) -> Array:
    """Return the gradient of x: each place in a window gets an equal share."""
    gx = empty((*gy.shape[:2], *geometry.bordered), gy.dtype)

    def spread(part: slice) -> None:
        pool.spread(geometry, gy[part] / count, gx[part])

    parallel(spread, slices(len(gy), gy.shape[1] * math.prod(geometry.size)))
    return gx[geometry.inside]


def _slices(x: Array, most: int = 1 << 18) -> list[slice]:
    return slices(len(x), math.prod(x.shape[1:]), most)
