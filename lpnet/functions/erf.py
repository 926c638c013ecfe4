"""The error function of arrays, which NumPy does not have, to two units in the last place."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.polynomial import chebyshev

from ..backend import elementwise, get_array_module
from ..tensor import Array

# By the dtype's bytes: where erf is 1; how many terms of either polynomial reach the last place.
_END, _SERIES, _TAIL = {4: 4.0, 8: 6.0}, {4: 11, 8: 19}, {4: 9, 8: 20}


def erf(x: Array) -> Array:
    """Return 2/sqrt(pi) times the integral of exp(-t^2) from 0 to x, of every element of a float32 or float64 array.

    Up to 1 it is the Taylor series, from there 1 - exp(-x^2) g with a Chebyshev polynomial for g = exp(x^2) erfc(x).
    Source: Abramowitz and Stegun, 7.1.5.
    """
    return elementwise(_erf, x)


def _erf(x: Array, out: Array | None = None) -> Array:
    xp, size = get_array_module(x), x.dtype.itemsize
    series, tail, a, b = _coefficients(size)
    near, far = xp.clip(x, -1.0, 1.0), xp.clip(abs(x), 1.0, _END[size])
    small = near + near * _horner(series, near * near)
    large = 1 - xp.exp(-far * far) * _horner(tail, a / (1 + far) - b)
    return xp.copysign(xp.where(far > 1, large, small), x, out=out)


def _horner(coefficients: np.ndarray, u: Array) -> Array:
    """Return the polynomial of the coefficients, the highest first, of every element of u."""
    y = u * coefficients[0] + coefficients[1]
    for c in coefficients[2:]:
        y *= u
        y += c
    return y


@functools.cache
def _coefficients(size: int) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Return both polynomials for a dtype of `size` bytes, and the a, b with u = a / (1 + x) - b from -1 to 1."""
    series = [2 / math.sqrt(math.pi) * (-1) ** n / (math.factorial(n) * (2 * n + 1)) for n in range(_SERIES[size])]
    series[0] -= 1  # x itself is added at the end, where it is exact
    low, high = 1 / (1 + _END[size]), 1 / (1 + 1)
    a, b = 2 / (high - low), (high + low) / (high - low)
    tail = chebyshev.chebinterpolate(lambda u: _scaled_erfc(a / (u + b) - 1), _TAIL[size] - 1)
    kind = np.dtype(f"f{size}").type
    return np.array(series[::-1], kind), chebyshev.cheb2poly(tail)[::-1].astype(kind), kind(a), kind(b)


def _scaled_erfc(x: np.ndarray) -> Any:
    return np.array([math.exp(v * v) * math.erfc(v) for v in x.tolist()])
