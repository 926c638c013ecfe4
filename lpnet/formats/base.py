"""What a number format is: the gap of its grid around each number, and where the grid ends."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import numpy as np

from ..backend import get_array_module
from ..random import Stream
from ..rounding import Stochastic, round

Array = Any


class Format:
    """A number format. A new one gives `spacing` and `clip`, or overrides `quantize`."""

    signed_zero: ClassVar[bool] = False  # whether -0.0 is a number of the format; where not, zeros are +0.0

    def spacing(self, x: Array) -> Array:
        """Return the gap between neighbouring numbers of the format around each element: a power of two.

        The result broadcasts to x.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no spacing")

    def clip(self, y: Array, s: Array) -> Array:
        """Return `y`, numbers on the grid of spacing `s`, with those beyond its ends replaced."""
        raise NotImplementedError(f"{type(self).__name__} defines no clip")

    def quantize(self, x: Array, rounding: str | Stochastic = "nearest", stream: Stream | None = None) -> Array:
        """Return `x` rounded to the format: same shape, same dtype (float32 or float64).

        Raises TypeError for arrays of another dtype, ValueError for an unknown rounding.
        """
        xp, x = get_array_module(x), check(x, self)
        with quiet():
            s = self.spacing(x)
            y = round(x / s, rounding, stream)
            y *= s
            y = self.clip(y, s)
        return xp.copysign(y, x) if self.signed_zero else y + 0.0  # -0.0 + 0.0 is +0.0


def check(x: Array, owner: Any) -> Array:
    """Return `x` as an array of float32 or float64; raises TypeError for other arrays."""
    xp = get_array_module(x)
    array = xp.asarray(x, dtype=np.float32) if isinstance(x, int | float) else xp.asarray(x)
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{owner}: x must be float32 or float64, got {array.dtype}")
    return array


def quiet() -> contextlib.AbstractContextManager[Any]:
    """Infinities and NaN are among the values that formats define: NumPy need not warn of them."""
    return np.errstate(all="ignore")


def pow2floor(x: Array) -> Array:
    """Return 2^floor(log2 |x|) from the bits of x; 0 for zeros and subnormals, infinity for infinities and NaN."""
    bits, mask = (np.uint32, 0x7F800000) if x.dtype == np.float32 else (np.uint64, 0x7FF0000000000000)
    return (x.view(bits) & bits(mask)).view(x.dtype)


def tiny(dtype: np.dtype) -> float:
    """Return the smallest number of a dtype. All its numbers are multiples: no grid need be finer."""
    return float(np.finfo(dtype).smallest_subnormal)


def bound(value: float, dtype: np.dtype) -> float:
    """Return `value` rounded toward zero to the dtype."""
    near = dtype.type(value)
    return float(near if abs(float(near)) <= abs(value) else np.nextafter(near, dtype.type(0)))


def integer(owner: str, name: str, value: Any, low: int, high: int) -> None:
    """Raise ValueError unless `value` is an integer from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise ValueError(f"{owner}: {name} must be an integer in {low}..{high}, got {value!r}")
