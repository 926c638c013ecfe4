"""Floating point: a sign, an exponent, a mantissa; subnormal numbers down to zero, special values at the top."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..backend import get_array_module
from ..random import Stream
from ..rounding import Stochastic
from .base import Array, Format, bound, check, integer, pow2floor, quiet, tiny

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
        integer("FloatingPoint", "exp", self.exp, 1, 11)
        integer("FloatingPoint", "man", self.man, 0, 52)
        if self.specials not in SPECIALS:
            raise ValueError(f"FloatingPoint: specials must be one of {', '.join(SPECIALS)}, got {self.specials!r}")
        if self.bias is None:
            object.__setattr__(self, "bias", 2 ** (self.exp - 1) - 1)
        if self.saturate is None:
            object.__setattr__(self, "saturate", self.bits <= 8)

    @property
    def bits(self) -> int:
        """Bits of a number."""
        return 1 + self.exp + self.man

    @property
    def emin(self) -> int:
        """Exponent of the smallest normal number."""
        return 1 - self.bias

    @property
    def emax(self) -> int:
        """Exponent of the largest number."""
        return 2**self.exp - (2 if self.specials == "ieee" else 1) - self.bias

    @property
    def max(self) -> float:
        """The largest number."""
        last = 2 if self.specials == "nan" else 1  # the mantissa of all ones is NaN
        return (2 - last * 2.0**-self.man) * 2.0**self.emax

    @property
    def smallest(self) -> float:
        """The smallest number above zero."""
        return 2.0 ** (self.emin - self.man if self.subnormals else self.emin)

    def spacing(self, x: Array) -> Array:
        """Return 2^(floor(log2 |x|) - man), with the exponent held within the format's."""
        xp, power = get_array_module(x), pow2floor(x)
        low, high = bound(2.0**self.emin, x.dtype), bound(2.0**self.emax, x.dtype)
        s = power.clip(low, high)  # an infinity has the gap of the highest numbers
        s *= x.dtype.type(bound(2.0**-self.man, x.dtype))
        s = xp.maximum(s, x.dtype.type(tiny(x.dtype)))
        return s if self.subnormals else xp.where(power < low, x.dtype.type(low), s)

    def clip(self, y: Array, s: Array) -> Array:
        """Replace what overflowed by the largest number, an infinity, or NaN."""
        xp, top = get_array_module(y), bound(self.max, y.dtype)
        if self.saturate or self.specials == "none":
            return y.clip(-top, top)
        beyond = y.dtype.type("inf" if self.specials == "ieee" else "nan")
        return xp.where(abs(y) > top, xp.copysign(beyond, y), y)

    def quantize(self, x: Array, rounding: str | Stochastic = "nearest", stream: Stream | None = None) -> Array:
        """Return `x` rounded to the format: same shape, same dtype (float32 or float64)."""
        xp, x = get_array_module(x), check(x, self)
        if self.specials == "none" and bool(xp.isnan(x).any()):
            raise ValueError(f"{self}: x holds NaN, which this format does not have")
        y = super().quantize(x, rounding, stream)
        if self.saturate or rounding not in ("toward_zero", "floor", "ceil"):
            return y
        with quiet():
            lost = (abs(y) > self.max) | xp.isnan(y)
            inward = {"toward_zero": True, "floor": x > 0, "ceil": x < 0}[rounding]
            return xp.where(lost & xp.isfinite(x) & inward, xp.copysign(x.dtype.type(self.max), x), y)

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
