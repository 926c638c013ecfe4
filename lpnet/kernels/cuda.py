"""Rounding on the GPU: kernels that are bit-equal to `Format.rule`, but for the bits inside a NaN.

Blocks' largest magnitudes, scales and gaps are found first, for all blocks in a few passes over small arrays; one pass
over the array then draws, divides, rounds, clips and multiplies. Nothing here waits for the GPU, so a format without
NaN cannot refuse one: it stays NaN.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import random
from ..backend import get_array_module, launch, note_digits
from ..formats import BlockFloatingPoint, BlockScaled, Exponent, FixedPoint, FloatingPoint, Format, Table
from ..formats.base import bound, quiet, tiny
from ..rounding import MODES, Stochastic, mode
from .dispatch import by_class, plain

Array = Any  # cupy.ndarray
FILE = "quantize.cu"
NULL = np.uint64(0)  # in place of an array
PART, PARTS = 64, 1 << 16  # numbers that a thread looks at, at least; threads, at most
SHORT = 512  # numbers that one thread looks at sooner than another kernel is launched


def quantize(x: Array, fmt: Format, rounding: str | Stochastic, stream: random.Stream | None) -> Array:
    """Return the CuPy array `x` rounded to a format: same shape, same dtype, the same bits as on the CPU."""
    mode(rounding)  # an unknown one is refused
    usual = plain(rounding) and x.dtype in (np.float32, np.float64) and x.size and x.ndim
    plan = planned(fmt, get_array_module(x).ascontiguousarray(x)) if usual else None
    y = fmt.rule(x, rounding, stream) if plan is None else _run(*plan, rounding, stream)
    if (digits := significant(fmt)) is not None:
        note_digits(y, digits)
    return y


def _run(name: str, x: Array, numbers: list[Any], rounding: str | Stochastic, stream: random.Stream | None) -> Array:
    """Launch one of the two rounding kernels."""
    stochastic = isinstance(mode(rounding), Stochastic)
    seed, site = random.current(stream).take() if stochastic else (0, 0)
    number = list(MODES).index("stochastic" if stochastic else rounding)
    bits = mode(rounding).bits if stochastic else 16
    y = get_array_module(x).empty(x.shape, x.dtype)
    launch(FILE, name, -(-x.size // random.LANES), x.dtype, x, y, np.int64(x.size), *numbers, np.int32(number),
           np.int32(bits), np.uint64(seed), np.uint64(site))  # fmt: skip
    return y


@by_class
def planned(fmt: Format, x: Array) -> tuple[str, Array, list[Any]] | None:
    """Return a kernel's name, x, and the numbers it takes; None for a format that only `Format.rule` knows."""
    return None


@planned.register(FixedPoint, FloatingPoint, Table)
def _(fmt: FixedPoint | FloatingPoint | Table, x: Array) -> tuple[str, Array, list[Any]]:
    name, numbers = grid(fmt, x)
    return name, x, [*numbers, NULL, NULL, NULL, *blocks(fmt, x.shape)]


@planned.register(BlockFloatingPoint)
def _(fmt: BlockFloatingPoint, x: Array) -> tuple[str, Array, list[Any]]:
    with quiet():
        top = x.dtype.type(bound(2.0 ** (fmt.wl - 1) - 1, x.dtype))
        bottom = -top if fmt.symmetric else x.dtype.type(-(2.0 ** (fmt.wl - 1)))
    numbers = [gaps(fmt, x), x.dtype.type(0), bottom, top, np.int32(1)]
    return "integers", x, [*numbers, NULL, NULL, NULL, *blocks(fmt, x.shape)]


@planned.register(BlockScaled)
def _(fmt: BlockScaled, x: Array) -> tuple[str, Array, list[Any]] | None:
    if type(fmt.element) not in (FixedPoint, FloatingPoint, Table):
        return None
    with quiet():
        largest = fmt.finite(_largest_in_tiles(fmt, x).view(x.dtype))
        whole = fmt.whole(largest)
        scales = fmt.scales_of(x, largest, whole)
        both = (scales * whole).astype(x.dtype), scales.astype(x.dtype)
    name, numbers = grid(fmt.element, x)
    if not fmt.tensor:
        whole = NULL if fmt.factor == 1 else get_array_module(x).full(1, fmt.factor, x.dtype)
    return name, x, [*numbers, *both, whole.astype(x.dtype) if fmt.tensor else whole, *blocks(fmt, x.shape)]


@by_class
def grid(fmt: Format, x: Array) -> tuple[str, list[Any]]:
    """Return the kernel that rounds single numbers of x to a format, and what describes the format to it."""
    raise NotImplementedError(f"{fmt} has no kernel")


@grid.register(Table)
def _(fmt: Table, x: Array) -> tuple[str, list[Any]]:
    values = get_array_module(x).asarray(np.asarray(fmt.values, x.dtype))
    return "lists", [values, np.int64(len(fmt.values) - 1), np.int32(fmt.first)]


@grid.register(FixedPoint)
def _(fmt: FixedPoint, x: Array) -> tuple[str, list[Any]]:
    dtype = x.dtype
    with quiet():
        gap = dtype.type(max(fmt.smallest, tiny(dtype)))
        ends = [dtype.type(bound(end, dtype)) / gap for end in (fmt.min, fmt.max)]  # exact: gap is a power of two
    return "integers", [NULL, gap, *ends, np.int32(fmt.saturate)]


@grid.register(FloatingPoint)
def _(fmt: FloatingPoint, x: Array) -> tuple[str, list[Any]]:
    dtype = x.dtype
    beyond = "inf" if fmt.has_infinity else "nan"
    with quiet():
        numbers = [bound(2.0**fmt.emin, dtype), bound(2.0**fmt.emax, dtype), bound(2.0**-fmt.man, dtype),
                   tiny(dtype), fmt.largest(dtype), beyond, fmt.max]  # fmt: skip
        typed = [dtype.type(number) for number in numbers]
    subnormal_x = fmt.emin < (-126 if dtype.itemsize == 4 else -1022)
    clips = fmt.saturate or fmt.specials == "none"
    return "floats", [*typed, *map(np.int32, (subnormal_x, fmt.subnormals, clips, not fmt.saturate, fmt.signed_zero))]


def blocks(fmt: Format, shape: tuple[int, ...]) -> list[np.int64]:
    """Return where the block of each number of a C-ordered array is.

    The array is (outer, rows, length, width), cut into tiles of so many rows and so many places along the length. The
    numbers are rows, length, width, the rows and places of a tile, and the steps from a tile, from a row of tiles and
    from a whole of them to the next.
    """
    axis = fmt.axis
    if axis is None or len(shape) < (2 if fmt.block is None else 1):
        return [np.int64(number) for number in (1, 1, math.prod(shape), 1, 1, 0, 0, 0, 0)]
    axis = fmt.positive_axis(shape)
    length, width = shape[axis], math.prod(shape[axis + 1 :])
    if fmt.block is None:
        return [np.int64(number) for number in (1, length, width, 1, 1, 1, 0, 0, 0)]
    (_, tile), *above = reversed(fmt.tiles(shape))
    rows, tall = (shape[axis - 1], above[0][1]) if above else (1, 1)
    across, down = -(-length // tile), -(-rows // tall)
    numbers = rows, length, width, tall, tile, width, across * width, down * across * width, 1
    return [np.int64(number) for number in numbers]


def _largest_in_tiles(fmt: BlockFloatingPoint | BlockScaled, x: Array) -> Array:
    """Return the bits of the largest magnitude of every tile of x, in the shape `fmt.block_shape(x.shape)`."""
    for axis, block in reversed(fmt.tiles(x.shape)):
        length, width = x.shape[axis], math.prod(x.shape[axis + 1 :])
        tiles = -(-length // block)
        shape = (*x.shape[:axis], tiles, *x.shape[axis + 1 :])
        y = get_array_module(x).empty(shape, x.dtype)
        sizes = length, width, min(block, length), tiles
        launch(FILE, "largest_in_tiles", y.size, x.dtype, x, y.view(f"u{x.itemsize}"), *map(np.int64, (y.size, *sizes)))
        x = y
    return x.view(f"u{x.itemsize}")


def gaps(fmt: BlockFloatingPoint, x: Array) -> Array:
    """Return `fmt.spacing(x)`, one number a block; x is read once."""
    xp, shape = get_array_module(x), fmt.block_shape(x.shape)
    n, y = math.prod(shape), get_array_module(x).empty(shape, x.dtype)
    limits = _limits(fmt, x.dtype)
    if fmt.block is not None:
        most, outer, parts = _largest_in_tiles(fmt, x), 1, 1
    else:
        length = x.size if n == 1 else math.prod(x.shape[fmt.positive_axis(x.shape) + 1 :])
        rows, outer = x.size // length, x.size // length // n
        if outer == 1 and length <= SHORT:
            launch(FILE, "gaps_of_rows", n, x.dtype, x, y, np.int64(n), np.int64(length), *limits)
            return y
        parts = max(1, min(length // PART, PARTS // rows))
        most = xp.empty((rows, parts), f"u{x.itemsize}")
        launch(FILE, "largest_in_rows", most.size, x.dtype, x, most, *map(np.int64, (rows, length, parts)))
        if parts > SHORT:
            most, parts = most.max(axis=1), 1
    launch(FILE, "gaps_of_parts", n, x.dtype, most, y, *map(np.int64, (n, outer, parts)), *limits)
    return y


def _limits(fmt: BlockFloatingPoint, dtype: np.dtype) -> list[Any]:
    """Return the lowest and highest scale of a block, the gap at scale 1, and the smallest gap."""
    highest = 2.0 ** (127 if dtype.itemsize == 4 else 1023)
    numbers = max(fmt.scale.smallest, tiny(dtype)), min(fmt.scale.max, highest), 2.0 ** (2 - fmt.wl), tiny(dtype)
    return [dtype.type(number) for number in numbers]


def significant(fmt: Format) -> int | None:
    """Return the number of binary digits, from the first that is not 0 to the last, of any number of a format.

    None if that is not known, as for a user's own format.
    """
    if not plain(fmt):
        return None
    if isinstance(fmt, BlockScaled):
        powers = isinstance(fmt.scale, Exponent) and not fmt.tensor and fmt.factor == 1
        return significant(fmt.element) if powers else None
    if isinstance(fmt, FloatingPoint):
        return fmt.man + 1
    limited = isinstance(fmt, BlockFloatingPoint) or (isinstance(fmt, FixedPoint) and fmt.saturate)
    return fmt.wl - 1 if limited else None
