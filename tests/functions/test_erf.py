"""The error function against the C library's, number by number."""

import math

import numpy as np
import pytest

from lpnet.functions.erf import erf

TYPES = [np.float32, np.float64]


def numbers(dtype):
    """Return numbers of both signs and all sizes, and those around the seams at 1 and at the end."""
    rng = np.random.default_rng(0)
    sizes = [rng.uniform(0, 7, 40_000), np.exp(rng.uniform(-80, 2, 40_000)), 1 + rng.uniform(-1e-3, 1e-3, 10_000)]
    x = np.concatenate([*sizes, [0, 1, 4, 6]]).astype(dtype)
    return np.concatenate([x, -x])


@pytest.mark.parametrize("dtype", TYPES)
def test_two_units_in_the_last_place(dtype):
    """No number is further than two units in the last place from math.erf of it."""
    x = numbers(dtype)
    expected = np.array([math.erf(v) for v in x.astype(np.float64)])
    unit = np.spacing(abs(expected).astype(dtype)).astype(np.float64)
    y = erf(x)
    assert y.dtype == dtype and (abs(y.astype(np.float64) - expected) / unit).max() <= 2


@pytest.mark.parametrize("dtype", TYPES)
def test_special_numbers(dtype):
    """Infinities give 1, NaN stays, zeros keep their sign, and nothing overflows (a warning would fail the test)."""
    limits = np.finfo(dtype)
    x = np.array([np.inf, -np.inf, 0.0, -0.0, np.nan, limits.max, limits.min], dtype)
    np.testing.assert_array_equal(erf(x), dtype([1, -1, 0.0, -0.0, np.nan, 1, -1]))
    np.testing.assert_array_equal(np.signbit(erf(x[2:4])), [False, True])


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 1, 3), (600, 700)])
def test_shapes(shape):
    """Every shape is kept, also where the array is cut into pieces."""
    x = np.linspace(-3, 3, math.prod(shape), dtype=np.float32).reshape(shape)
    assert erf(x).shape == shape
    np.testing.assert_array_equal(erf(x).reshape(-1), erf(x.reshape(-1).copy()))
