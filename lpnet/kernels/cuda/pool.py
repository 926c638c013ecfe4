"""Pooling on the GPU, all samples at once."""

from __future__ import annotations

from ...backend import Array, get_array_module
from .. import pool
from ..geometry import WindowGeometry


def max_pool2d(geometry: WindowGeometry, x: Array) -> Array:
    """Return the largest number that each window sees of x (N, C, H, W): (N, C, H', W')."""
    y = get_array_module(x).empty((*x.shape[:2], *geometry.out), x.dtype)
    pool.largest(geometry, x, y)
    return y


def max_pool2d_backward(geometry: WindowGeometry, gy: Array, x: Array, y: Array) -> Array:
    """Return the gradient of x: the first of the largest in a window gets that window's."""
    gx = get_array_module(gy).empty((*x.shape[:2], *geometry.bordered), gy.dtype)
    # Whether there is a NaN one would have to wait for.
    pool.spread_to_largest(geometry, gy, x, y, True, gx)
    return gx[geometry.inside]


def avg_pool2d(geometry: WindowGeometry, x: Array, count: int | Array) -> Array:
    """Return the sum of each window of x (N, C, H, W) divided by `count`: (N, C, H', W')."""
    y = get_array_module(x).empty((*x.shape[:2], *geometry.out), x.dtype)
    pool.means(geometry, x, y, count)
    return y


def avg_pool2d_backward(geometry: WindowGeometry, gy: Array, count: int | Array) -> Array:
    """Return the gradient of x: each place in a window gets an equal share."""
    gx = get_array_module(gy).empty((*gy.shape[:2], *geometry.bordered), gy.dtype)
    pool.spread(geometry, gy / count, gx)
    return gx[geometry.inside]
