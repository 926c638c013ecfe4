"""Floating point: a sign, an exponent, a mantissa; subnormal numbers down to zero, special values at the top."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..backend import Array, get_array_module, on_host
from ..random import Stream
from ..rounding import Stochastic
from ..validate import check_fields, choice
from .base import Format, bound, exact_pow2floor, float_array, pow2floor, quiet, tiny

SPECIALS = ("ieee", "nan", "none")


@dataclass(frozen=True)
class FloatingPoint(Format):
    """Binary floating point with `exp` exponent bits and `man` stored mantissa bits.

    Overflow is judged after rounding. Modes that round toward zero at the top give the largest number, as IEEE 754 has
    it. Raises ValueError for numbers of bits out of range; `quantize` raises it for a NaN if the format has none.
    Sources: IEEE 754-2019; Micikevicius et al., "FP8 formats for deep learning", 2022; OCP MX 1.0, 2023.
    """

    exp: int
    man: int
    bias: int | None = None  # None: 2^(exp-1) - 1
    saturate: bool | None = None  # overflow and infinity give the largest number; None: yes up to 8 bits
    specials: str = "ieee"  # "ieee": infinities and NaN; "nan": one NaN a sign; "none": all codes are numbers
    subnormals: bool = True  # False: nothing between zero and the smallest normal number
    signed_zero: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(self, exp=(1, 11), man=(0, 52), subnormals=bool)
        choice("FloatingPoint", "specials", self.specials, SPECIALS)
        if self.bias is None:
            object.__setattr__(self, "bias", 2 ** (self.exp - 1) - 1)
        if self.saturate is None:
            object.__setattr__(self, "saturate", self.bits <= 8)
        low, high = 2**self.exp - 1024 - (self.specials == "ieee"), 1075 - self.man
        # float64 has the ends, float32 the smallest
        check_fields(self, bias=(max(low, -126), high), saturate=bool)
        if not self.subnormals and self._top < 2**self.man:
            raise ValueError("FloatingPoint: subnormals=False leaves no number but zero with exp=1 and IEEE specials")

    @property
    def bits(self) -> int:
        """Bits of a number."""
        return 1 + self.exp + self.man

    @property
    def has_nan(self) -> bool:
        """Whether a code stands for NaN: with IEEE specials it needs a mantissa to tell it from infinity."""
        return self.specials == "nan" or (self.specials == "ieee" and self.man > 0)

    @property
    def _top(self) -> int:
        """Code of the largest number."""
        codes = 2 ** (self.bits - 1)  # of one sign
        return codes - {"ieee": 2**self.man, "nan": 1, "none": 0}[self.specials] - 1

    @property
    def emin(self) -> int:
        """Exponent of the smallest normal number, and of all the numbers below it."""
        assert self.bias is not None  # __post_init__ has found it
        return 1 - self.bias

    @property
    def emax(self) -> int:
        """Exponent of the largest number."""
        return self.emin + max(self._top >> self.man, 1) - 1

    @property
    def max(self) -> float:
        """The largest number."""
        mantissa = self._top % 2**self.man + (2**self.man if self._top >> self.man else 0)
        return mantissa * 2.0**-self.man * 2.0**self.emax

    @property
    def min(self) -> float:
        """The lowest number."""
        return -self.max

    @property
    def smallest(self) -> float:
        """The smallest number above zero."""
        return 2.0 ** (self.emin - self.man if self.subnormals else self.emin)

    def spacing(self, x: Array) -> Array:
        """Return 2^(floor(log2 |x|) - man), with the exponent held within the format's."""
        xp, reach = get_array_module(x), -126 if x.dtype.itemsize == 4 else -1022  # below, x itself is subnormal
        power = pow2floor(x) if self.emin >= reach else exact_pow2floor(x)
        low, high = bound(2.0**self.emin, x.dtype), bound(2.0**self.emax, x.dtype)
        s = power.clip(low, high)  # an infinity has the gap of the highest numbers
        s *= x.dtype.type(bound(2.0**-self.man, x.dtype))
        s = xp.maximum(s, x.dtype.type(tiny(x.dtype)))
        return s if self.subnormals else xp.where(power < low, x.dtype.type(low), s)

    def rows_independent(self, x: Array) -> bool:
        """Return True: every element is rounded by itself."""
        return True

    def clip(self, y: Array, s: Array) -> Array:
        """Replace what overflowed by the largest number, an infinity, or NaN."""
        xp, top = get_array_module(y), self.largest(y.dtype)
        if self.saturate or self.specials == "none":
            return y.clip(-top, top)
        beyond = y.dtype.type("inf" if self.specials == "ieee" else "nan")
        return xp.where(abs(y) > top, xp.copysign(beyond, y), y)

    def rule(self, x: Array, rounding: str | Stochastic = "nearest", stream: Stream | None = None) -> Array:
        """Return `x` rounded to the format, as `Format.rule`; what lies beyond its ends as IEEE 754 has it."""
        xp, x = get_array_module(x), float_array(x, self)
        if not self.has_nan and on_host(x) and np.isnan(x).any():
            raise ValueError(f"{self}: x holds NaN, which this format does not have")
        y = super().rule(x, rounding, stream)
        if self.saturate or rounding not in ("toward_zero", "floor", "ceil"):
            return y
        with quiet():
            lost = (abs(y) > self.max) | xp.isnan(y)
            inward = {"toward_zero": True, "floor": x > 0, "ceil": x < 0}[rounding]
            return xp.where(lost & xp.isfinite(x) & inward, xp.copysign(x.dtype.type(self.largest(x.dtype)), x), y)

    def largest(self, dtype: np.dtype) -> float:
        """Return the largest number that the dtype has, too."""
        own = 127 if dtype.itemsize == 4 else 1023
        return bound(min(self.max, (2 - 2.0**-self.man) * 2.0**own), dtype)

    def fields(self) -> tuple[tuple[str, int], ...]:
        """Return sign, exponent and mantissa."""
        return ("sign", 1), ("exponent", self.exp), ("mantissa", self.man)

    def to_codes(self, y: np.ndarray) -> np.ndarray:
        """Return sign, exponent and mantissa as one integer. NaN keeps its sign, not its payload."""
        y = np.asarray(y, np.float64)
        with quiet():
            gap = np.maximum(np.frexp(y)[1] - 1, self.emin) - self.man  # its exponent; zeros have the lowest
            n = np.ldexp(abs(y), -gap)  # in units of the gap; each binade has 2^man of them
            codes = np.where(abs(y) <= self.max, n, 0).astype(np.uint64)
            codes += np.where(y == 0, 0, gap - (self.emin - self.man)).astype(np.uint64) << np.uint64(self.man)
        nan = self._top + 1 + (2 ** (self.man - 1) if self.specials == "ieee" and self.man else 0)  # a quiet one
        codes = np.where(np.isinf(y), np.uint64(self._top + 1), np.where(np.isnan(y), np.uint64(nan), codes))
        if self.specials != "ieee" and np.isinf(y).any():
            raise ValueError(f"{self}: x holds an infinity, which has no code in this format")
        return codes | np.signbit(y).astype(np.uint64) << np.uint64(self.bits - 1)

    def from_codes(self, codes: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return the numbers of integers that hold sign, exponent and mantissa."""
        magnitude = codes & np.uint64(2 ** (self.bits - 1) - 1)
        field = (magnitude >> np.uint64(self.man)).astype(np.int32)
        mantissa = (magnitude & np.uint64(2**self.man - 1)).astype(np.float64)
        if not self.subnormals:
            mantissa[field == 0] = 0
        mantissa += np.where(field > 0, 2.0**self.man, 0)
        with quiet():
            y = np.ldexp(mantissa, np.maximum(field, 1) - 1 + self.emin - self.man)
        if self.specials == "ieee":
            y[magnitude == self._top + 1] = np.inf
        y[magnitude > self._top + (self.specials == "ieee")] = np.nan
        return np.where(codes >> np.uint64(self.bits - 1), -y, y).astype(dtype)

    def __str__(self) -> str:
        name = next((name for name, fmt in PRESETS.items() if fmt == self), f"e{self.exp}m{self.man}")
        return name if PRESETS.get(name, FloatingPoint(self.exp, self.man)) == self else repr(self)


PRESETS = {
    "fp32": FloatingPoint(8, 23),
    "fp16": FloatingPoint(5, 10),
    "bf16": FloatingPoint(8, 7),
    "tf32": FloatingPoint(8, 10),
    "e5m2": FloatingPoint(5, 2),
    "e4m3": FloatingPoint(4, 3, specials="nan"),
    "e3m2": FloatingPoint(3, 2, specials="none"),
    "e2m3": FloatingPoint(2, 3, specials="none"),
    "e2m1": FloatingPoint(2, 1, specials="none"),
}
