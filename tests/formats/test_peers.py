"""QPyTorch's and SWALP's quantizers are options of these formats: their formulas, written from their sources."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import random
from lpnet.formats import BlockFloatingPoint, FixedPoint, FloatingPoint

from . import twin


def numbers(seed, shape=(64, 96), spread=12):
    """Return float32 numbers of 20 bits, so that the peers' sums and products are exact; many are ties."""
    rng = np.random.default_rng(seed)
    n = rng.integers(-(2**20), 2**20, shape) >> rng.integers(0, 20, shape) << rng.integers(0, 4, shape)
    return np.ldexp(n.astype(np.float32), rng.integers(-spread, spread, (shape[0], 1)) - 20)


def bits_of(x):
    return np.asarray(x, np.float32).view(np.uint32)


def float_of(bits):
    return bits.astype(np.uint32).view(np.float32)


def keep(bits, man):
    """QPyTorch's round_bitwise, nearest: add half of the last kept place to the magnitude, cut the rest off."""
    return (bits + np.uint32(1 << (22 - man))) & ~np.uint32((1 << (23 - man)) - 1)


def limit(bits, exponent, man):
    """Return the largest number of that biased exponent and `man` mantissa bits where the exponent is beyond it."""
    top = (np.uint32(exponent) << 23) | np.uint32(((1 << man) - 1) << (23 - man))
    return np.where((bits >> 23 & 255) > exponent, (bits & np.uint32(1 << 31)) | top, bits)


def qpytorch_block(x, wl, largest):
    """quant_cpu.cpp, block_quantize_helper: add 6 times the power of two of the maximum, round there, take it off."""
    exponent = bits_of(largest) >> 23 & 255
    base = float_of(exponent << 23) * np.float32(6)
    y = float_of(keep(bits_of(x + base), wl)) - base
    return float_of(limit(bits_of(y), exponent, wl - 2)) + np.float32(0)


def qpytorch_float(x, exp, man):
    """float_kernel.cu: below the smallest normal number, round after adding it; no code for infinity or NaN."""
    smallest = np.copysign(np.float32(2.0 ** (2 - 2 ** (exp - 1))), x)
    low = float_of(keep(bits_of(x + smallest), man)) - smallest
    high = float_of(limit(keep(bits_of(x), man), 2 ** (exp - 1) + 127, man))
    return np.where(abs(x) < abs(smallest), low, high)


def qpytorch_fixed(x, wl, fl, symmetric, rounded):
    """sim_helper: scale by 2^fl, round, scale back, clamp."""
    top = 2.0 ** (wl - fl - 1) - 2.0**-fl
    return np.clip(np.ldexp(rounded(np.ldexp(x, fl)), -fl), -top if symmetric else -(2.0 ** (wl - fl - 1)), top)


def swalp_block(x, wl, largest, rounded):
    """models/quantizer.py, block_quantize: i = x 2^(-E + bits - 2), round, clamp to [-2^(bits-1), 2^(bits-1) - 1]."""
    e = np.clip(np.floor(np.log2(largest, dtype=np.float64)), -128, 127)
    i = np.clip(rounded(x * 2.0 ** (wl - 2 - e)), -(2 ** (wl - 1)), 2 ** (wl - 1) - 1)
    return (i * 2.0 ** (e - (wl - 2))).astype(np.float32) + np.float32(0)


@pytest.mark.parametrize("wl", [2, 4, 8, 12])
def test_qpytorch_block(wl):
    """Its block quantizer is BFP, symmetric, nearest_up: one exponent for all, or one for each index of an axis."""
    x = numbers(wl)
    rows = abs(x).max(axis=1, keepdims=True)
    assert_same(BlockFloatingPoint(wl).quantize(x, "nearest_up"), qpytorch_block(x, wl, rows))
    x = numbers(wl, spread=1)  # rows of one scale, so that sums are exact in blocks across rows, too
    whole, columns = abs(x).max(), abs(x).max(axis=0, keepdims=True)
    assert_same(BlockFloatingPoint(wl, None).quantize(x, "nearest_up"), qpytorch_block(x, wl, whole))
    assert_same(BlockFloatingPoint(wl, 1).quantize(x, "nearest_up"), qpytorch_block(x, wl, columns))


@pytest.mark.parametrize(("exp", "man"), [(2, 3), (3, 2), (4, 3), (5, 2), (5, 10), (6, 9)])
def test_qpytorch_float(exp, man):
    """Its float is nearest_away, without infinity and NaN: the largest number is (2 - 2^-man) 2^(2^(exp-1))."""
    x = np.concatenate([numbers(exp + man, spread=2 ** (exp - 1) + 3), [[0.0, -0.0] * 48]]).astype(np.float32)
    smallest = 2.0 ** (2 - 2 ** (exp - 1))
    x = np.where(x % np.float32(smallest * 2.0**-23) == 0, x, np.float32(0.75))  # else its own sum rounds first
    fmt = FloatingPoint(exp, man, specials="none")
    assert fmt.max == (2 - 2.0**-man) * 2.0**2 ** (exp - 1)
    np.testing.assert_array_equal(fmt.quantize(x, "nearest_away"), qpytorch_float(x, exp, man))


@pytest.mark.parametrize(("wl", "fl", "symmetric"), [(8, 6, False), (8, 6, True), (4, 2, False), (12, 12, True)])
def test_qpytorch_fixed(wl, fl, symmetric):
    """Its fixed point is nearest where it rounds with nearbyint, nearest_up where it takes floor(x + 1/2)."""
    x, fmt = numbers(wl, spread=4), FixedPoint(wl, fl, symmetric)
    for mode, rounded in (("nearest", np.rint), ("nearest_up", lambda n: np.floor(n.astype(np.float64) + 0.5))):
        np.testing.assert_array_equal(fmt.quantize(x, mode), qpytorch_fixed(x, wl, fl, symmetric, rounded))


@pytest.mark.parametrize("wl", [2, 4, 8, 16])
def test_swalp_block(wl):
    """Its code is BFP with the lowest integer, to nearest or stochastic: up where a random number reaches 1 - f."""
    x = numbers(wl)
    small, big = BlockFloatingPoint(wl, symmetric=False), BlockFloatingPoint(wl, None, symmetric=False)
    rows, whole = abs(x).max(axis=1, keepdims=True), abs(x).max()
    assert_same(small.quantize(x), swalp_block(x, wl, rows, np.rint))
    assert_same(big.quantize(x), swalp_block(x, wl, whole, np.rint))
    r = 1 - np.array(twin.uniforms(x.size, seed=5), np.float64).reshape(x.shape)
    y = small.quantize(x, "stochastic", random.Stream(5))
    assert_same(y, swalp_block(x, wl, rows, lambda i: np.floor(i + r)))


def assert_same(y, expected):
    """Compare bit for bit."""
    assert y.dtype == expected.dtype == np.float32
    np.testing.assert_array_equal(y.view(np.uint32), expected.view(np.uint32))


def test_the_default_is_none_of_them():
    """Ties to even, symmetric, is what lpnet does unless told otherwise: the peers differ from it and each other."""
    x = np.float32([0.5, 1.5, -0.5, -127.8, 64])
    plain = lp.quantize(x, "bfp8")
    assert (plain != BlockFloatingPoint(8).quantize(x, "nearest_up")).any()
    assert (plain != BlockFloatingPoint(8, symmetric=False).quantize(x)).any()
