"""Arrays whose numbers all are of a small format, in a byte or two a number: exactly so, or not at all.

`packer(fmt)` is what packs arrays of that format. No rounding is done: what an array gives back has its bits.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..backend import Array, empty, get_array_module, parallel, slices
from ..formats import BlockFloatingPoint, FixedPoint, FloatingPoint, Format, Table
from ..formats.base import quiet
from .dispatch import by_class


class Integers(NamedTuple):
    """Numbers that are integers, the codes, times a gap that broadcasts to them."""

    codes: Array  # int8 or int16
    gap: Array

    def unpack(self) -> Array:
        """Return the numbers."""
        return _in_parts(lambda codes, gap, out: get_array_module(codes).multiply(codes, gap, out=out), *self)


class Indices(NamedTuple):
    """Numbers as their codes, places in a table of all numbers of the format."""

    codes: Array  # uint8
    values: Array  # (2^bits,) float32

    def unpack(self) -> Array:
        """Return the numbers."""
        values, xp = self.values, get_array_module(self.values)
        return _in_parts(lambda codes, _, out: xp.take(values, codes, out=out), self.codes, values[:1])


Packed = Integers | Indices
Packer = Callable[[Array], Packed | None]  # None for an array with a number that is not of the format


@by_class
def packer(fmt: Format) -> Packer | None:
    """Return what packs arrays whose numbers are of a format, None where the format has no codes that are so short."""
    return None


def pack(fmt: Format, x: Array) -> Packed | None:
    """Return `x` packed, None if that loses a bit of it."""
    own = packer(fmt)
    return None if own is None else own(x)


@packer.register(FixedPoint)
def _(fmt: FixedPoint) -> Packer | None:
    return functools.partial(_integers, fmt) if fmt.saturate and fmt.wl <= 16 else None


@packer.register(BlockFloatingPoint)
def _(fmt: BlockFloatingPoint) -> Packer | None:
    return functools.partial(_integers, fmt) if fmt.block is None and fmt.wl <= 16 else None


@packer.register(FloatingPoint, Table)
def _(fmt: Format) -> Packer | None:
    return functools.partial(_indices, fmt) if fmt.bits <= 8 and _halves(fmt) is not None else None


def _integers(fmt: Any, x: Array) -> Packed | None:
    codes = empty(x.shape, f"i{1 if fmt.wl <= 8 else 2}", get_array_module(x))
    whole = None if fmt.rows_independent(x) else fmt.spacing(x)

    def pack(part: slice) -> Array | None:
        gap = fmt.spacing(x[part]) if whole is None else whole
        codes[part] = x[part] / gap
        return gap if _same(codes[part] * gap, x[part]) else None

    with quiet():
        gaps = parallel(pack, _parts(x))
    found = [gap for gap in gaps if gap is not None]
    if len(found) < len(gaps) or not found:
        return None
    return Integers(codes, get_array_module(x).concatenate(found) if whole is None and found[0].ndim else found[0])


def _indices(fmt: Format, x: Array) -> Packed | None:
    tables = _halves(fmt)
    if x.dtype != np.float32 or tables is None:
        return None
    xp, codes = get_array_module(x), empty(x.shape, np.uint8, get_array_module(x))
    of_half, values = map(xp.asarray, tables)

    def pack(part: slice) -> bool:
        codes[part] = of_half.take(x[part].view(np.uint32) >> 16)
        return _same(values.take(codes[part]), x[part])

    return Indices(codes, values) if all(parallel(pack, _parts(x))) else None


@functools.lru_cache
def _halves(fmt: Format) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the code of each upper half of a float32, and the number of each code; None if halves do not tell them."""
    with quiet():
        values = fmt.from_codes(np.arange(2**fmt.bits, dtype=np.uint64), np.dtype(np.float32))
    bits = values.view(np.uint32)
    if (bits & 0xFFFF).any():
        return None
    codes = np.zeros(1 << 16, np.uint8)
    codes[bits >> 16] = np.arange(len(values))
    return codes, values


def _same(a: Array, b: Array) -> bool:
    bits = f"u{b.dtype.itemsize}"  # which tell -0.0 from 0.0
    return a.dtype == b.dtype and bool((a.view(bits) == b.view(bits)).all())


def _parts(x: Array) -> list[slice]:
    """Return which samples are worked on at a time."""
    return slices(len(x), math.prod(x.shape[1:])) if isinstance(x, np.ndarray) else [slice(None)]


def _in_parts(compute: Callable[..., Any], codes: Array, other: Array) -> Array:
    """Return what `compute` makes of codes and of what goes with them, an array or one number a sample or for all."""
    y = empty(codes.shape, other.dtype, get_array_module(codes))
    a_sample = other.ndim == codes.ndim and len(other) == len(codes)
    parallel(lambda part: compute(codes[part], other[part] if a_sample else other, out=y[part]), _parts(codes))
    return y
