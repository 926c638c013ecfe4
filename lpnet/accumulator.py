"""How the terms of a product are added up where it is not in float32: in partial sums of few bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from . import formats, kernels
from .backend import Array, get_array_module
from .formats._names import take_rounders
from .formats.base import quiet
from .validate import integer

Rounder = Callable[[Array], Array]
SUMS = ("add", "multiply", "outer")  # what has a format


@dataclass(frozen=True)
class Accumulator:
    """Partial sums of `every` terms in the format `add`, which are then added up in `outer`.

    Formats and their names round to nearest; a `Quantizer` has its own rounding, any function of arrays does. Terms
    and their sums are rounded as if they had been exact, for operands of float32. This takes a step of Python for each
    term, hundreds of times what a product in float32 takes. Raises ValueError where a sum is narrower than what is
    added.

    Sources: Wang et al., "Training deep neural networks with 8-bit floating point numbers", NeurIPS 2018, section 3.1
    (chunks); DeepSeek-AI, "DeepSeek-V3", 2024, section 3.3.2 (promotion every 128 terms).

    Parameters
    ----------
    add : format, name or function, optional
        The format of partial sums, rounded after each term; None adds in float64, without rounding.
    multiply : format, name or function, optional
        The format of the terms, the products of two numbers; None: exact.
    every : int
        Terms of a partial sum, in the order in which arrays lie in memory.
    outer : format, name or function, optional
        The format of the sum of partial sums, rounded after each; None adds in float64, or with every=1, where partial
        sums are single terms, in `add`.
    """

    add: Any = None
    multiply: Any = None
    every: int = 1
    outer: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "every", integer("Accumulator", "every", self.every, 1))
        take_rounders(self, SUMS)
        if self.outer is None and self.every == 1:
            object.__setattr__(self, "outer", self.add)
        for wide, narrow in (("add", "multiply"), ("outer", "add"), ("outer", "multiply")):
            _check_wide(wide, getattr(self, wide), narrow, getattr(self, narrow))

    def check_terms(self, name: str, operand: formats.Format) -> None:
        """Raise ValueError if a sum has fewer bits than the operand of this name, whose format is given."""
        for sum_name in ("add", "outer"):
            _check_wide(sum_name, getattr(self, sum_name), name, operand)

    def matmul(self, a: Array, b: Array) -> Array:
        """Return a (..., M, K) times b (..., K, N), vectors as NumPy has them; terms are added in the order of k."""
        xp, dtype = get_array_module(a), np.result_type(a.dtype, b.dtype)
        left, right = a[None, :] if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b
        left, right = left.astype(np.float64), right.astype(np.float64)
        shape = (*np.broadcast_shapes(left.shape[:-2], right.shape[:-2]), left.shape[-2], right.shape[-1])
        with quiet():
            y = self._sum(lambda k: left[..., :, k, None] * right[..., None, k, :], left.shape[-1], xp.zeros(shape))
        y = y[..., 0] if b.ndim == 1 else y  # (..., M, 1) -> (..., M)
        return (y[..., 0] if b.ndim == 1 else y[..., 0, :]).astype(dtype) if a.ndim == 1 else y.astype(dtype)

    def _sum(self, term: Callable[[int], Array], terms: int, total: Array) -> Array:
        """Return the sum of term(0), term(1), ..., each in float64, added to zeros."""
        multiply, add, outer = map(rounder, (self.multiply, self.add, self.outer))
        if self.every == 1 and self.outer == self.add:  # one sum
            for k in range(terms):
                total = add(exact_sum(total, multiply(term(k))))
            return total
        for start in range(0, terms, self.every):
            part = total * 0
            for k in range(start, min(start + self.every, terms)):
                part = add(exact_sum(part, multiply(term(k))))
            total = outer(exact_sum(total, part))
        return total

    def __repr__(self) -> str:
        shown = {f.name: getattr(self, f.name) for f in fields(self)}
        told = (f"{k}={str(v) if isinstance(v, formats.Format) else v!r}" for k, v in shown.items() if v is not None)
        return f"Accumulator({', '.join(told)})"


def rounder(fmt: Any) -> Rounder:
    """Return what rounds sums: a format to nearest, a function as it does, None not at all."""
    if isinstance(fmt, formats.Format):
        return lambda x: kernels.quantize(x, fmt)
    return fmt or (lambda x: x)


def exact_sum(a: Array, b: Array) -> Array:
    """Return a + b, in float64, with an odd last bit where it is not exact: so it is rounded to fewer bits but once.

    Source: Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums", IEEE Trans. Computers, 2008.
    """
    xp = get_array_module(a)
    y = a + b
    back = y - a
    lost = (a - (y - back)) + (b - back)  # Knuth's two-sum: y + lost is a + b
    inexact = (lost != 0) & xp.isfinite(y) & ((y.view(np.int64) & 1) == 0)
    return xp.where(inexact, xp.nextafter(y, xp.copysign(np.inf, lost)), y)


def _digits(fmt: Any) -> int | None:
    """Return how many bits the numbers of a format have, those of an element where it has blocks."""
    fmt = getattr(fmt, "format", fmt)
    return fmt.bits if isinstance(fmt, formats.Format) else None


def _check_wide(wide: str, sum_format: Any, narrow: str, term_format: Any) -> None:
    bits, needed = _digits(sum_format), _digits(term_format)
    if bits is not None and needed is not None and bits < needed:
        what = getattr(sum_format, "format", sum_format), getattr(term_format, "format", term_format)
        raise ValueError(f"Accumulator: {wide} must not be narrower than {narrow}, {what[1]}, got {what[0]}")
