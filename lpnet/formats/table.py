"""Any list of numbers as a format: posits, NF4, a codebook."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..backend import Array, get_array_module
from ..random import Stream
from ..rounding import Stochastic, mode, round
from .base import REGISTERED, Format, float_array, quiet


@dataclass(frozen=True)
class Table(Format):
    """The numbers of a list, in ascending order; the code of a number is its place in the list.

    Ties go to the number at an even place, numbers beyond the ends become the ends, NaN stays NaN and has no code.
    Raises ValueError for fewer than two numbers, more than 2^16, numbers out of order, or beyond those of float32.
    """

    values: tuple[float, ...]
    name: str

    def __post_init__(self) -> None:
        values = np.asarray(self.values, np.float64).reshape(-1)
        if not 2 <= values.size <= 2**16:
            raise ValueError(f"Table: values must be 2 to {2**16} numbers, got {values.size}")
        if not (abs(values) <= np.finfo(np.float32).max).all():
            raise ValueError("Table: values must be finite numbers of float32's range, got others")
        if not (np.diff(values) > 0).all():
            raise ValueError("Table: values must ascend, each once; got some out of order")
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"Table: name must be a text, got {self.name!r}")
        object.__setattr__(self, "values", tuple((values + 0.0).tolist()))

    @property
    def bits(self) -> int:
        """Bits of a number's place."""
        return (len(self.values) - 1).bit_length()

    @property
    def max(self) -> float:
        """The largest number."""
        return self.values[-1]

    @property
    def min(self) -> float:
        """The lowest number."""
        return self.values[0]

    @property
    def smallest(self) -> float:
        """The smallest number above zero; 0 if there is none."""
        return next((value for value in self.values if value > 0), 0.0)

    @property
    def mirrored(self) -> bool:
        """Whether the numbers below zero are those above, and at even places if those are."""
        return len(self.values) % 2 == 1 and self.values == tuple(0.0 - value for value in self.values[::-1])

    def neighbours(self, x: Array) -> tuple[Array, Array, Array]:
        """Return the place of the number below x or equal, and the numbers below and above; the ends beyond them."""
        xp = get_array_module(x)
        values = xp.asarray(np.asarray(self.values, x.dtype))
        last = len(self.values) - 1
        low = xp.clip(xp.searchsorted(values, x, side="right") - 1, 0, last)
        return low, values[low], values[xp.clip(xp.searchsorted(values, x, side="left"), 0, last)]

    def rows_independent(self, x: Array) -> bool:
        """Return True: every element is rounded by itself."""
        return True

    def spacing(self, x: Array) -> Array:
        """Return the gap between the neighbours of each element; beyond the ends, and on a number, that beside it."""
        xp, gaps = get_array_module(x), np.diff(np.asarray(self.values, x.dtype))
        return xp.asarray(gaps)[xp.clip(self.neighbours(x)[0], 0, len(gaps) - 1)]

    def rule(self, x: Array, rounding: str | Stochastic = "nearest", stream: Stream | None = None) -> Array:
        """Return one of the two neighbours of each element of `x`."""
        xp, x = get_array_module(x), float_array(x, self)
        mode(rounding)  # an unknown one is refused
        place, low, high = self.neighbours(x)
        with quiet():
            down, up = x.astype(np.float64) - low, high.astype(np.float64) - x
            if isinstance(rounding, Stochastic) or rounding == "stochastic":
                between = xp.asarray(xp.where(high > low, down / (high.astype(np.float64) - low), 0.0))
                higher = round(between, rounding, stream) > 0
            else:
                tie = {"nearest": place % 2 == 1, "nearest_away": x > 0, "nearest_up": True}.get(rounding, False)
                nearer = (down > up) | ((down == up) & tie)
                inward = xp.where((low < 0) & (high > 0), nearer, x < 0)  # without a zero neither is on its side
                higher = {"floor": False, "ceil": True, "toward_zero": inward}.get(rounding, nearer)
            return xp.asarray(xp.where(xp.isnan(x), x, xp.where(higher, high, low)))

    def to_codes(self, y: np.ndarray) -> np.ndarray:
        """Return the places of numbers of the table; ValueError for others."""
        place, low, _ = self.neighbours(np.asarray(y))
        if not (low == y).all():
            raise ValueError(f"{self}: x holds NaN or numbers beside the table, which have no code in this format")
        return place.astype(np.uint64)

    def from_codes(self, codes: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return the numbers at places; NaN for a place beyond the last."""
        padded = np.full(max(2**self.bits, 2), math.nan)
        padded[: len(self.values)] = self.values
        return padded[codes.astype(np.int64)].astype(dtype)

    def __str__(self) -> str:
        return self.name if REGISTERED.get(self.name) == self else repr(self)
