"""Normalization: subtract a mean, divide by a standard deviation, scale and shift."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import check_one_device, empty, get_array_module, parallel, slices
from ..tensor import Array, Function, Tensor
from . import norm_cuda


def _normalize(x: Array, mean: Array, inverse: Array) -> Array:
    """Return xhat = (x - mean) / sqrt(var + eps); `inverse` is one over that root."""
    xhat = x - mean
    xhat *= inverse
    return xhat


def _gradient(g: Array, xhat: Array, inverse: Array, over: tuple[int, ...]) -> Array:
    """Return the gradient of x, given that of xhat: (g - mean(g) - xhat mean(g xhat)) / sqrt(var + eps)."""
    projection = (g * xhat).mean(axis=over, keepdims=True)
    g = g - g.mean(axis=over, keepdims=True)
    g -= xhat * projection
    g *= inverse
    return g


class BatchNorm(Function):
    """Normalizes each channel over the batch, or with a given mean and variance; keeps `mean`, `var` and `count`."""

    # y = weight xhat + bias, channel by channel. An array (N, C, ...) is worked on as rows (n, C S) of some samples
    # at a time, with each channel's numbers repeated S times: numpy is twice as fast on long rows alike.
    def __init__(self, eps: float, mean: Array | None = None, var: Array | None = None) -> None:
        if (mean is None) != (var is None):
            raise ValueError("batch_norm: give both mean and var, or neither")
        self.eps, self.given = float(eps), () if mean is None else (mean, var)

    def forward(self, x: Array, weight: Array, bias: Array) -> Array:
        self._check(x, weight, bias)
        if not x.size:
            self.x = x
            return x
        if get_array_module(x) is not np:
            return norm_cuda.forward(self, x, weight, bias)
        xp = get_array_module(x)
        self.x, self.weight = xp.ascontiguousarray(x), weight
        self.mean, self.var = (v.astype(x.dtype) for v in self.given) if self.given else self._statistics()
        self.inverse = 1 / xp.sqrt(self.var + self.eps)
        y = empty(x.shape, xp.result_type(x, weight), xp)
        scale = weight * self.inverse
        scales, shifts = self._wide(scale), self._wide(bias - self.mean * scale)

        def normalize(samples: slice) -> None:
            rows = self._rows(y, samples)
            xp.multiply(self._rows(self.x, samples), scales, out=rows)
            rows += shifts

        parallel(normalize, self._slices())
        return y

    def backward(self, gy: Array) -> tuple[Array | None, Array, Array]:
        if not gy.size:
            nothing = get_array_module(gy).zeros(gy.shape[1], gy.dtype)
            return gy, nothing, nothing
        if get_array_module(gy) is not np:
            return norm_cuda.backward(self, gy)
        xp, gy = get_array_module(gy), get_array_module(gy).ascontiguousarray(gy)
        means = self._wide(self.mean)

        def sums(samples: slice) -> tuple[Array, Array]:
            g = self._rows(gy, samples)
            return self._sum(g), self._dot(g, self._less(self._rows(self.x, samples), means))

        gbias, gweight = (sum(parts) for parts in zip(*parallel(sums, self._slices()), strict=True))
        gweight *= self.inverse
        if not self.needs[0]:
            return None, gweight, gbias
        # gx = weight / std (g - mean(g) - xhat mean(g xhat)); with a given mean and variance only the first term
        gx, scale = empty(self.x.shape, gy.dtype, xp), self.weight * self.inverse
        slope = -scale * gweight * self.inverse / self.count
        scales, slopes = self._wide(scale), self._wide(slope)
        shifts = self._wide(-scale * gbias / self.count - slope * self.mean)

        def differentiate(samples: slice) -> None:
            rows = self._rows(gx, samples)
            xp.multiply(self._rows(gy, samples), scales, out=rows)
            if not self.given:
                towards = xp.multiply(self._rows(self.x, samples), slopes, out=empty(rows.shape, rows.dtype, xp))
                towards += shifts
                rows += towards

        parallel(differentiate, self._slices())
        return gx, gweight, gbias

    def _statistics(self) -> tuple[Array, Array]:
        """Return the mean and variance of each channel, (C,), from those of some samples at a time.

        Source: Chan, Golub and LeVeque, "Updating formulae ... for computing sample variances", 1979.
        """
        values = self.x[0, 0].size  # a channel and sample

        def moments(samples: slice) -> tuple[Array, Array, int]:
            rows = self._rows(self.x, samples)
            mean = self._sum(rows) / (len(rows) * values)
            centred = self._less(rows, self._wide(mean))
            return mean, self._dot(centred, centred), len(rows) * values

        parts = parallel(moments, self._slices())
        mean = sum(part * n for part, _, n in parts) / self.count
        return mean, sum(squares + n * (part - mean) ** 2 for part, squares, n in parts) / self.count

    def _slices(self) -> list[slice]:
        return slices(len(self.x), self.x[:1].size, 1 << 19)  # fewer take less time than what fits the cache would

    def _rows(self, array: Array, samples: slice) -> Array:
        return array[samples].reshape(-1, array[0].size)  # (n, C, ...) -> (n, C S)

    def _less(self, rows: Array, values: Array) -> Array:
        xp = get_array_module(rows)
        return xp.subtract(rows, values, out=empty(rows.shape, rows.dtype, xp))

    def _wide(self, values: Array) -> Array:
        return values.repeat(self.x[0, 0].size)  # (C,) -> (C S,)

    def _sum(self, rows: Array) -> Array:
        # (n, C S) -> (n C, S) -> (n, C) -> (C,); BLAS adds twice as fast as a sum over two axes
        channels = rows.reshape(-1, self.x[0, 0].size)
        ones = get_array_module(rows).ones(channels.shape[1], dtype=rows.dtype)
        return (channels @ ones).reshape(len(rows), -1).sum(axis=0)

    def _dot(self, a: Array, b: Array) -> Array:
        shape = len(a), -1, self.x[0, 0].size  # (n, C S) -> (n, C, S)
        return get_array_module(a).einsum("ncs,ncs->c", a.reshape(shape), b.reshape(shape))

    def _check(self, x: Array, weight: Array, bias: Array) -> None:
        """Raise ValueError if the shapes do not fit or there is nothing to take a variance of; count the values."""
        check_one_device("batch_norm", x, *self.given)
        shapes = [v.shape for v in (weight, bias, *self.given)]
        if x.ndim < 2 or any(shape != x.shape[1:2] for shape in shapes):
            raise ValueError(f"batch_norm: input {x.shape} needs weight, bias, mean and var of shape {x.shape[1:2]}, "
                             f"got {', '.join(map(str, shapes))}")  # fmt: skip
        self.count = x.size // max(1, x.shape[1])
        if not self.given and self.count < 2:
            n = "one" if self.count else "no"
            raise ValueError(f"batch_norm: an input of shape {x.shape} has {n} value a channel: it has no variance")


def batch_norm(x: Any, weight: Any, bias: Any, mean: Array | None = None, var: Array | None = None, eps: float = 1e-5
               ) -> Tensor:  # fmt: skip
    """Return x (N, C, ...) normalized channel by channel over the batch, times weight (C,) plus bias (C,).

    With `mean` and `var` (arrays (C,)) those are used instead of the batch's. Raises ValueError for shapes that do
    not fit or one value a channel. Source: Ioffe and Szegedy, ICML 2015.
    """
    return BatchNorm(eps, mean, var)(x, weight, bias)


class LayerNorm(Function):
    """Normalizes each sample over its last axes."""

    # y = weight xhat + bias
    def __init__(self, eps: float) -> None:
        self.eps = float(eps)  # NumPy's float64 would make float64 of float32

    def forward(self, x: Array, weight: Array, bias: Array) -> Array:
        k = weight.ndim
        if k < 1 or x.shape[x.ndim - k :] != weight.shape or bias.shape != weight.shape:
            raise ValueError(f"layer_norm: weight {weight.shape} and bias {bias.shape} do not fit an input {x.shape}")
        xp, self.x, self.weight, self.over = get_array_module(x), x, weight, tuple(range(-k, 0))
        self.mean = x.mean(axis=self.over, keepdims=True)
        var = xp.square(x - self.mean).mean(axis=self.over, keepdims=True)
        self.inverse = 1 / xp.sqrt(var + self.eps)
        return _normalize(x, self.mean, self.inverse) * weight + bias

    def backward(self, gy: Array) -> tuple[Array | None, Array, Array]:
        xhat = _normalize(self.x, self.mean, self.inverse)
        gx = _gradient(gy * self.weight, xhat, self.inverse, self.over) if self.needs[0] else None
        return gx, gy * xhat, gy  # the engine sums over the samples


def layer_norm(x: Any, weight: Any, bias: Any, eps: float = 1e-5) -> Tensor:
    """Return x (..., *S) normalized over its last axes, times weight (*S) plus bias (*S).

    Raises ValueError for shapes that do not fit. Source: Ba, Kiros and Hinton, 2016.
    """
    return LayerNorm(eps)(x, weight, bias)
