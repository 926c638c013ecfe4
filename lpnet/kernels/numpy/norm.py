"""Batch normalization of some samples at a time. Twin: kernels/twin.py.

An array (N, C, ...) is worked on as rows (n, C S), with each channel's number repeated S times: NumPy is twice as fast
on long rows alike.
"""

from __future__ import annotations

import numpy as np

from ...backend import Array, empty, parallel, slices
from ...distributed.shards import Total, own_sums


def moments(x: Array) -> tuple[Array, Array]:
    """Return the mean and variance of each channel of x (N, C, ...), (C,), from those of some samples at a time.

    Source: Chan, Golub and LeVeque, "Updating formulae ... for computing sample variances", 1979.
    """
    values = x[0, 0].size  # a channel and sample

    def part(samples: slice) -> tuple[Array, Array, int]:
        rows = _rows(x, samples)
        mean = _sum(rows, values) / (len(rows) * values)
        centred = _less(rows, mean.repeat(values))
        return mean, _dot(centred, centred, values), len(rows) * values

    parts, count = parallel(part, _slices(x)), len(x) * values
    mean = sum(part * n for part, _, n in parts) / count
    return mean, sum(squares + n * (part - mean) ** 2 for part, squares, n in parts) / count


def batch_norm(x: Array, mean: Array, var: Array, weight: Array, bias: Array, eps: float) -> tuple[Array, Array]:
    """Return y = weight (x - mean) inverse + bias and inverse = 1 / sqrt(var + eps), channel by channel."""
    y, inverse, values = empty(x.shape, np.result_type(x, weight)), 1 / np.sqrt(var + eps), x[0, 0].size
    scale = weight * inverse
    scales, shifts = scale.repeat(values), (bias - mean * scale).repeat(values)

    def normalize(samples: slice) -> None:
        rows = _rows(y, samples)
        np.multiply(_rows(x, samples), scales, out=rows)
        rows += shifts

    parallel(normalize, _slices(x))
    return y, inverse


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
    gy, values = np.ascontiguousarray(gy), x[0, 0].size
    means = mean.repeat(values)

    def sums(samples: slice) -> tuple[Array, Array]:
        g = _rows(gy, samples)
        return _sum(g, values), _dot(g, _less(_rows(x, samples), means), values)

    gbias, gweight = (sum(parts) for parts in zip(*parallel(sums, _slices(x)), strict=True))
    gweight *= inverse
    if not needs_x:
        return None, gweight, gbias
    # gx = weight / std (g - mean(g) - xhat mean(g xhat)); with a given mean and variance only the first term
    gx, scale, own = empty(x.shape, gy.dtype), weight * inverse, np.stack([gbias, gweight])
    (g, gxhat), count = (own, 1) if constant else total(own, len(x) * values)
    slope = -scale * gxhat * inverse / count
    scales, slopes = scale.repeat(values), slope.repeat(values)
    shifts = (-scale * g / count - slope * mean).repeat(values)

    def differentiate(samples: slice) -> None:
        rows = _rows(gx, samples)
        np.multiply(_rows(gy, samples), scales, out=rows)
        if not constant:
            towards = np.multiply(_rows(x, samples), slopes, out=empty(rows.shape, rows.dtype))
            towards += shifts
            rows += towards

    parallel(differentiate, _slices(x))
    return gx, gweight, gbias


def _slices(x: Array) -> list[slice]:
    return slices(len(x), x[:1].size, 1 << 19)  # fewer take less time than what fits the cache would


def _rows(x: Array, samples: slice) -> Array:
    return x[samples].reshape(-1, x[0].size)  # (n, C, ...) -> (n, C S)


def _less(rows: Array, values: Array) -> Array:
    return np.subtract(rows, values, out=empty(rows.shape, rows.dtype))


def _sum(rows: Array, values: int) -> Array:
    # (n, C S) -> (n C, S) -> (n, C) -> (C,); BLAS adds twice as fast as a sum over two axes
    channels = rows.reshape(-1, values)
    return (channels @ np.ones(values, rows.dtype)).reshape(len(rows), -1).sum(axis=0)


def _dot(a: Array, b: Array, values: int) -> Array:
    shape = len(a), -1, values  # (n, C S) -> (n, C, S)
    return np.einsum("ncs,ncs->c", a.reshape(shape), b.reshape(shape))
