"""Rounding in blocks that store a scale, in pieces of an array: `BlockScaled.rule` with passes in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import empty, parallel
from ..formats import Blocked, BlockScaled
from ..random import Stream
from ..rounding import Stochastic

Array = np.ndarray
Kernel = Callable[[Array, Array, Any, Stream], None]


def whole(fmt: BlockScaled, x: Array, step: int) -> Any:
    """Return the scale of the whole array x, looked through in pieces of `step` numbers on all threads."""
    flat = x.reshape(-1)
    pieces = [flat[i : i + step] for i in range(0, flat.size, step)] if fmt.tensor else []
    ends = parallel(lambda piece: np.maximum(piece.max(), -piece.min()), pieces)
    largest = np.array(ends, np.float64)
    return fmt.whole(largest if np.isfinite(largest).all() else fmt.finite(fmt.block_max(x)))


def in_blocks(fmt: BlockScaled, whole: Any, element: Kernel, x: Array, y: Array, rounding: str | Stochastic,
              stream: Stream) -> None:  # fmt: skip
    """Round x to elements, by the kernel `element`, in units of the scales of its blocks."""

    def rounded(blocks: Array) -> Array:
        nearest = empty(x.shape, x.dtype)
        with_scales(fmt, whole, blocks, element, x, nearest, "nearest", stream)
        return nearest

    blocks = fmt.scales_of(x, fmt.finite(fmt.block_max(x)), whole, rounded)
    with_scales(fmt, whole, blocks, element, x, y, rounding, stream)


def with_scales(fmt: BlockScaled, whole: Any, blocks: Array, element: Kernel, x: Array, y: Array,
                rounding: str | Stochastic, stream: Stream) -> None:  # fmt: skip
    """Round x to elements in units of these scales."""
    scales = (blocks * whole).astype(x.dtype)
    usable = scales > 0
    if not usable.all():
        x = np.where(fmt.spread(usable, x.shape), x, np.copysign(x.dtype.type(0), x))
        scales = np.where(usable, scales, x.dtype.type(1))
    units = empty(x.shape, x.dtype)
    by_block(np.divide, fmt, x, scales, units)
    element(units, y, rounding, stream)
    by_block(np.multiply, fmt, y, blocks.astype(x.dtype), y)
    if fmt.tensor or fmt.factor != 1:
        y *= x.dtype.type(whole)
    if not fmt.signed_zero:
        y += 0.0


def by_block(operation: np.ufunc, fmt: Blocked, x: Array, values: Array, out: Array) -> None:
    """Write operation(x, value of its block) into `out`, without spreading the values where all blocks are full."""
    cuts = [(axis, min(block, x.shape[axis])) for axis, block in fmt.tiles(x.shape)]
    if any(x.shape[axis] % block for axis, block in cuts):
        operation(x, fmt.spread(values, x.shape), out=out)
        return
    shape = list(x.shape)
    for axis, block in reversed(cuts):
        shape[axis : axis + 1] = shape[axis] // block, block
        values = np.expand_dims(values, axis + 1)
    operation(x.reshape(shape), values, out=out.reshape(shape))  # (..., tiles, block, ...) each
