"""The property checker: it passes every format of lpnet and a user's own, and finds what is planted."""

import numpy as np
import pytest

from lpnet import formats
from lpnet.formats import BlockFloatingPoint, BlockScaled, Exponent, FixedPoint, FloatingPoint, Format
from lpnet.formats.check import check

FORMATS = [
    *formats.names(), "bfp8", "bfp4:16", "bfp8:tensor", "fixed8.6", "e3m4", "e9m5", "e5m0",
    BlockFloatingPoint(8, axis=1), BlockFloatingPoint(8, symmetric=False), BlockFloatingPoint(4, block=5, exp=4),
    FixedPoint(8, 4, saturate=False), FixedPoint(8, 4, symmetric=True), FixedPoint(1, 0),
    FloatingPoint(5, 2, saturate=False), FloatingPoint(4, 3, specials="nan", saturate=False),
    FloatingPoint(4, 3, subnormals=False), BlockScaled(FixedPoint(4, 2), Exponent(4, False), 7, axis=0),
]  # fmt: skip


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
    assert report.startswith(f"{formats.format(fmt)}: all properties hold")
    assert len(report.splitlines()) == 9 and max(map(len, report.splitlines()[1:])) <= 80


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
