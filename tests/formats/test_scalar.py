"""Scalar formats: every code, every midpoint, every mode, against tables and a twin in exact fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest

import lpnet as lp
from lpnet.formats import FixedPoint, FloatingPoint
from lpnet.rounding import MODES, Stochastic

from . import twin
from .cases import SCALARS

# Those whose codes are so few that every one is tried, and whose numbers are float32's
SMALL = [
    fmt
    for fmt in SCALARS
    if fmt.bits <= 16
    and (fmt.saturate or isinstance(fmt, FloatingPoint))
    and fmt.max < 2.0**128
    and fmt.smallest >= 2.0**-149
]


def table(fmt):
    """Return every finite number of a scalar format, from low to high, and whether its integer n is even."""
    if isinstance(fmt, FixedPoint):
        n = np.arange(-(2 ** (fmt.wl - 1)) + fmt.symmetric, 2 ** (fmt.wl - 1))
        return n * 2.0**-fmt.fl, n % 2 == 0
    spec = fmt.exp, fmt.man, fmt.bias, fmt.specials, fmt.subnormals
    values = np.array([twin.decode(c, *spec) for c in range(2 ** (fmt.exp + fmt.man))])
    values = np.unique(values[np.isfinite(values)])
    # the integer n of a number in units of its binade's gap; that of a power of two is even unless there is no mantissa
    gap = np.array([2.0 ** (max(twin.floor_log2(Fraction(v)), 1 - fmt.bias) - fmt.man) if v else 1.0 for v in values])
    even = (values / gap) % 2 == 0
    return np.concatenate([-values[:0:-1], values]), np.concatenate([even[:0:-1], even])


def between(x, low, high, even_low, mode):
    """Return what x, low < x < high in neighbouring numbers, rounds to."""
    middle = low + (high - low) / 2
    nearer = np.where(x < middle, low, high)
    tie = x == middle
    even_low = even_low & (high != 0)  # 0 is even, and beside it the gap is the smallest number: an odd one
    return {
        "nearest": np.where(tie, np.where(even_low, low, high), nearer),
        "nearest_away": np.where(tie, np.where(x < 0, low, high), nearer),
        "nearest_up": np.where(tie, high, nearer),
        "toward_zero": np.where(x < 0, high, low),
        "floor": low,
        "ceil": high,
    }[mode]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fmt", SMALL, ids=str)
def test_every_midpoint_in_every_mode(fmt, dtype):
    """A midpoint goes where the tie rule sends it, the floats beside it to their side; numbers of the format stay."""
    values, even = table(fmt)
    low, high, even_low = values[:-1], values[1:], even[:-1]
    middle = (low + (high - low) / 2).astype(dtype)
    for x in (middle, np.nextafter(middle, dtype("-inf")), np.nextafter(middle, dtype("inf"))):
        inside = (low < x) & (x < high)
        assert inside.all()
        for mode in MODES:
            y = fmt.quantize(x, mode)
            if mode == "stochastic":
                assert ((y == low) | (y == high)).all()
            else:
                # man=0: ties between two powers of two go up, to n = 2; nothing else is special
                expected = between(x.astype(np.float64), low, high, even_low, mode)
                if mode == "nearest" and getattr(fmt, "man", 1) == 0:
                    tie = (x == middle) & (abs(np.minimum(abs(low), abs(high))) > 0)
                    expected = np.where(tie, np.where(x < 0, low, high), expected)
                np.testing.assert_array_equal(y, expected, err_msg=mode)
    for mode in MODES:
        y = fmt.quantize(values.astype(dtype), mode)
        assert y.dtype == dtype
        np.testing.assert_array_equal(y, values, err_msg=mode)


@pytest.mark.parametrize("fmt", SMALL, ids=str)
def test_every_code_decodes_and_encodes(fmt):
    """Codes mean what the definition says, and every number has its own code, that of minus zero included."""
    codes = np.arange(2**fmt.bits, dtype=np.uint64)
    y = fmt.from_codes(codes, np.dtype(np.float64))
    if isinstance(fmt, FixedPoint):
        expected = [(c - 2**fmt.wl * (c >> (fmt.wl - 1))) * 2.0**-fmt.fl for c in range(2**fmt.wl)]
        expected = [math.nan if fmt.symmetric and v < fmt.min else v for v in expected]
    else:
        spec = fmt.exp, fmt.man, fmt.bias, fmt.specials, fmt.subnormals
        expected = [twin.decode(c, *spec) for c in range(2**fmt.bits)]
    np.testing.assert_array_equal(y, expected)
    finite = ~np.isnan(y)
    np.testing.assert_array_equal(np.signbit(y[finite]), np.signbit(np.array(expected)[finite]))
    used = finite & ((np.arange(len(y)) % 2 ** (fmt.bits - 1) == 0) | (y != 0))  # without subnormals, several are 0
    np.testing.assert_array_equal(fmt.to_codes(y[used]), codes[used])
    if fmt.has_nan:
        assert np.isnan(fmt.from_codes(fmt.to_codes(np.array([np.nan, -np.nan])), np.dtype(np.float32))).all()
    y = y[finite & (np.isfinite(y) | (not getattr(fmt, "saturate", False)))].astype(np.float32)
    assert fmt.encode(y).decode().tobytes() == y.tobytes()


SPECIAL = [0.0, -0.0, math.inf, -math.inf, 5e-324, -5e-324, 2.0**-149, 2.0**-1022, 1.7976931348623157e308, -1e300]


def drawn(fmt, dtype, count):
    """Return floats of the dtype over and beyond the format's range, many of them near ties of its numbers."""
    rng = np.random.default_rng(len(str(fmt)))
    low, high = math.log2(fmt.smallest) - 4, math.log2(fmt.max or 1) + 3
    x = rng.choice([-1.0, 1.0], count) * 2 ** rng.uniform(max(low, -1070), min(high, 1023), count)
    half = fmt.quantize(x, "toward_zero") + 0.5 * fmt.spacing(x)
    x = np.where(rng.random(count) < 0.5, x, half * (1 + rng.choice([0, 2.0**-52, -(2.0**-53), 2.0**-30], count)))
    with np.errstate(over="ignore"):
        return np.concatenate([x, SPECIAL]).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fmt", SCALARS, ids=str)
def test_agrees_with_the_twin(fmt, dtype):
    """Every mode gives what exact fractions give, from float64 without a trip through float32."""
    x, digits = drawn(fmt, dtype, 120), twin.DIGITS[np.dtype(dtype)]
    for mode, bits in [(mode, 16) for mode in MODES] + [("stochastic", 5)]:
        u = np.array(twin.uniforms(x.size, 7, bits=bits), float)
        y = fmt.quantize(x, mode if bits == 16 else Stochastic(bits), lp.random.Stream(7))
        assert y.dtype == dtype
        for v, r, one in zip(x.tolist(), u.tolist(), y.tolist(), strict=True):
            if isinstance(fmt, FixedPoint):
                expected = twin.fixed(v, fmt.wl, fmt.fl, fmt.symmetric, fmt.saturate, mode, r, digits)
            else:
                spec = fmt.exp, fmt.man, fmt.bias, fmt.specials, fmt.saturate, fmt.subnormals
                expected = twin.floating(v, *spec, mode, r, digits)
            same = one == expected and math.copysign(1, one) == math.copysign(1, expected)
            assert same or (math.isnan(one) and math.isnan(expected)), (mode, v, one, expected)


def test_overflow_is_judged_after_rounding():
    """Half a gap above the maximum is where infinity begins; modes that round inwards never reach it."""
    fp16, last, first = lp.format("fp16"), np.float32(65519.996), np.float32(65520)
    assert fp16.quantize(last) == 65504 and fp16.quantize(first) == np.inf
    x = np.array([1e30, -1e30, np.inf, -np.inf], np.float32)
    for mode, expected in {
        "toward_zero": [65504, -65504, np.inf, -np.inf],
        "floor": [65504, -np.inf, np.inf, -np.inf],
        "ceil": [np.inf, -65504, np.inf, -np.inf],
        "nearest": [np.inf, -np.inf, np.inf, -np.inf],
        "stochastic": [np.inf, -np.inf, np.inf, -np.inf],
    }.items():
        np.testing.assert_array_equal(fp16.quantize(x, mode), expected, err_msg=mode)


def test_stochastic_bits():
    """A mode may be a Stochastic with fewer bits; a midpoint then still goes both ways."""
    y = lp.quantize(np.full(1000, 0.375, np.float32), "fixed4.2", Stochastic(bits=1))
    assert set(y.tolist()) == {0.25, 0.5}
