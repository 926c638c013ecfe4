"""Rounding on the GPU: kernels that are bit-equal to `Format.rule`, but for the bits inside a NaN.

Blocks' largest magnitudes, scales and gaps are found first, for all blocks in a few passes over small arrays; one pass
over the array then draws, divides, rounds, clips and multiplies. Nothing here waits for the GPU, so a format without
NaN cannot refuse one: it stays NaN.
"""

from __future__ import annotations

import functools
import math
from types import ModuleType
from typing import Any

import numpy as np

from ... import random
from ...backend import Array, cast, get_array_module
from ...distributed import shards
from ...formats import BlockFloatingPoint, BlockScaled, Exponent, FixedPoint, FloatingPoint, Format, Table
from ...formats.base import bound, quiet, tiny
from ...rounding import Stochastic, mode
from ..dispatch import by_class, plain
from .digits import note_digits
from .launch import MODES, launch
from .recording import NOWHERE, place

Numbers = dict[str, Any]  # what a kernel takes, by name
Plan = tuple[str, Array, Numbers]  # a kernel's name, the array to be rounded, and what else it takes
FILE = "quantize.cu"
LANES = 16  # numbers that a thread rounds, as the file has it
PART, PARTS = 16, 1 << 18  # numbers that a thread looks at, at least; threads, at most
SHORT = 512  # numbers that one thread looks at sooner than another kernel is launched


def quantize(fmt: Format, x: Array, rounding: str | Stochastic, stream: random.Stream | None) -> Array:
    """Return the CuPy array `x` rounded to a format: same shape, same dtype, the same bits as on the CPU."""
    mode(rounding)  # an unknown one is refused
    known = rounding in MODES if isinstance(rounding, str) else plain(rounding)
    usual = known and x.dtype in (np.float32, np.float64) and x.size and x.ndim
    usual = usual and shards.current() is None  # a part of a batch draws from the midst of a site
    if isinstance(mode(rounding), Stochastic):  # so does a window, and only a user's stream knows what it draws
        usual = usual and type(random.current(stream)) is random.Stream
    plan = planned(fmt, get_array_module(x).ascontiguousarray(x)) if usual else None
    y = fmt.rule(x, rounding, stream) if plan is None else _run(plan, rounding, stream)
    return note_digits(y, significant(fmt))


def _run(plan: Plan, rounding: str | Stochastic, stream: random.Stream | None) -> Array:
    """Launch one of the two rounding kernels."""
    (name, x, numbers), rule = plan, mode(rounding)
    where = place(random.current(stream), x.size)[0] if isinstance(rule, Stochastic) else NOWHERE
    number = MODES.index(rounding if isinstance(rounding, str) else "stochastic")
    bits = rule.bits if isinstance(rule, Stochastic) else 16
    y = get_array_module(x).empty(x.shape, x.dtype)
    launch(
        FILE,
        name,
        -(-x.size // LANES),
        x.dtype,
        x=x,
        y=y,
        n=x.size,
        **numbers,
        mode=number,
        bits=bits,
        **where,
    )
    return y


def random_bits(stream: random.Stream, n: int, xp: ModuleType, width: int) -> Array:
    """Return random numbers of the stream's next site, of 16 or 8 bits, (n,), drawn on the GPU: those of the CPU."""
    where, start = place(stream, n)
    first, count, lanes = random.blocks(start, start + n, width)
    words = xp.empty(count * random.BLOCK // 64, np.uint64)
    if n:
        launch(FILE, "random_bits", count, np.float32, y=words, n=count, **where, first=first)
    return words.view(f"u{width // 8}")[lanes]


@by_class
def planned(fmt: Format, x: Array) -> Plan | None:
    """Return how a kernel rounds x to a format; None for one that only `Format.rule` knows."""
    return None


UNSCALED = {"scales": None, "blocks": None, "whole": None}


@planned.register(FixedPoint, FloatingPoint, Table)
def _(fmt: FixedPoint | FloatingPoint | Table, x: Array) -> Plan:
    name, numbers = grid(fmt, x)
    return name, x, {**numbers, **UNSCALED, **blocks(fmt, x.shape)}


@planned.register(BlockFloatingPoint)
def _(fmt: BlockFloatingPoint, x: Array) -> Plan:
    with quiet():
        top = x.dtype.type(bound(2.0 ** (fmt.wl - 1) - 1, x.dtype))
        bottom = -top if fmt.symmetric else x.dtype.type(-(2.0 ** (fmt.wl - 1)))
    numbers = {"gaps": gaps(fmt, x), "gap": 0, "bottom": bottom, "top": top, "saturate": True}
    return "integers", x, {**numbers, **UNSCALED, **blocks(fmt, x.shape)}


@planned.register(BlockScaled)
def _(fmt: BlockScaled, x: Array) -> Plan | None:
    if type(fmt.element) not in (FixedPoint, FloatingPoint, Table):
        return None
    with quiet():
        largest = fmt.finite(_largest_in_tiles(fmt, x).view(x.dtype))
        tensor_scale = fmt.tensor_scale_of(largest)
        scales = fmt.scales_of(x, largest, tensor_scale)
        both = {"scales": cast(scales * tensor_scale, x.dtype), "blocks": cast(scales, x.dtype)}
        scale = get_array_module(x).asarray(tensor_scale)
    whole = cast(scale, x.dtype) if fmt.tensor or fmt.factor != 1 else None
    name, numbers = grid(fmt.element, x)
    return name, x, {**numbers, **both, "whole": whole, **blocks(fmt, x.shape)}


@by_class
def grid(fmt: Format, x: Array) -> tuple[str, Numbers]:
    """Return the kernel that rounds single numbers of x to a format, and the numbers that describe the format to it."""
    raise NotImplementedError(f"{fmt} has no kernel")


@grid.register(Table)
def _(fmt: Table, x: Array) -> tuple[str, Numbers]:
    values = get_array_module(x).asarray(np.asarray(fmt.values, x.dtype))
    return "lists", {"values": values, "last": len(fmt.values) - 1, "first_code": fmt.first}


@grid.register(FixedPoint)
def _(fmt: FixedPoint, x: Array) -> tuple[str, Numbers]:
    dtype = x.dtype
    with quiet():
        gap = dtype.type(max(fmt.smallest, tiny(dtype)))
        bottom, top = (dtype.type(bound(end, dtype)) / gap for end in (fmt.min, fmt.max))  # exact: a power of two
    return "integers", {"gaps": None, "gap": gap, "bottom": bottom, "top": top, "saturate": fmt.saturate}


@grid.register(FloatingPoint)
def _(fmt: FloatingPoint, x: Array) -> tuple[str, Numbers]:
    dtype = x.dtype
    with quiet():
        numbers = {
            "low": bound(2.0**fmt.emin, dtype),
            "high": bound(2.0**fmt.emax, dtype),
            "unit": bound(2.0**-fmt.man, dtype),
            "smallest": tiny(dtype),
            "top": fmt.largest(dtype),
            "beyond": "inf" if fmt.has_infinity else "nan",
            "limit": fmt.max,
        }
        typed = {name: dtype.type(number) for name, number in numbers.items()}
    subnormal_x = fmt.emin < (-126 if dtype.itemsize == 4 else -1022)
    return "floats", {
        **typed,
        "exact": subnormal_x,
        "subnormals": fmt.subnormals,
        "clips": fmt.saturate or fmt.specials == "none",
        "directed": not fmt.saturate,
        "signed_zero": fmt.signed_zero,
    }


@functools.lru_cache(4096)
def blocks(fmt: Format, shape: tuple[int, ...]) -> Numbers:
    """Return where the block of each number of a C-ordered array is.

    The array is (outer, rows, length, width), cut into tiles of so many rows and so many places along the length. The
    steps are those from a tile, from a row of tiles, from a whole of them and from a number behind a place to the next.
    """
    names = "rows", "length", "width", "tall", "tile", "tile_step", "row_step", "outer_step", "inner_step"
    return dict(zip(names, _layout(fmt, shape), strict=True))


def _layout(fmt: Format, shape: tuple[int, ...]) -> tuple[int, ...]:
    if fmt.axis is None or len(shape) < (2 if fmt.block is None else 1):
        return 1, 1, math.prod(shape), 1, 1, 0, 0, 0, 0
    axis = fmt.positive_axis(shape)
    length, width = shape[axis], math.prod(shape[axis + 1 :])
    if fmt.block is None:
        return 1, length, width, 1, 1, 1, 0, 0, 0
    (_, tile), *above = reversed(fmt.tiles(shape))
    rows, tall = (shape[axis - 1], above[0][1]) if above else (1, 1)
    across, down = -(-length // tile), -(-rows // tall)
    return rows, length, width, tall, tile, width, across * width, down * across * width, 1


def _largest_in_tiles(fmt: BlockFloatingPoint | BlockScaled, x: Array) -> Array:
    """Return the bits of the largest magnitude of every tile of x, in the shape `fmt.block_shape(x.shape)`."""
    xp = get_array_module(x)
    for axis, block in reversed(fmt.tiles(x.shape)):
        length, width, tiles = x.shape[axis], math.prod(x.shape[axis + 1 :]), -(-x.shape[axis] // block)
        y = xp.empty((*x.shape[:axis], tiles, *x.shape[axis + 1 :]), x.dtype)
        launch(
            FILE,
            "largest_in_tiles",
            y.size,
            x.dtype,
            x=x,
            y=y.view(f"u{x.itemsize}"),
            n=y.size,
            length=length,
            width=width,
            tile=min(block, length),
            tiles=tiles,
        )
        x = y
    return x.view(f"u{x.itemsize}")


def gaps(fmt: BlockFloatingPoint, x: Array) -> Array:
    """Return `fmt.spacing(x)`, one number a block; x is read once."""
    xp, shape = get_array_module(x), fmt.block_shape(x.shape)
    n, y, limits = math.prod(shape), xp.empty(shape, x.dtype), _limits(fmt, x.dtype)
    if fmt.block is not None:
        most = _largest_in_tiles(fmt, x)
    else:
        length = x.size if n == 1 else math.prod(x.shape[fmt.positive_axis(x.shape) + 1 :])
        rows = x.size // length
        if rows == n and length <= SHORT:
            launch(FILE, "gaps_of_rows", n, x.dtype, x=x, y=y, n=n, length=length, **limits)
            return y
        parts = max(1, min(length // PART, PARTS // rows))
        most = xp.zeros(n, f"u{x.itemsize}")
        launch(FILE, "largest_in_rows", rows * parts, x.dtype, x=x, y=most, rows=rows, length=length, parts=parts, n=n)
    launch(FILE, "gaps_of_blocks", n, x.dtype, most=most, y=y, n=n, **limits)
    return y


@functools.cache
def _limits(fmt: BlockFloatingPoint, dtype: np.dtype) -> Numbers:
    """Return the lowest and highest scale of a block, the gap at scale 1, and the smallest gap."""
    highest = 2.0 ** (127 if dtype.itemsize == 4 else 1023)
    low, high = max(fmt.scale.smallest, tiny(dtype)), min(fmt.scale.max, highest)
    return {"low": low, "high": high, "unit": 2.0 ** (2 - fmt.wl), "smallest": tiny(dtype)}


@functools.lru_cache(4096)
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
