"""Hadamard matrices along an axis, piece by piece on all threads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...backend import Array, empty, parallel
from ..rotation import as_blocks, turned

PIECE = 1 << 16  # numbers at a time: the butterflies' arrays stay in the cache


def rotate(x: Array, axis: int, groups: int, signs: Sequence[int]) -> Array:
    """Return x with blocks of len(signs) along `axis` times diag(signs) H / sqrt(len(signs)); the rest as it is."""
    blocks, whole = as_blocks(np.ascontiguousarray(x), axis, groups, len(signs))
    y = empty(blocks.shape, x.dtype)
    y[:, whole:] = blocks[:, whole:]
    rows, _, width = blocks.shape
    columns = max(1, PIECE // max(whole, 1))
    tall = max(1, columns // max(width, 1))
    pieces = [
        (slice(i, i + tall), slice(whole), slice(j, j + columns))
        for i in range(0, rows if whole else 0, tall)
        for j in range(0, width, columns)
    ]

    def piece(index: tuple[slice, ...]) -> None:
        y[index] = turned(blocks[index], signs)

    parallel(piece, pieces)
    return y.reshape(x.shape)
