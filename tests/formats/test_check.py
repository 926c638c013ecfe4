"""The property checker: it passes every format of lpnet and a user's own, and finds what is planted."""

import numpy as np
import pytest

from lpnet import formats
from lpnet.formats import FloatingPoint, Format
from lpnet.formats._check import check

from .cases import FORMATS


class Powers(Format):
    """A user's format: powers of two from 1/4 to 4, and zero, by spacing and clip alone."""

    max, smallest = 4.0, 0.25

    def spacing(self, x):
        return formats.base.pow2floor(x).clip(0.25, 4)

    def clip(self, y, s):
        return y.clip(-4, 4)

    def __str__(self):
        return "powers"


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_all_formats_hold(fmt):
    """Every format has every property; NVFP4 and lopsided blocks say that they do not promise idempotence."""
    report = str(check(fmt))
    assert report.startswith(f"{fmt}: all properties hold")
    assert len(report.splitlines()) == 11 and max(map(len, report.splitlines()[1:])) <= 80


def test_a_users_format_holds():
    """Spacing and clip are all that the checker needs; codes are optional."""
    assert "codes: no: powers cannot be encoded: Powers defines no to_codes" in str(check(Powers()))


BROKEN = {
    "stays put": lambda self, x, r, s: Powers.quantize(self, x * x.dtype.type(1.5), r, s),
    "one of the two neighbours": lambda self, x, r, s: np.where(
        (y := Powers.quantize(self, x, r, s)) == x, y, (y * x.dtype.type(4 if r == "nearest_up" else 1)).clip(-4, 4)
    ),
    "shape and dtype": lambda self, x, r, s: Powers.quantize(self, x, r, s).astype(np.float16),
    "nearer neighbour": lambda self, x, r, s: Powers.quantize(self, x, "floor" if r == "nearest" else r, s),
    "unbiased": lambda self, x, r, s: Powers.quantize(self, x, "nearest" if r == "stochastic" else r, s),
    "NaN": lambda self, x, r, s: np.nan_to_num(Powers.quantize(self, x, r, s)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_finds_what_is_broken(name):
    """A format with one property broken is named, with the property and a counterexample."""

    class Broken(Powers):
        def quantize(self, x, rounding="nearest", stream=None):
            return BROKEN[name](self, np.asarray(x), rounding, stream)

    with pytest.raises(AssertionError, match=f"powers: .*{name}"):
        check(Broken())


class E4M1(FloatingPoint):
    """Six bits, from which one thing is taken away at a time."""

    def __init__(self):
        super().__init__(4, 1, specials="none")

    def __str__(self):
        return "planted"


def log2_gap(self, x):
    """Return the gap by a floating-point logarithm, which is wrong just below powers of two."""
    power = np.exp2(np.floor(np.log2(np.maximum(abs(x), x.dtype.type(1e-30)))))
    return (power.clip(2.0**-6, 2.0**8) / 2).astype(x.dtype)


def wide_gap(self, x):
    """Return a gap that is twice the right one for the last numbers below a power of two."""
    right = FloatingPoint.spacing(self, x)
    return np.where(np.frexp(x)[0] > 1 - 2.0**-20, np.minimum(2 * right, 128), right).astype(x.dtype)


def to_odd(self, x, r="nearest", s=None):
    """Round ties to the odd neighbour."""
    low, high = (FloatingPoint.quantize(self, x, m, s) for m in ("floor", "ceil"))
    y = FloatingPoint.quantize(self, x, r, s)
    return np.where((r == "nearest") & (x - low == high - x), low + high - y, y)


def biased(self, x, r="nearest", s=None):
    """Round up too often, by less than a twentieth of the gap."""
    if r != "stochastic":
        return FloatingPoint.quantize(self, x, r, s)
    low, high = (FloatingPoint.quantize(self, x, m) for m in ("floor", "ceil"))
    u = s.draw(x.size).reshape(x.shape) / 2.0**16
    share = (x - low) / np.where(high > low, high - low, 1)
    return np.where(u < share + 0.2 * share * (1 - share), high, low).astype(x.dtype)


def lost(self, x, r="nearest", s=None):
    """Round as if 3 were no number of the format."""
    y = FloatingPoint.quantize(self, x, r, s)
    return np.where(y == 3, x.dtype.type(2 if r in ("floor", "toward_zero") else 4), y)


PLANTED = {
    "gap by log2": {"spacing": log2_gap},
    "gap below powers": {"spacing": wide_gap},
    "tie": {"quantize": to_odd},
    "draw": {"quantize": biased},
    "code": {"quantize": lost},
    "code without number": {"to_codes": lambda self, y: np.where(y == 3, 4, FloatingPoint.to_codes(self, y))},
    "minimum": {"clip": lambda self, y, s: y.clip(-256, 384)},
    "stated minimum": {"min": -8.0},
}


def test_the_ground_for_planting_holds():
    """Without a planted error all properties hold."""
    check(E4M1())


@pytest.mark.parametrize("name", PLANTED)
def test_finds_what_is_planted(name):
    """Each planted error breaks a property."""
    with pytest.raises(AssertionError, match="planted: "):
        check(type("Planted", (E4M1,), PLANTED[name])())


@pytest.mark.parametrize("lowest", [-4.0, -2.0])
def test_finds_a_stated_minimum_that_is_none(lowest):
    """A format without codes that states another lowest number than it gives is found."""
    with pytest.raises(AssertionError, match=r"powers: .*min"):
        check(type("Planted", (Powers,), {"min": 2 * lowest if lowest == -4 else lowest})())
