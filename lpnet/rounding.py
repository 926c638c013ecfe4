"""Rounding to integers, in seven modes. A format divides by the gap of its grid first and multiplies by it after.

Every mode keeps integers exactly where they are. Nothing adds 0.5 to a fraction: in floating point that sum can round
up by itself (0.49999997 + 0.5 is 1 in float32).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from . import random
from .backend import Array, empty, get_array_module
from .registry import Registry
from .validate import check_fields

Mode = Callable[[Array, "random.Stream | None"], Array]


def nearest(n: Array, stream: random.Stream | None = None) -> Array:
    """Round to the nearest integer, ties to the even one."""
    return get_array_module(n).rint(n)


def nearest_away(n: Array, stream: random.Stream | None = None) -> Array:
    """Round to the nearest integer, ties away from zero."""
    xp = get_array_module(n)
    whole = xp.trunc(n)
    return whole + xp.copysign(abs(n - whole) >= 0.5, n)


def nearest_up(n: Array, stream: random.Stream | None = None) -> Array:
    """Round to the nearest integer, ties towards plus infinity."""
    whole = get_array_module(n).floor(n)
    return whole + (n - whole >= 0.5)


def toward_zero(n: Array, stream: random.Stream | None = None) -> Array:
    """Drop the fraction."""
    return get_array_module(n).trunc(n)


def floor(n: Array, stream: random.Stream | None = None) -> Array:
    """Round towards minus infinity."""
    return get_array_module(n).floor(n)


def ceil(n: Array, stream: random.Stream | None = None) -> Array:
    """Round towards plus infinity."""
    return get_array_module(n).ceil(n)


@dataclass(frozen=True)
class Stochastic:
    """Round up with a probability equal to the fraction, so that the mean of many roundings is the number itself.

    Element i goes up iff u_i < n_i - floor(n_i), with u_i = (r_i + 1/2) / 2^bits and r_i the highest `bits` bits of
    the element's random number, which has 8 bits where that is enough and 16 where not: 8 cost half as much. The
    probability is thus the fraction rounded to a multiple of 2^-bits: the bias of one rounding is at most
    2^-(bits + 1) of the gap. Raises ValueError unless 1 <= bits <= 16.
    """

    bits: int = 16

    def __post_init__(self) -> None:
        check_fields(self, bits=(1, 16))

    def __call__(self, n: Array, stream: random.Stream | None = None) -> Array:
        """Return `n` rounded, drawing from the stream's next site."""
        whole = get_array_module(n).floor(n)
        fraction = n - whole
        whole += self.uniform(self.draw(n.size, stream, get_array_module(n)), n) < fraction
        return whole

    def draw(self, size: int, stream: random.Stream | None, xp: ModuleType) -> Array:
        """Return `size` integers r from the stream's next site, an array of the module `xp`."""
        width = random.lane_width(self.bits)
        lanes = random.draw(stream, size, xp, width)
        return lanes if self.bits == width else lanes >> (width - self.bits)

    def uniform(self, r: Array, n: Array) -> Array:
        """Return u for the integers r, in the shape of `n` and its dtype, where it is exact."""
        xp = get_array_module(n)
        u = empty(r.shape, n.dtype, xp)
        u[...] = r
        u += 0.5
        u *= 2.0**-self.bits
        return xp.asarray(u.reshape(n.shape))


STOCHASTIC = Stochastic()
_MODES: dict[str, Mode] = {
    "nearest": nearest,
    "nearest_away": nearest_away,
    "nearest_up": nearest_up,
    "toward_zero": toward_zero,
    "floor": floor,
    "ceil": ceil,
    "stochastic": STOCHASTIC,
}
MODES = Registry("rounding", _MODES)


def mode(rounding: str | Stochastic) -> Mode:
    """Return the function for a mode's name, or the Stochastic itself; raises ValueError with the nearest names."""
    return rounding if isinstance(rounding, Stochastic) else MODES[rounding]


def round(n: Array, rounding: str | Stochastic = "nearest", stream: random.Stream | None = None) -> Array:
    """Return the float array `n` rounded to integers, in its own dtype; NaN and infinities stay."""
    return mode(rounding)(n, stream)
