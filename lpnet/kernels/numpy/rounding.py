"""Rounding in pieces that stay in the processor's cache, on all threads; common formats in as few passes as it takes.

`Format.rule` explains what is done, here it is done fast: a test holds the two together, bit for bit. A format without
a kernel of its own is rounded piece by piece by its rule, and a user's class gets no kernel.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from ... import random
from ...backend import Array, empty, get_num_threads, parallel, slices
from ...distributed import shards
from ...formats import Blocked, BlockFloatingPoint, BlockScaled, FixedPoint, FloatingPoint, Format, Table
from ...formats.base import pow2floor, quiet
from ...random import Stream
from ...rounding import STOCHASTIC, Stochastic
from ..dispatch import by_class, plain
from . import scaled, tables

SMALL, LARGE = 1 << 17, 1 << 20  # numbers a piece: more than what the threads taking turns costs
CACHED = 1 << 16  # numbers of a piece that a thread by itself makes all passes over before the next, in the cache
Rounding = str | Stochastic
Kernel = Callable[[Array, Array, Rounding, Stream], None]  # rounds x into y, drawing from the stream


def quantize(fmt: Format, x: Any, rounding: Rounding, stream: Stream | None) -> Any:
    """Return `fmt.rule(x, rounding, stream)`, by a kernel or piece by piece where the format allows it."""
    stochastic = rounding == "stochastic" or isinstance(rounding, Stochastic)
    if not isinstance(x, np.ndarray) or x.dtype not in (np.float32, np.float64) or not x.ndim * x.size:
        return fmt.rule(x, rounding, stream)
    if stochastic and type(random.current(stream)) not in (Stream, random.Part):  # only it knows what it draws
        return fmt.rule(x, rounding, stream)
    rows = np.ascontiguousarray(x)
    if promises(fmt) and not isinstance(fmt, Blocked) and fmt.rows_independent(rows.reshape(-1)[:1]):
        rows = rows.reshape(-1)  # every number by itself
    own = kernel(fmt, rows) if rounding == "nearest" or (stochastic and plain(rounding)) else None
    apart = fmt.rows_together(rows) if own and isinstance(fmt, BlockScaled) else fmt.rows_independent(rows)
    if not (plain(fmt) and plain(rounding)):  # its pieces would draw the same bits twice if it draws twice
        apart = apart if not stochastic and promises(fmt) else 0
    if own is None and (not apart or x.size <= SMALL):
        return fmt.rule(x, rounding, stream)
    if not apart:
        rows = rows.reshape(-1)  # one block: its kernel knows the scale
    y, own = empty(rows.shape, rows.dtype), own or _explained(fmt)
    drawn = random.current(stream).window(x.size) if stochastic else random.Window(0, 0, 0)
    width = math.prod(rows.shape[1:])
    step = max(1, min(LARGE, max(SMALL, -(-x.size // get_num_threads()))) // width)
    step = -(-step // (apart or 1)) * (apart or 1)

    def piece(i: int) -> None:
        with quiet():
            own(rows[i : i + step], y[i : i + step], rounding, drawn.part(i * width))

    starts = range(0, len(rows), step)
    if len(starts) == 1:
        piece(0)  # small arrays come by the hundred, and setting BLAS's threads costs as much as a few passes over one
    else:
        parallel(piece, starts)
    return y.reshape(x.shape)


def random_bits(stream: Stream, n: int, xp: ModuleType, width: int) -> Array:
    """Return random numbers of the stream's next site, of 16 or 8 bits, (n,)."""
    window = stream.window(n)
    return random.bits(window.seed, window.site, window.start, window.start + n, width)


def promises(fmt: Format) -> bool:
    """Return whether `rows_independent` is the word of the class itself, not of one whose rules it may have changed."""
    return plain(fmt) or "rows_independent" in vars(type(fmt))


def _explained(fmt: Format) -> Kernel:
    """Return the format's rule, as a kernel."""

    def explained(x: Array, y: Array, rounding: Rounding, stream: Stream) -> None:
        y[...] = fmt.rule(x, rounding, stream)

    return explained


@by_class
def kernel(fmt: Format, x: Array) -> Kernel | None:
    """Return what rounds pieces of x to nearest or stochastically, or None where only the format itself does."""
    return None


@kernel.register(FixedPoint)
def _(fmt: FixedPoint, x: Array) -> Kernel | None:
    return single(fmt, x)


@kernel.register(FloatingPoint)
def _(fmt: FloatingPoint, x: Array) -> Kernel | None:
    return single(fmt, x) if fmt.has_nan else None


@kernel.register(Table)
def _(fmt: Table, x: Array) -> Kernel | None:
    return single(fmt, x)


@kernel.register(BlockScaled)
def _(fmt: BlockScaled, x: Array) -> Kernel | None:
    element = single(fmt.element, x)
    return element and functools.partial(scaled.in_blocks, fmt, scaled.tensor_scale(fmt, x, LARGE), element)


@by_class
def single(fmt: Format, x: Array) -> Kernel | None:
    """Return what rounds single numbers like those of x, NaN apart, or None."""
    return None


@single.register(FixedPoint)
def _(fmt: FixedPoint, x: Array) -> Kernel | None:
    if not fmt.saturate or fmt.wl > np.finfo(x.dtype).nmant:
        return None
    gap = fmt.spacing(x)
    low, high = fmt.min / fmt.smallest, fmt.max / fmt.smallest
    return functools.partial(_integers, lambda _: (gap, ...), low, high) if gap == fmt.smallest else None


@kernel.register(BlockFloatingPoint)
def _(fmt: BlockFloatingPoint, x: Array) -> Kernel | None:
    if not fmt.symmetric or fmt.block is not None or fmt.wl > np.finfo(x.dtype).nmant:
        return None
    high = 2.0 ** (fmt.wl - 1) - 1
    if fmt.rows_independent(x):
        return functools.partial(_integers, lambda rows: _block_gaps(fmt, fmt.block_max(rows)), -high, high)
    if fmt.axis is not None and x.ndim > 1:
        return None
    flat = x.reshape(-1)
    ends = parallel(lambda i: fmt.block_max(flat[i : i + LARGE]), range(0, flat.size, LARGE))
    found = _block_gaps(fmt, shards.largest(np.max(ends, axis=0)))
    return functools.partial(_integers, lambda _: found, -high, high)


def _block_gaps(fmt: BlockFloatingPoint, largest: Array) -> tuple[Array, Any]:
    """Return the gap of blocks, given their largest magnitudes, and the index of those beyond the grid."""
    limit = 2.0 ** min(2 ** (fmt.exp - 1) - 1, 100)
    if 1 / limit <= largest.min() and largest.max() <= limit:  # no end of the exponents is near
        gap = pow2floor(largest) * largest.dtype.type(2.0 ** (2 - fmt.wl))
        beyond = np.flatnonzero(largest > (2.0 ** (fmt.wl - 1) - 1) * gap)
        return gap, beyond if 4 * len(beyond) < len(largest) else ...  # many are clipped faster where they are
    return fmt.spacing(largest), ...


@single.register(Table)
def _(fmt: Table, x: Array) -> Kernel | None:
    return tables.kernel(fmt) if x.dtype == np.float32 else None


@single.register(FloatingPoint)
def _(fmt: FloatingPoint, x: Array) -> Kernel | None:
    own = np.finfo(x.dtype)
    exact = fmt.man < own.nmant and own.minexp + fmt.man <= fmt.emin and fmt.emax < own.maxexp
    if not (exact and (fmt.saturate or fmt.specials == "none") and fmt.subnormals):
        return None
    return functools.partial(_floats, fmt.man, 2.0**fmt.emin, 2.0**fmt.emax, fmt.max, fmt.signed_zero)


def _integers(
    gaps: Callable[[Array], tuple[Array, Any]],
    low: float,
    high: float,
    x: Array,
    y: Array,
    rounding: Rounding,
    stream: Stream,
) -> None:
    """Round to the integers low..high times a gap that is the same for a whole x[i].

    `gaps` finds it, and the index of the x[i] that may reach beyond these integers, `...` if many may.
    """
    gap, beyond = gaps(x)
    # one over a subnormal gap may be infinite; the gap of a block of NaN is NaN
    scale, factor = (np.divide, gap) if (gap < np.finfo(x.dtype).tiny).any() else (np.multiply, 1 / gap)
    to_integers, width = _to_integers(high, x, rounding, stream), math.prod(x.shape[1:])
    for part in _in_turn(len(x), width):
        n, of = y[part], part if np.ndim(gap) and len(gap) == len(x) else ...
        scale(x[part], factor[of], out=n)
        to_integers(n, part.start * width)
        if beyond is ...:
            np.clip(n, low, high, out=n)
        n *= gap[of]
        n += 0.0  # -0.0 + 0.0 is +0.0
    if beyond is not ... and len(beyond):
        y[beyond] = np.clip(y[beyond], low * gap[beyond], high * gap[beyond])


def _in_turn(n: int, width: int) -> list[slice]:
    """Return the rows, n of so many numbers, that all passes are made over before the next.

    They stay in the cache. Threads ask for the interpreter between passes: for them fewer and longer ones are quicker.
    """
    return slices(n, width, CACHED) if get_num_threads() == 1 else [slice(0, n)]


def _floats(
    man: int,
    low: float,
    high: float,
    top: float,
    signed_zero: bool,
    x: Array,
    y: Array,
    rounding: Rounding,
    stream: Stream,
) -> None:
    """Round to floating point numbers up to `top`, whose exponents are those of low..high."""
    x, y = x.reshape(-1), y.reshape(-1)
    to_integers = _to_integers(2.0 ** (man + 1), x, rounding, stream)
    bits, own = np.dtype(f"u{x.itemsize}"), np.finfo(x.dtype)
    sign = bits.type(1 << (8 * x.itemsize - 1))
    exponent = bits.type(((1 << own.nexp) - 1) << own.nmant)
    for part in _in_turn(x.size, 1):
        numbers, n = x[part].view(bits), y[part]
        gap = empty(n.shape, n.dtype)
        np.bitwise_and(numbers, exponent, out=gap.view(bits))  # 2^floor(log2 |x|)
        np.clip(gap, low, high, out=gap)
        gap *= 2.0**-man
        np.divide(x[part], gap, out=n)
        to_integers(n, part.start)
        n *= gap
        np.clip(n, -top, top, out=n)
        if not signed_zero:
            n += 0.0
        elif rounding != "nearest":  # where a number rounded to zero has kept its sign
            np.abs(n, out=n)
            signs = np.bitwise_and(numbers, sign, out=gap.view(bits))
            np.bitwise_or(n.view(bits), signs, out=n.view(bits))


def _to_integers(high: float, x: Array, rounding: Rounding, stream: Stream) -> Callable[[Array, int], object]:
    """Return what rounds in place: some of the numbers of x, in units of the gap, given the first one's place in x.

    Above `high` only that they are not below it matters.
    """
    if rounding == "nearest":
        return lambda n, start: np.rint(n, out=n)
    stochastic = rounding if isinstance(rounding, Stochastic) else STOCHASTIC
    drawn = stochastic.draw(x.size, stream, np)

    def by_ceiling(n: Array, start: int) -> None:
        n -= stochastic.uniform(drawn[start : start + n.size], n)
        np.ceil(n, out=n)

    def by_comparison(n: Array, start: int) -> None:
        whole = np.floor(n)
        n -= whole
        np.add(whole, stochastic.uniform(drawn[start : start + n.size], n) < n, out=n)

    # n goes up iff u < n - floor(n). Up to here n - u, and so its ceiling, is exact enough to tell.
    return by_ceiling if high <= 2.0 ** (np.finfo(x.dtype).nmant - 16) else by_comparison
