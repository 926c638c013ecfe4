"""Fixed point: integers times one power of two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import get_array_module
from ..validate import check_fields
from .base import Array, Format, bound, pow2floor, quiet, tiny


@dataclass(frozen=True)
class FixedPoint(Format):
    """Two's complement numbers of `wl` bits, `fl` of them behind the point.

    NaN stays NaN. Encoded, it has a code only in the symmetric format: that of the lowest number, which is left out.
    Raises ValueError for a word length outside 1..53 or a fraction length outside -100..140.
    """

    wl: int  # word length, in bits
    fl: int  # fraction length: the gap is 2^-fl
    symmetric: bool = False  # leave out the lowest number, which has no counterpart above zero
    saturate: bool = True  # numbers beyond the ends become the ends; False: they stay, on the same grid

    def __post_init__(self) -> None:
        check_fields(self, wl=(1, 53), fl=(-100, 140), symmetric=bool, saturate=bool)

    @property
    def has_nan(self) -> bool:
        """Whether a code stands for NaN."""
        return self.symmetric

    @property
    def bits(self) -> int:
        """Bits of a number."""
        return self.wl

    @property
    def max(self) -> float:
        """The largest number."""
        return (2.0 ** (self.wl - 1) - 1) * self.smallest

    @property
    def min(self) -> float:
        """The lowest number."""
        return -self.max if self.symmetric else -(2.0 ** (self.wl - 1)) * self.smallest

    @property
    def smallest(self) -> float:
        """The smallest number above zero."""
        return 2.0**-self.fl

    def spacing(self, x: Array) -> Any:
        """Return 2^-fl; where nothing is clipped, no finer than the numbers of x itself."""
        gap = max(self.smallest, tiny(x.dtype))
        if self.saturate:
            return x.dtype.type(gap)
        digits = 23 if x.dtype.itemsize == 4 else 52
        own = pow2floor(x) * x.dtype.type(2.0**-digits)
        xp = get_array_module(x)
        return xp.maximum(xp.where(xp.isinf(own), gap, own), gap).astype(x.dtype)

    def rows_independent(self, x: Array) -> bool:
        """Return True: every element is rounded by itself."""
        return True

    def clip(self, y: Array, s: Array) -> Array:
        """Saturate."""
        if not self.saturate:
            return y
        return get_array_module(y).clip(y, bound(self.min, y.dtype), bound(self.max, y.dtype))

    def fields(self) -> tuple[tuple[str, int], ...]:
        """Return sign, integer and fraction, or one integer where the point lies outside of the bits."""
        if not 0 <= self.fl < self.wl:
            return (("integer", self.wl),)
        return ("sign", 1), ("integer", self.wl - 1 - self.fl), ("fraction", self.fl)

    def to_codes(self, y: np.ndarray) -> np.ndarray:
        """Return two's complement integers of wl bits."""
        lowest, nan = -(2 ** (self.wl - 1)), np.isnan(y)
        with quiet():
            n = np.where(nan, lowest, np.asarray(y, np.float64) / self.smallest)
        if nan.any() and not self.has_nan:
            raise ValueError(f"{self}: x holds NaN, which has no code in this format")
        if ((n < lowest) | (n > -lowest - 1)).any():
            raise ValueError(f"{self}: x holds numbers beyond {self.min:g}..{self.max:g}, which have no code")
        return n.astype(np.int64).view(np.uint64) & np.uint64(2**self.wl - 1)

    def from_codes(self, codes: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return the numbers of two's complement integers of wl bits."""
        n = codes.astype(np.int64)
        n -= (n >> (self.wl - 1)) << self.wl  # the highest bit counts negative
        y = (n * self.smallest).astype(dtype)
        if self.symmetric:
            y[n == -(2 ** (self.wl - 1))] = np.nan
        return y

    def __str__(self) -> str:
        return f"fixed{self.wl}.{self.fl}" if self == FixedPoint(self.wl, self.fl) else repr(self)
