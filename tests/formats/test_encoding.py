"""Codes against the bits that ml_dtypes stores, round trips of drawn arrays, and arrays that are none of ours."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lpnet import formats
from lpnet.formats import BlockFloatingPoint, Exponent, FloatingPoint
from lpnet.formats.codes import unpack

from .cases import FORMATS

FLOATS = {
    np.float32: st.floats(width=32) | st.floats(-4, 4, width=32),
    np.float64: st.floats() | st.floats(-4, 4),
}


@pytest.mark.parametrize("dtype", FLOATS)
@settings(max_examples=40)
@given(data=st.data())
def test_decoded_codes_are_the_rounded_numbers(dtype, data):
    """`encode(x).decode()` is `quantize(x)` to the bit, or a number has no code and the error says so: every format."""
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=9)
    x = data.draw(hnp.arrays(dtype, shapes, elements=FLOATS[dtype]))
    for fmt in FORMATS:  # drawing takes longer than encoding
        if not (np.isnan(x).any() and isinstance(fmt, FloatingPoint) and not fmt.has_nan):
            decodes_to_the_rounded(fmt, x)


def decodes_to_the_rounded(fmt, x):
    """Raise AssertionError unless x comes back as it is rounded, or has a number without a code."""
    y = fmt.quantize(x)
    try:
        decoded = fmt.encode(x).decode()
    except ValueError as error:
        beyond = not fmt.saturate and ((y < fmt.min) | (y > fmt.max))
        assert "no code" in str(error) and (~np.isfinite(y) | beyond).any(), str(fmt)
        return
    assert (decoded.dtype, decoded.shape) == (y.dtype, y.shape), str(fmt)
    np.testing.assert_array_equal(decoded, y, str(fmt))
    assert (np.signbit(decoded) == np.signbit(y))[~np.isnan(y)].all(), str(fmt)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("e4m3", ml_dtypes.float8_e4m3fn),
        ("e5m2", ml_dtypes.float8_e5m2),
        ("fp16", np.float16),
        ("bf16", ml_dtypes.bfloat16),
        ("fp32", np.float32),
        ("e3m2", ml_dtypes.float6_e3m2fn),
        ("e2m3", ml_dtypes.float6_e2m3fn),
        ("e2m1", ml_dtypes.float4_e2m1fn),
    ],
)
def test_codes_are_those_of_the_standard(name, dtype):
    """Codes equal the bits that ml_dtypes and NumPy store."""
    fmt, rng = formats.format(name), np.random.default_rng(2)
    x = rng.standard_normal(4000) * 2.0 ** rng.uniform(-12, 1, 4000)
    x = np.append(x, [0.0, -0.0, fmt.max, -fmt.max, fmt.smallest]).astype(np.float32)
    stored = x.astype(dtype).view(f"u{np.dtype(dtype).itemsize}")
    np.testing.assert_array_equal(unpack(fmt.encode(x).codes, fmt.bits, x.size), stored)


def test_scales_of_powers_of_two_are_e8m0():
    """Every code of E8M0 stands for what ml_dtypes says, and every number has that code."""
    codes = np.arange(256, dtype=np.uint8)
    values = codes.view(ml_dtypes.float8_e8m0fnu).astype(np.float64)
    np.testing.assert_array_equal(Exponent(8).from_codes(codes.astype(np.uint64), np.dtype(np.float64)), values)
    np.testing.assert_array_equal(Exponent(8).to_codes(values), codes)


@pytest.mark.parametrize("name", ["mxfp8_e4m3", "mxfp4_e2m1", "mxint8"])
def test_a_block_of_nan_has_the_scale_ff(name):
    """OCP MX 1.0, 5.1: the scale's NaN makes the whole block NaN, whatever its elements."""
    encoded = formats.format(name).encode(np.float32([[1, np.nan], [1, 2]]))
    assert encoded.scales[0] == 0xFF != encoded.scales[1]


def test_nan_in_block_floating_point_is_the_free_integer():
    """Where the lowest integer is left out, its code is NaN."""
    encoded = BlockFloatingPoint(8).encode(np.float32([1, np.nan]))
    assert encoded.codes.view(np.int8).tolist() == [-128, -128]


@pytest.mark.parametrize(
    "x",
    [
        np.arange(3),
        np.ones(2, complex),
        np.array([1.0, None]),
        np.ones(2, np.float16),
        "text",
        [1, 2],
        True,
        np.array(["a"]),
        np.ones(2, ">f4"),
        np.ones(2, bool),
    ],
    ids=repr,
)
@pytest.mark.parametrize("name", ["e4m3", "fixed8.6", "bfp8", "mxint8"])
def test_arrays_of_other_types(name, x):
    """Anything but float32 and float64 is a TypeError that names the format and the type."""
    for call in (formats.format(name).quantize, formats.format(name).encode):
        with pytest.raises(TypeError, match=f"{name}: x must be float32 or float64, got"):
            call(x)
