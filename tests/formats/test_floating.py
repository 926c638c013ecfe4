"""Floating-point formats: against ml_dtypes on float32, and against exact fractions on float64 and in all modes."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lpnet as lp
from lpnet import formats, random

from . import twin
from .cases import SCALARS
from .witness import WITNESSES, differences, stratified

FLOATING = list(dict.fromkeys(dataclasses.replace(f, saturate=True) for f in SCALARS if hasattr(f, "man")))


@pytest.mark.parametrize("name", WITNESSES)
def test_ten_million_patterns(name):
    """Rounding to nearest equals the witness's on 10 million float32 patterns from all exponents, specials included."""
    patterns = 0
    for x in stratified(seed=len(name)):
        assert differences(name, x) == 0
        patterns += x.size
    assert patterns >= 10_000_000


def equal(y, expected):
    """Return whether two floats are the same, the sign of zero included; NaN equals NaN."""
    same = y == expected and math.copysign(1, y) == math.copysign(1, expected)
    return same or (math.isnan(y) and math.isnan(expected))


def near(fmt, dtype):
    """Return numbers where something happens: around powers of two, ties and both ends, and some at random."""
    rng = np.random.default_rng(7)
    ends = [fmt.max, fmt.smallest, 2.0**fmt.emin]
    half = 2.0 ** -(fmt.man + 1)
    factors = [1, 0.5, 1.5, 0.75, 1.25, 2, 1 + half, 1 + 3 * half, 2 - half]
    with np.errstate(all="ignore"):
        some = np.outer(ends, factors).reshape(-1).astype(dtype)
        some = np.concatenate([some, np.nextafter(some, dtype(0)), np.nextafter(some, dtype(np.inf))])
        low, high = np.log2([max(fmt.smallest, 2.0**-1070) / 8, min(fmt.max, 2.0**1020) * 4])
        some = np.concatenate([some, np.exp2(rng.uniform(low, high, 60)).astype(dtype), dtype([0, np.inf])])
        tiny = np.finfo(dtype).smallest_subnormal * rng.integers(1, 2**20, 20).astype(dtype)
    some = np.concatenate([some, tiny])
    return np.concatenate([some, -some])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fmt", FLOATING, ids=str)
@pytest.mark.parametrize("saturate", [False, True])
def test_equals_the_twin_in_every_mode(fmt, dtype, saturate):
    """Every mode equals rounding in exact fractions; float64 is rounded once, not by way of float32."""
    fmt = dataclasses.replace(fmt, saturate=saturate)
    options = {name: getattr(fmt, name) for name in ("exp", "man", "bias", "specials", "subnormals")}
    x, digits = near(fmt, dtype), twin.DIGITS[np.dtype(dtype)]
    us = twin.uniforms(x.size)
    for site, mode in enumerate(twin.MODES):
        y = fmt.quantize(x, mode, random.Stream(0))
        assert y.dtype == dtype
        for xi, yi, u in zip(x.tolist(), y.tolist(), us, strict=True):
            expected = twin.floating(xi, **options, saturate=saturate, mode=mode, u=u, digits=digits)
            if float(np.finfo(dtype).max) < abs(expected) < math.inf:  # an end that the dtype does not have
                expected = math.copysign(float(np.finfo(dtype).max), expected)
            assert equal(yi, expected), (site, mode, xi, yi, expected)


@given(x=st.floats(), name=st.sampled_from(list(WITNESSES)), mode=st.sampled_from(twin.MODES[:-1]))
def test_float64_is_rounded_once(x, name, mode):
    """A float64 between two numbers of the format goes where exact arithmetic says."""
    fmt = WITNESSES[name][0]
    if math.isnan(x) and not fmt.has_nan:
        return
    y = float(fmt.quantize(np.float64(x), mode))
    expected = twin.floating(x, fmt.exp, fmt.man, fmt.bias, fmt.specials, fmt.saturate, mode=mode, digits=53)
    assert equal(y, expected)


def test_float64_just_beside_a_tie():
    """1 + 2^-4 + 2^-40 is above the tie of e4m3; by way of float32 it would be the tie itself, and go to even."""
    above = np.float64(1 + 2.0**-4 + 2.0**-40)
    assert float(formats.format("e4m3").quantize(above)) == 1.125
    assert float(np.float32(above)) == 1 + 2.0**-4


@pytest.mark.parametrize(
    ("name", "largest", "normal", "smallest"),
    [
        ("fp16", 65504, -14, -24),
        ("bf16", (2 - 2.0**-7) * 2.0**127, -126, -133),
        ("tf32", (2 - 2.0**-10) * 2.0**127, -126, -136),
        ("e5m2", 57344, -14, -16),
        ("e4m3", 448, -6, -9),
        ("e3m2", 28, -2, -4),
        ("e2m3", 7.5, 0, -3),
        ("e2m1", 6, 0, -1),
    ],
)
def test_ends(name, largest, normal, smallest):
    """The ends of the presets are those of the table in the contract."""
    fmt = formats.format(name)
    assert (fmt.max, fmt.emin, fmt.smallest) == (largest, normal, 2.0**smallest)


@pytest.mark.parametrize("name", ["fp16", "bf16", "tf32", "e5m2", "e4m3"])
def test_specials_stay(name):
    """NaN stays NaN; an infinity stays, becomes NaN where there is none, or the maximum when saturating."""
    preset = formats.format(name)
    for saturate, inf in ((True, preset.max), (False, np.nan if name == "e4m3" else np.inf)):
        fmt = formats.FloatingPoint(preset.exp, preset.man, preset.bias, saturate, preset.specials)
        y = fmt.quantize(np.float32([np.nan, np.inf, -np.inf, 0.0, -0.0]))
        np.testing.assert_array_equal(y, np.float32([np.nan, inf, -inf, 0, 0]))
        assert np.signbit(y[3:]).tolist() == [False, True]


@pytest.mark.parametrize("name", ["fp16", "e4m3"])
@pytest.mark.parametrize("mode", ["toward_zero", "floor", "ceil"])
@pytest.mark.parametrize("sign", [1, -1])
def test_modes_toward_zero_do_not_overflow(name, mode, sign):
    """IEEE 754, 7.4: a finite number beyond the maximum becomes the maximum if the mode rounds it toward zero."""
    preset = formats.format(name)
    fmt = formats.FloatingPoint(preset.exp, preset.man, specials=preset.specials, saturate=False)
    y = float(fmt.quantize(np.float32(sign * 1e6), mode))
    inward = mode == "toward_zero" or (mode == "floor") == (sign > 0)
    assert y == sign * fmt.max if inward else not math.isfinite(y)
    assert not math.isfinite(fmt.quantize(np.float32(sign * np.inf), mode))


@pytest.mark.parametrize("name", ["e3m2", "e2m3", "e2m1"])
def test_nan_into_a_format_without(name):
    """A NaN where there is none is an error that names the format and the argument."""
    with pytest.raises(ValueError, match=f"{name}: x holds NaN"):
        lp.quantize(np.float32([1, np.nan]), name)


@pytest.mark.parametrize(
    "options",
    [
        {"exp": 0, "man": 3},
        {"exp": 12, "man": 3},
        {"exp": 4, "man": -1},
        {"exp": 4, "man": 53},
        {"exp": 4.5, "man": 3},
        {"exp": 4, "man": 3, "bias": 5000},
        {"exp": 4, "man": 3, "bias": 1.5},
        {"exp": 4, "man": 3, "specials": "some"},
        {"exp": True, "man": 3},
    ],
    ids=str,
)
def test_arguments_out_of_range(options):
    """A field that makes no format is an error that names it."""
    with pytest.raises(ValueError, match=r"FloatingPoint: (exp|man|bias|specials) must be"):
        formats.FloatingPoint(**options)
