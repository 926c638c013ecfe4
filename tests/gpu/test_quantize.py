"""Rounding by the kernels, built for the host, gives the bits of the formats themselves."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import random
from lpnet.backend import get_array_module
from lpnet.random import Stream
from lpnet.rounding import MODES

from ..formats.cases import FORMATS

SHAPES = [(5,), (37, 3), (2, 5, 33), (3, 4, 5, 2), (1, 1000), (3, 700)]


def numbers(shape, dtype, seed=0):
    """Return numbers of many magnitudes, with ties, zeros of both signs and subnormals among them."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape) * np.exp(rng.uniform(-12, 12, shape))
    x = np.where(rng.random(shape) < 0.2, np.rint(x * 8) / 16, x).astype(dtype)
    special = np.array([0.0, -0.0, 1e-42, -3e-45, 0.5, -1.5, np.finfo(dtype).max / 3, -1e38], dtype)
    place = rng.random(shape) < 0.1
    x[place] = rng.choice(special, place.sum())
    return x


def same(got, expected):
    """Compare every bit, but for those inside a NaN."""
    assert got.dtype == expected.dtype and got.shape == expected.shape
    bits = f"u{got.dtype.itemsize}"
    equal = (got.view(bits) == expected.view(bits)) | (np.isnan(got) & np.isnan(expected))
    assert equal.all(), f"{got[~equal][:3]} in place of {expected[~equal][:3]}, {(~equal).sum()} in all"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_kernels_give_the_bits_of_the_formats(cupy, fmt, dtype):
    """Every format, rounding mode, shape and dtype: the same bits and the same random numbers, and nothing waits."""
    for shape in SHAPES[1:] if fmt.axis == 1 else SHAPES:
        x = numbers(shape, dtype)
        device = cupy.asarray(x)
        for rounding in (*MODES, lp.Stochastic(3)):
            stream, other = Stream(3), Stream(3)
            expected = fmt.rule(x, rounding, stream)
            with cupy.no_waiting():
                got = lp.quantize(device, fmt, rounding, other)
            assert isinstance(got, cupy.ndarray) and stream.state_dict() == other.state_dict()
            same(got.get(), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_the_ends_of_the_range(cupy, fmt, dtype):
    """Blocks of the largest and of the smallest numbers of the dtype, where gaps leave its range."""
    limits = np.finfo(dtype)
    low, high = float(np.log2(limits.smallest_subnormal)), float(np.log2(limits.max))
    rng = np.random.default_rng(0)
    tops = np.array([high - 1e-3, high - 1, low + 24, low + 9, low + 1])[:, None]
    sizes = np.maximum(tops - 12 * rng.random((5, 64)) ** 3, low)
    x = (rng.choice([-1, 1], (5, 64)) * np.exp2(sizes)).astype(dtype)
    x[:2, :5] = -(2.0**127 if dtype == np.float32 else 2.0**1023)
    for rounding in MODES:
        expected = fmt.rule(x, rounding, Stream(1))
        same(lp.quantize(cupy.asarray(x), fmt, rounding, Stream(1)).get(), expected)


@pytest.mark.parametrize("fmt", [f for f in FORMATS if f.has_nan or isinstance(f, lp.BlockFloatingPoint)], ids=str)
def test_infinities_and_nan(cupy, fmt):
    """Infinities and NaN become what the format makes of them."""
    x = numbers((6, 64), np.float32)
    x[0, 3], x[1, 2], x[1, 60], x[4, 4] = np.inf, np.nan, -np.inf, -np.nan
    for rounding in MODES:
        got = lp.quantize(cupy.asarray(x), fmt, rounding, Stream(1))
        same(got.get(), fmt.rule(x, rounding, Stream(1)))


@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (1,), (0, 4)])
@pytest.mark.parametrize("name", ["bfp8", "bfp8:16", "e4m3", "fixed8.6", "nvfp4", "mxint8"])
def test_small_shapes(cupy, name, shape):
    """Arrays of one number or none are rounded as on the CPU, and take as many sites."""
    if shape == () and name in ("bfp8:16", "nvfp4", "mxint8"):
        pytest.skip("these formats need an axis")
    x, stream, other = np.full(shape, 1.3, np.float32), Stream(2), Stream(2)
    got = lp.quantize(cupy.asarray(x), name, "stochastic", stream)
    same(got.get(), lp.quantize(x, name, "stochastic", other))
    assert stream.site == other.site


def test_views_are_rounded_as_their_copies(cupy):
    """Memory order and alignment change no number."""
    x = numbers((50, 40), np.float32)
    device = cupy.asarray(x)
    for ours, theirs in ((device.T, x.T), (device[:, ::3], x[:, ::3]), (device[1:], x[1:]), (device[:, 1:], x[:, 1:])):
        for name in ("bfp8", "e4m3", "bfp8:16"):
            got = lp.quantize(ours, name, "stochastic", Stream(1))
            same(got.get(), lp.format(name).rule(np.ascontiguousarray(theirs), "stochastic", Stream(1)))
    flat, host_flat = device.reshape(-1)[3:], x.reshape(-1)[3:]
    same(lp.quantize(flat, "e4m3", "nearest").get(), lp.quantize(host_flat, "e4m3", "nearest"))


def test_many_blocks_of_threads(cupy):
    """An array for which a thread takes several groups is rounded as any other."""
    x = numbers((700, 431), np.float32)
    for name in ("bfp8", "bfp8:tensor", "nvfp4"):
        same(
            lp.quantize(cupy.asarray(x), name, "stochastic", Stream(1)).get(),
            lp.format(name).rule(x, "stochastic", Stream(1)),
        )


@pytest.mark.parametrize("n", [0, 1, 16, 17, 100])
@pytest.mark.parametrize(("width", "lanes"), [(16, "<u2"), (8, "u1")])
def test_random_bits(cupy, n, width, lanes):
    """The device draws NumPy's Philox bits, from the midst of a block too."""
    stream = Stream(2**63 + 5)
    for site in range(2):
        words = np.random.Philox(key=np.uint64([2**63 + 5, 0]), counter=[0, site, 0, 0]).random_raw(100).astype("<u8")
        for start in (0, 7, 32, 45):
            window = random.Window(stream.seed, site, start)
            expected = words.view(lanes)[start : start + n]
            np.testing.assert_array_equal(random.draw(window, n, cupy, width).get(), expected)
        np.testing.assert_array_equal(random.draw(stream, n, cupy, width).get(), words.view(lanes)[:n])


@pytest.mark.parametrize("bits", [1, 5, 8])
def test_up_to_eight_bits_are_of_a_byte(cupy, bits):
    """Element i goes up by byte i of NumPy's Philox: two threads share a block of them."""
    words = np.random.Philox(key=[5, 0], counter=[0, 0, 0, 0]).random_raw(100).astype("<u8")
    x = np.random.default_rng(0).uniform(0, 60, 777).astype(np.float32)
    u = (words.view("u1")[: x.size] // 2 ** (8 - bits) + 0.5) / 2**bits
    got = lp.quantize(cupy.asarray(x), "fixed8.0", lp.Stochastic(bits), Stream(5)).get()
    np.testing.assert_array_equal(got, np.floor(x) + (u < x - np.floor(x)))


class Highest(Stream):
    """A stream whose numbers are all the highest."""

    def draw(self, n):
        return np.full(n, 0xFFFF, np.uint16)


@pytest.mark.parametrize("rounding", ["stochastic", lp.Stochastic(4)], ids=str)
def test_windows_and_streams_of_ones_own(cupy, rounding):
    """A window draws from its place on, and a user's stream what it says, as on the CPU."""
    x = numbers((3, 700), np.float32)
    for name in ("bfp8", "e4m3", "fixed8.6"):
        for stream in (random.Window(3, 5, 7), random.Window(3, 5, 32), Highest()):
            expected = lp.format(name).rule(x, rounding, stream)
            same(lp.quantize(cupy.asarray(x), name, rounding, stream).get(), expected)


def test_a_format_of_ones_own(cupy):
    """A format without a kernel is rounded by its own rule, with the same random bits."""

    class Odd(lp.Format):
        """Multiples of 1/3."""

        def spacing(self, x):
            return x.dtype.type(0.25)

        def clip(self, y, s):
            return y

    x = numbers((40, 3), np.float32)
    same(lp.quantize(cupy.asarray(x), Odd(), "stochastic", Stream(1)).get(), Odd().rule(x, "stochastic", Stream(1)))


def test_a_users_mode_is_rounded_by_its_function(cupy, monkeypatch):
    """The kernels know the modes of lpnet; one that a user registers later is none of theirs."""
    monkeypatch.setitem(MODES, "to_even_hundreds", lambda n, stream=None: get_array_module(n).rint(n / 100) * 100)
    x = np.arange(-300, 300, 7, dtype=np.float32)
    got = lp.quantize(cupy.asarray(x), lp.FixedPoint(12, 0), "to_even_hundreds")
    np.testing.assert_array_equal(got.get(), np.rint(x / 100) * 100)
