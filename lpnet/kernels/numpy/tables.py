"""Rounding to a list of numbers by looking up the upper half of a float32: `Table.rule` without its binary searches.

The numbers that share their upper 16 bits lie close together: where no more than one threshold is among them, one
comparison tells on which side of it a number is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ...formats import Table
from ...formats.base import quiet
from ...random import Stream
from ...rounding import STOCHASTIC, Stochastic

Array = np.ndarray
Kernel = Callable[[Array, Array, Any, Stream], None]
PIECE = 1 << 15  # numbers whose indices stay in the cache


@functools.lru_cache(maxsize=32)
def kernel(fmt: Table) -> Kernel | None:
    """Return what rounds float32 arrays to nearest and stochastically, or None for a table too fine for it."""
    values = np.asarray(fmt.values, np.float32)
    found = None if (np.diff(values) <= 0).any() else thresholds(fmt, values)
    ups, places = (None, None) if found is None else (Lookup.of(found), Lookup.of(values))
    if ups is None or places is None:
        return None
    nearest = values[ups.count]
    low, high = values[np.maximum(places.count - 1, 0)], values[np.minimum(places.count, len(values) - 1)]

    def rounded(x: Array, y: Array, rounding: str | Stochastic, stream: Stream) -> None:
        flat, out = x.reshape(-1), y.reshape(-1)
        u = None if rounding == "nearest" else _uniform(flat, rounding, stream)
        for i in range(0, flat.size, PIECE):
            part = slice(i, i + PIECE)
            if u is None:
                np.take(nearest, ups.index(flat[part]), out=out[part])
            else:
                index = places.index(flat[part])
                out[part] = _either(flat[part], low[index], high[index], u[part])
            np.copyto(out[part], np.nan, where=np.isnan(flat[part]))

    return rounded


def thresholds(fmt: Table, values: Array) -> Array | None:
    """Return the lowest float32 that is rounded up from each of the values to the next, or None if it is not found."""
    with quiet():
        middle = (values[:-1].astype(np.float64) + values[1:]).astype(np.float32) / np.float32(2)
    tried = np.stack([np.nextafter(middle, np.float32(-np.inf)), middle, np.nextafter(middle, np.float32(np.inf))])
    up = fmt.rule(tried) == values[1:]
    known = (~up[0] & up[2]).all()
    return np.take_along_axis(tried, up.argmax(axis=0)[None], 0)[0] if known else None


class Lookup:
    """Where a float32 is among ascending ones, from its upper 16 bits and one comparison."""

    def __init__(self, between: Array, count: Array) -> None:
        self.between = between  # (2^16,): the one of them that numbers with these upper bits may be below
        self.count = count  # (2^17,): how many are at most x, if x is below it and if not

    @classmethod
    def of(cls, ascending: Array) -> Lookup | None:
        """Return the lookup, or None where several have the same upper bits."""
        keys = np.arange(2**16, dtype=np.uint32) << 16
        own = keys.view(np.float32), (keys | 0xFFFF).view(np.float32)
        ends = [np.where(np.isnan(end), np.copysign(np.float32(np.inf), end), end) for end in own]
        first, last = (np.searchsorted(ascending, end(*ends), "right") for end in (np.minimum, np.maximum))
        if (last - first > 1).any():
            return None
        between = np.append(ascending, np.float32(np.inf))[first]
        return cls(between, np.stack([first, last], axis=1).reshape(-1))

    def index(self, x: Array) -> Array:
        """Return where in `count` each of x is."""
        keys = (x.view(np.uint32) >> 16).astype(np.intp)
        return 2 * keys + (x >= self.between[keys])


def _uniform(x: Array, rounding: str | Stochastic, stream: Stream) -> Array:
    """Return the random numbers of x, in float64 as `Table.rule` compares them."""
    rule = rounding if isinstance(rounding, Stochastic) else STOCHASTIC
    return rule.uniform(rule.draw(x.size, stream, np), np.empty(x.shape))


def _either(x: Array, low: Array, high: Array, u: Array) -> Array:
    """Return one of the neighbours of x; beyond the ends both are the end."""
    gap = high.astype(np.float64) - low
    with quiet():
        between = (x.astype(np.float64) - low) / gap
    return np.where((u < between) & (gap > 0), high, low)
