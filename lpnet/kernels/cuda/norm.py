"""Batch normalization on the GPU: no more passes over the array than its definition needs."""

from __future__ import annotations

import math

from ...backend import Array, get_array_module
from ...distributed.shards import Total, own_sums
from .launch import launch

FILE = "norm.cu"
PART, PARTS = 16, 1 << 18  # numbers that a thread adds up, at least; threads, at most


def moments(x: Array) -> tuple[Array, Array]:
    """Return the mean and variance of each channel of x (N, C, ...), (C,)."""
    x, count = get_array_module(x).ascontiguousarray(x), x.size // x.shape[1]
    mean = _sums(x)[0] / count
    return mean, _sums(x, mean=mean)[1] / count


def batch_norm(x: Array, mean: Array, var: Array, weight: Array, bias: Array, eps: float) -> tuple[Array, Array]:
    """Return y = weight (x - mean) inverse + bias and inverse = 1 / sqrt(var + eps), channel by channel."""
    x, mean, var, weight, bias = _alike(x, mean, var, weight, bias)
    inverse, scale, shift = (get_array_module(x).empty_like(weight) for _ in range(3))
    launch(
        FILE,
        "forward_factors",
        weight.size,
        x.dtype,
        mean=mean,
        var=var,
        weight=weight,
        bias=bias,
        inverse=inverse,
        scale=scale,
        shift=shift,
        channels=weight.size,
        eps=eps,
    )
    return _affine(x, scale, shift), inverse


def batch_norm_backward(
    gy: Array,
    x: Array,
    mean: Array,
    inverse: Array,
    weight: Array,
    constant: bool,
    needs_x: bool,
    total: Total = own_sums,
) -> tuple[Array | None, Array, Array]:
    """Return the gradients of x, if it needs one, weight and bias; `constant`: the mean and variance were given.

    total: what makes sums over these samples, (2, C), and their number those of all that were normalized together.
    """
    gy, x, mean, inverse, weight = _alike(gy, x, mean, inverse, weight)
    sums, count = _sums(x, g=gy, mean=mean), x.size // weight.size
    whole, count = (sums, count) if constant or not needs_x else total(sums, count)
    scale, slope, shift = (get_array_module(x).empty_like(weight) for _ in range(3))
    launch(
        FILE,
        "backward_factors",
        weight.size,
        x.dtype,
        mean=mean,
        inverse=inverse,
        weight=weight,
        sums=whole[0],
        products=whole[1],
        scale=scale,
        slope=slope,
        shift=shift,
        channels=weight.size,
        count=count,
    )
    gbias, gweight = sums if whole is sums else (sums[0], sums[1] * inverse)  # the kernel has multiplied whole[1]
    if not needs_x:
        return None, gweight, gbias
    return _affine(gy, scale) if constant else _affine(gy, scale, shift, b=x, slope=slope), gweight, gbias


def _alike(*arrays: Array) -> list[Array]:
    """Return the arrays contiguous, in the dtype that holds all."""
    xp = get_array_module(arrays[0])
    dtype = xp.result_type(*arrays)
    return [xp.ascontiguousarray(a.astype(dtype, copy=False)) for a in arrays]


def _sums(x: Array, g: Array | None = None, mean: Array | None = None) -> Array:
    """Return sums over each channel, (2, C): of g, or x - mean where that is None, and of the same times x - mean."""
    (N, C), size, xp = x.shape[:2], math.prod(x.shape[2:]), get_array_module(x)
    parts = max(1, min(N * size // PART, PARTS // C))
    y = xp.empty((2, C, parts), x.dtype)
    launch(
        FILE,
        "channel_sums",
        C * parts,
        x.dtype,
        g=g,
        x=x,
        mean=mean,
        y=y,
        samples=N,
        channels=C,
        size=size,
        parts=parts,
    )
    return y.sum(axis=2)


def _affine(
    a: Array, scale: Array, shift: Array | None = None, b: Array | None = None, slope: Array | None = None
) -> Array:
    """Return a scale + b slope + shift, channel by channel."""
    y = get_array_module(a).empty(a.shape, a.dtype)
    launch(
        FILE,
        "affine",
        a.size,
        a.dtype,
        a=a,
        scale=scale,
        b=b,
        slope=slope,
        shift=shift,
        y=y,
        n=a.size,
        channels=a.shape[1],
        size=math.prod(a.shape[2:]),
    )
    return y
