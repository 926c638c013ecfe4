"""Rounding in blocks that store a scale, in pieces of an array: `BlockScaled.rule` with passes in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...backend import empty, parallel
from ...formats import Blocked, BlockScaled
from ...random import Stream
from ...rounding import Stochastic

Array = np.ndarray
Kernel = Callable[[Array, Array, Any, Stream], None]


def tensor_scale(fmt: BlockScaled, x: Array, step: int) -> Any:
    """Return the scale of the whole array x, looked through in pieces of `step` numbers on all threads."""
    flat = x.reshape(-1)
    pieces = [flat[i : i + step] for i in range(0, flat.size, step)] if fmt.tensor else []
    ends = parallel(lambda piece: np.maximum(piece.max(), -piece.min()), pieces)
    largest = np.array(ends, np.float64)
    return fmt.tensor_scale_of(largest if np.isfinite(largest).all() else fmt.finite(fmt.block_max(x)))


def in_blocks(
    fmt: BlockScaled, tensor_scale: Any, element: Kernel, x: Array, y: Array, rounding: str | Stochastic, stream: Stream
) -> None:
    """Round x to elements, by the kernel `element`, in units of the scales of its blocks."""

    def rounded(scales: Array) -> Array:
        nearest = empty(x.shape, x.dtype)
        with_scales(fmt, tensor_scale, scales, element, x, nearest, "nearest", stream)
        return nearest

    scales = fmt.scales_of(x, fmt.finite(fmt.block_max(x)), tensor_scale, rounded)
    with_scales(fmt, tensor_scale, scales, element, x, y, rounding, stream)


def with_scales(
    fmt: BlockScaled,
    tensor_scale: Any,
    scales: Array,
    element: Kernel,
    x: Array,
    y: Array,
    rounding: str | Stochastic,
    stream: Stream,
) -> None:
    """Round x to elements in units of these scales."""
    units = (scales * tensor_scale).astype(x.dtype)
    usable = units > 0
    if not usable.all():
        x = np.where(fmt.expand(usable, x.shape), x, np.copysign(x.dtype.type(0), x))
        units = np.where(usable, units, x.dtype.type(1))
    n = empty(x.shape, x.dtype)
    by_block(np.divide, fmt, x, units, n)
    element(n, y, rounding, stream)
    by_block(np.multiply, fmt, y, scales.astype(x.dtype), y)
    if fmt.tensor or fmt.factor != 1:
        y *= x.dtype.type(tensor_scale)
    if not fmt.signed_zero:
        y += 0.0


def by_block(operation: np.ufunc, fmt: Blocked, x: Array, values: Array, out: Array) -> None:
    """Write operation(x, value of its block) into `out`, without spreading the values where all blocks are full."""
    cuts = [(axis, min(block, x.shape[axis])) for axis, block in fmt.tiles(x.shape)]
    if any(x.shape[axis] % block for axis, block in cuts):
        operation(x, fmt.expand(values, x.shape), out=out)
        return
    shape = list(x.shape)
    for axis, block in reversed(cuts):
        shape[axis : axis + 1] = shape[axis] // block, block
        values = np.expand_dims(values, axis + 1)
    operation(x.reshape(shape), values, out=out.reshape(shape))  # (..., tiles, block, ...) each
