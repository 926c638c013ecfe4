"""Batch normalization on the GPU: the passes over the array are kernels, no more than its definition needs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import get_array_module, launch

Array = Any  # cupy.ndarray
FILE = "norm.cu"
NULL = np.uint64(0)  # in place of an array
PART, PARTS = 64, 1 << 16  # numbers that a thread adds up, at least; threads, at most


def forward(norm: Any, x: Array, weight: Array, bias: Array) -> Array:
    """Return y of a `BatchNorm` function whose shapes have been checked; keep on it what `backward` needs."""
    xp, dtype = get_array_module(x), get_array_module(x).result_type(x, weight)
    norm.x, weight, bias = (xp.ascontiguousarray(a.astype(dtype, copy=False)) for a in (x, weight, bias))
    norm.mean, norm.var = (v.astype(dtype) for v in norm.given) if norm.given else _statistics(norm)
    norm.inverse, norm.scale, shift = (xp.empty_like(weight) for _ in range(3))
    launch(FILE, "forward_factors", weight.size, dtype, norm.mean, norm.var, weight, bias, norm.inverse, norm.scale,
           shift, np.int64(weight.size), dtype.type(norm.eps))  # fmt: skip
    return _affine(norm, norm.x, NULL, NULL, shift)


def backward(norm: Any, gy: Array) -> tuple[Array | None, Array, Array]:
    """Return the gradients of x, weight and bias, given that of y."""
    xp, dtype = get_array_module(gy), norm.x.dtype
    gy = xp.ascontiguousarray(gy.astype(dtype, copy=False))
    gbias, products = _sums(norm, gy, norm.mean)
    slope, shift = xp.empty_like(gbias), xp.empty_like(gbias)
    launch(FILE, "backward_factors", gbias.size, dtype, norm.mean, norm.inverse, norm.scale, gbias, products, slope,
           shift, np.int64(gbias.size), dtype.type(norm.count))  # fmt: skip
    if not norm.needs[0]:
        return None, products, gbias
    # With a given mean and variance x moves neither.
    towards = (NULL, NULL, NULL) if norm.given else (norm.x, slope, shift)
    return _affine(norm, gy, *towards), products, gbias


def _statistics(norm: Any) -> tuple[Array, Array]:
    """Return the mean and variance of each channel, (C,)."""
    mean = _sums(norm, NULL, NULL)[0] / norm.count
    return mean, _sums(norm, NULL, mean)[1] / norm.count


def _sums(norm: Any, g: Array, mean: Array) -> Array:
    """Return sums over each channel, (2, C): of g, or x - mean where that is NULL, and of the same times x - mean."""
    (N, C), size, xp = norm.x.shape[:2], math.prod(norm.x.shape[2:]), get_array_module(norm.x)
    parts = max(1, min(N * size // PART, PARTS // C))
    y = xp.empty((2, C, parts), norm.x.dtype)
    launch(FILE, "channel_sums", C * parts, norm.x.dtype, g, norm.x, mean, y, *map(np.int64, (N, C, size, parts)))
    return y.sum(axis=2)


def _affine(norm: Any, a: Array, b: Array, slope: Array, shift: Array) -> Array:
    """Return a scale + b slope + shift, channel by channel."""
    y = get_array_module(a).empty(a.shape, a.dtype)
    sizes = a.size, a.shape[1], math.prod(a.shape[2:])
    launch(FILE, "affine", a.size, a.dtype, a, norm.scale, b, slope, shift, y, *map(np.int64, sizes))
    return y
