"""Hadamard matrices along an axis, on the GPU."""

from __future__ import annotations

from collections.abc import Sequence

from ...backend import Array
from ..rotation import as_blocks, turned


def rotate(x: Array, axis: int, groups: int, signs: Sequence[int]) -> Array:
    """Return x with blocks of len(signs) along `axis` times diag(signs) H / sqrt(len(signs)); the rest as it is."""
    blocks, whole = as_blocks(x, axis, groups, len(signs))
    y = blocks.copy()
    if y[:, :whole].size:
        y[:, :whole] = turned(blocks[:, :whole], signs)
    return y.reshape(x.shape)
