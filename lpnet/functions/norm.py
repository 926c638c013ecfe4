"""Normalization: subtract a mean, divide by a standard deviation, scale and shift."""

from __future__ import annotations

from typing import Any

from ..backend import get_array_module, parallel
from ..tensor import Array, Function, Tensor

_PIECE = 1 << 18  # numbers whose channels are normalized at a time: they stay in the processor's cache


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

    # y = weight xhat + bias, channel by channel; some channels at a time
    def __init__(self, eps: float, mean: Array | None = None, var: Array | None = None) -> None:
        if (mean is None) != (var is None):
            raise ValueError("batch_norm: give both mean and var, or neither")
        self.eps, self.given = eps, () if mean is None else (mean, var)

    def forward(self, x: Array, weight: Array, bias: Array) -> Array:
        self._check(x, weight, bias)
        xp, column = get_array_module(x), (1, -1, *[1] * (x.ndim - 2))  # (C,) -> (1, C, 1, 1)
        self.x, self.weight, bias = x, weight.reshape(column), bias.reshape(column)
        self.over = tuple(i for i in range(x.ndim) if i != 1)
        self.mean, self.var = self._statistics(x, column)
        self.inverse = 1 / xp.sqrt(self.var + self.eps)
        y = xp.empty(x.shape, dtype=xp.result_type(x, weight))

        def normalize(c: tuple[Any, ...]) -> None:
            y[c] = _normalize(x[c], self.mean[c], self.inverse[c])
            y[c] *= self.weight[c]
            y[c] += bias[c]

        parallel(normalize, self._channels())
        return y

    def backward(self, gy: Array) -> tuple[Array | None, Array, Array]:
        xp = get_array_module(gy)
        gx = xp.empty_like(self.x) if self.needs[0] else None
        gweight, gbias = xp.empty_like(self.mean, dtype=gy.dtype), xp.empty_like(self.mean, dtype=gy.dtype)

        def differentiate(c: tuple[Any, ...]) -> None:
            # xhat is made again rather than kept: x is kept by whoever made it
            g, xhat = gy[c], _normalize(self.x[c], self.mean[c], self.inverse[c])
            gweight[c] = (g * xhat).sum(axis=self.over, keepdims=True)
            gbias[c] = g.sum(axis=self.over, keepdims=True)
            if gx is not None:
                g = g * self.weight[c]
                gx[c] = g * self.inverse[c] if self.given else _gradient(g, xhat, self.inverse[c], self.over)

        parallel(differentiate, self._channels())
        return gx, gweight.reshape(-1), gbias.reshape(-1)

    def _statistics(self, x: Array, column: tuple[int, ...]) -> tuple[Array, Array]:
        """Return mean and variance, each (1, C, 1, 1)."""
        if self.given:
            return tuple(v.astype(x.dtype).reshape(column) for v in self.given)
        xp = get_array_module(x)
        mean = xp.empty([n if i == 1 else 1 for i, n in enumerate(x.shape)], dtype=x.dtype)
        var = xp.empty_like(mean)

        def measure(c: tuple[Any, ...]) -> None:
            mean[c] = x[c].mean(axis=self.over, keepdims=True)
            var[c] = xp.square(x[c] - mean[c]).mean(axis=self.over, keepdims=True)

        parallel(measure, self._channels())
        return mean, var

    def _channels(self) -> list[tuple[Any, ...]]:
        """Return the indices of some channels at a time."""
        step = max(1, _PIECE // max(1, self.count))
        return [(slice(None), slice(i, i + step)) for i in range(0, self.x.shape[1], step)]

    def _check(self, x: Array, weight: Array, bias: Array) -> None:
        """Raise ValueError if the shapes do not fit or there is nothing to take a variance of; count the values."""
        shapes = [v.shape for v in (weight, bias, *self.given)]
        if x.ndim < 2 or any(shape != x.shape[1:2] for shape in shapes):
            raise ValueError(f"batch_norm: input {x.shape} needs weight, bias, mean and var of shape {x.shape[1:2]}, "
                             f"got {', '.join(map(str, shapes))}")  # fmt: skip
        self.count = x.size // max(1, x.shape[1])
        if not self.given and self.count < 2:
            raise ValueError(f"batch_norm: an input of shape {x.shape} has one value a channel: it has no variance")


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
        self.eps = eps

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
