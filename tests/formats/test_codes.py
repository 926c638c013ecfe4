"""Codes: packed without gaps, and decoded to exactly the rounded numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lpnet import formats
from lpnet.formats import BlockFloatingPoint, Exponent, FixedPoint
from lpnet.formats.codes import pack, unpack

from .cases import FORMATS


@given(st.integers(1, 64), st.lists(st.integers(0, 2**64 - 1), max_size=40))
def test_packing_is_lossless_and_tight(width, values):
    """Codes of any width come back, from the bytes they need; the first takes the lowest bits."""
    codes = np.array([v % 2**width for v in values], np.uint64)
    packed = pack(codes, width)
    assert packed.nbytes == math.ceil(width * len(values) / 8)
    assert int.from_bytes(packed.tobytes(), "little") == sum(int(c) << (width * i) for i, c in enumerate(codes))
    np.testing.assert_array_equal(unpack(packed, width, len(values)), codes)


def numbers(shape, dtype, seed=0):
    """Return numbers over forty binades, zeros of both signs among them."""
    rng = np.random.default_rng(seed)
    x = np.asarray(rng.standard_normal(shape) * 2.0 ** rng.integers(-20, 20, shape)).astype(dtype)
    x[rng.random(shape) < 0.1] = 0.0
    x[rng.random(shape) < 0.1] = -0.0
    return x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fmt", [f for f in FORMATS if f != FixedPoint(8, 4, saturate=False)], ids=str)  # see the next
def test_decode_gives_what_quantize_gives(fmt, dtype):
    """To the bit, in shape and dtype: ragged, empty, 0-d and non-contiguous arrays, zeros, tiny and huge numbers."""
    wide = numbers((6, 70), dtype)
    limits = np.finfo(dtype)
    ends = np.full((2, 40), limits.smallest_subnormal), np.full((2, 40), limits.max)
    views = wide, wide[:, ::2], wide.T, wide[:0], wide[:, :0]
    for x in (*views, numbers((3, 4, 33), dtype), numbers((7, 2), dtype) * 0, *ends):
        code, y = fmt.encode(x), fmt.quantize(x)
        back = code.decode()
        assert (back.dtype, back.shape) == (y.dtype, x.shape)
        assert back.tobytes() == y.tobytes()
        assert code.codes.nbytes == math.ceil(fmt.bits * x.size / 8)
        assert code.nbytes == code.codes.nbytes + code.scales.nbytes


@pytest.mark.parametrize(
    ("name", "codes", "scales"),
    [
        ("e2m1", 512, 0),
        ("e2m3", 768, 0),
        ("e4m3", 1024, 0),
        ("fp16", 2048, 0),
        ("bfp8", 1024, 16),
        ("bfp4:16", 512, 64),
        ("mxfp8_e4m3", 1024, 32),
        ("mxfp6_e2m3", 768, 32),
        ("mxfp4_e2m1", 512, 32),
        ("nvfp4", 512, 64 + 4),
        ("nvfp4:16x16", 512, 4 + 4),
        ("e4m3:128", 1024, 16 * 4),
        ("posit8.2", 1024, 0),
        ("nf4:64", 512, 16 * 4),
    ],
)
def test_storage(name, codes, scales):
    """1024 numbers take the bytes that their codes and scales need."""
    code = formats.format(name).encode(numbers((16, 64), np.float32))
    assert (code.codes.nbytes, code.scales.nbytes) == (codes, scales)
    assert repr(code) == f"Encoded({name}, shape=(16, 64), {codes + scales} bytes)"


def test_codes_of_known_numbers():
    """MX codes by hand: 6 and -1 in e2m1 with scale 1 (E8M0 127), first code in the low half of the byte."""
    code = formats.format("mxfp4_e2m1").encode(np.float32([6, -1]))
    assert code.codes.tolist() == [0b1010_0111] and code.scales.tolist() == [127]
    code = BlockFloatingPoint(8).encode(np.float32([[1, -1.5], [0, 2**-3]]))
    assert code.codes.view(np.int8).tolist() == [64, -96, 0, 64] and code.scales.tolist()[::1] == [128, 125]


@pytest.mark.parametrize(
    "name", ["bfp8", "bfp4:16", "mxfp8_e4m3", "mxfp4_e2m1", "mxint8", "nvfp4", "nvfp4:4/6", "e4m3:16", "posit8.1:16"]
)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_block_of_nan_has_a_code(name, bad):
    """NaN or infinity makes its block NaN, rounded and decoded, and no other block."""
    x = numbers((4, 64), np.float32)
    x[1, 5] = bad
    fmt = formats.format(name)
    y, back = fmt.quantize(x), fmt.encode(x).decode()
    np.testing.assert_array_equal(back, y)
    assert np.isnan(y[1, :16]).all() and not np.isnan(y[[0, 2, 3]]).any()


def test_numbers_without_a_code():
    """What has no code is an error that names the format."""
    with pytest.raises(ValueError, match=r"fixed8\.6: x holds NaN"):
        formats.format("fixed8.6").encode(np.float32([np.nan]))
    with pytest.raises(ValueError, match="x holds numbers beyond"):
        FixedPoint(8, 6, saturate=False).encode(np.float32([100]))
    with pytest.raises(ValueError, match="x holds NaN"):
        BlockFloatingPoint(8, symmetric=False).encode(np.float32([np.nan]))
    with pytest.raises(ValueError, match="infinity, which has no code"):
        formats.format("e4m3").to_codes(np.float32([np.inf]))
    assert np.isnan(Exponent(8).from_codes(np.uint64([255]), np.dtype("f4")))


def test_a_format_without_codes():
    """A user's format need not have codes; encoding it says what is missing."""

    class Halves(formats.Format):
        def spacing(self, x):
            return x.dtype.type(0.5)

        def clip(self, y, s):
            return y

    assert Halves().quantize(np.float32([0.7])).tolist() == [0.5]
    with pytest.raises(NotImplementedError, match="cannot be encoded: Halves defines no to_codes"):
        Halves().encode(np.float32([0.7]))
