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
from ...backend import Array, empty, get_num_threads, parallel
from ...distributed import shards
from ...formats import Blocked, BlockFloatingPoint, BlockScaled, FixedPoint, FloatingPoint, Format, Table
from ...formats.base import pow2floor, quiet
from ...random import Stream
from ...rounding import STOCHASTIC, Stochastic
from ..dispatch import by_class, plain
from . import scaled, tables

SMALL, LARGE = 1 << 17, 1 << 19  # numbers a piece: more than the threads' taking turns costs, within the cache
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

    parallel(piece, range(0, len(rows), step))
    return y.reshape(x.shape)


def random_bits(stream: Stream, n: int, xp: ModuleType = np, width: int = 16) -> Array:
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
    return functools.partial(_integers, lambda _: (gap, False), low, high) if gap == fmt.smallest else None


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


def _block_gaps(fmt: BlockFloatingPoint, largest: Array) -> tuple[Array, bool]:
    """Return the gap of blocks, given their largest magnitudes, and whether nothing in them is beyond the grid."""
    limit = 2.0 ** min(2 ** (fmt.exp - 1) - 1, 100)
    if 1 / limit <= largest.min() and largest.max() <= limit:  # no end of the exponents is near
        gap = pow2floor(largest) * largest.dtype.type(2.0 ** (2 - fmt.wl))
        return gap, bool((largest <= (2.0 ** (fmt.wl - 1) - 1) * gap).all())
    return fmt.spacing(largest), False


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
    gaps: Callable[[Array], tuple[Array, bool]],
    low: float,
    high: float,
    x: Array,
    y: Array,
    rounding: Rounding,
    stream: Stream,
) -> None:
    """Round to the integers low..high times a gap that is the same for a whole x[i]; `gaps` finds it."""
    gap, fits = gaps(x)
    if np.any(gap < np.finfo(x.dtype).tiny):  # one over it may be infinite; the gap of a block of NaN is NaN
        np.divide(x, gap, out=y)
    else:
        np.multiply(x, 1 / gap, out=y)
    _round(y, high, rounding, stream)
    if not fits:
        np.clip(y, low, high, out=y)
    y *= gap
    y += 0.0  # -0.0 + 0.0 is +0.0


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
    bits, own = np.dtype(f"u{x.itemsize}"), np.finfo(x.dtype)
    sign = bits.type(1 << (8 * x.itemsize - 1))
    exponent = bits.type(((1 << own.nexp) - 1) << own.nmant)
    gap = empty(x.shape, x.dtype)
    np.bitwise_and(x.view(bits), exponent, out=gap.view(bits))  # 2^floor(log2 |x|)
    np.clip(gap, low, high, out=gap)
    gap *= 2.0**-man
    np.divide(x, gap, out=y)
    _round(y, 2.0 ** (man + 1), rounding, stream)
    y *= gap
    np.clip(y, -top, top, out=y)
    if not signed_zero:
        y += 0.0
        return
    if rounding == "nearest":  # a number rounded to zero has kept its sign
        return
    np.abs(y, out=y)
    signs = np.bitwise_and(x.view(bits), sign, out=gap.view(bits))
    np.bitwise_or(y.view(bits), signs, out=y.view(bits))


def _round(n: Array, high: float, rounding: Rounding, stream: Stream) -> None:
    """Round to integers in place; above `high` only that they are not below it matters."""
    if rounding == "nearest":
        np.rint(n, out=n)
        return
    stochastic = rounding if isinstance(rounding, Stochastic) else STOCHASTIC
    u = stochastic.uniform(n, stream)
    if high <= 2.0 ** (np.finfo(n.dtype).nmant - 16):
        # n goes up iff u < n - floor(n). Up to here n - u, and so its ceiling, is exact enough to tell.
        n -= u
        np.ceil(n, out=n)
    else:
        whole = np.floor(n)
        n -= whole
        np.add(whole, u < n, out=n)
