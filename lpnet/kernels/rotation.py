"""Hadamard matrices along an axis, by butterflies: the same bits for any piece, thread and device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..backend import Array, get_array_module


def as_blocks(x: Array, axis: int, groups: int, n: int) -> tuple[Array, int]:
    """Return x as (rows, length, width), the axis in the middle and groups apart, and how many places are rotated."""
    axis %= x.ndim
    rows, length = math.prod(x.shape[:axis]) * groups, x.shape[axis] // groups
    # (..., groups length, ...) -> (rows, length, width)
    return x.reshape(rows, length, math.prod(x.shape[axis + 1 :])), length // n * n


def turned(x: Array, signs: Sequence[int]) -> Array:
    """Return x (a, t n, b), each block of n = len(signs), a power of two, times diag(signs) H / sqrt(n).

    Signs first; then sums and differences of places 1, 2, 4, ... apart, the distances of Sylvester's H, each rounded to
    x's dtype; then the factor.
    """
    xp, n = get_array_module(x), len(signs)
    a, length, b = x.shape
    blocks = x.reshape(a, length // n, n, b).transpose(2, 0, 1, 3)  # -> (n, a, t, b): places far apart, runs long
    y: Any = xp.ascontiguousarray(blocks) * xp.asarray(signs, x.dtype).reshape(n, 1, 1, 1)
    for step in (2**i for i in range(n.bit_length() - 1)):
        pairs = y.reshape(n // (2 * step), 2, step, *y.shape[1:])  # a view
        first, second = pairs[:, 0], pairs[:, 1]
        y = xp.stack([first + second, first - second], axis=1).reshape(y.shape)
    y *= x.dtype.type(1 / math.sqrt(n))
    return y.transpose(1, 2, 0, 3).reshape(x.shape)  # (n, a, t, b) -> (a, t n, b)
