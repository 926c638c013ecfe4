"""Normalization: subtract a mean, divide by a standard deviation, scale and shift."""

from __future__ import annotations

from typing import Any

from ..backend import get_array_module
from ..tensor import Array, Function, Tensor


class _Norm(Function):
    # xhat = (x - mean) / sqrt(var + eps),  y = weight xhat + bias, over the axes `over`
    # gx = (weight gy - mean(weight gy) - xhat mean(weight gy xhat)) / sqrt(var + eps)
    def __init__(self, eps: float) -> None:
        self.eps = eps

    def _normalize(self, x: Array, over: tuple[int, ...], mean: Array | None = None, var: Array | None = None
                   ) -> Array:  # fmt: skip
        xp = get_array_module(x)
        self.x, self.over, self.fixed = x, over, mean is not None
        self.mean = x.mean(axis=over, keepdims=True) if mean is None else mean
        centered = x - self.mean
        self.var = xp.square(centered).mean(axis=over, keepdims=True) if var is None else var
        self.inverse = 1 / xp.sqrt(self.var + self.eps)
        centered *= self.inverse
        return centered

    def _gradient(self, g: Array, xhat: Array) -> Array:
        """Return the gradient of x, given that of xhat."""
        if not self.fixed:
            projection = (g * xhat).mean(axis=self.over, keepdims=True)
            g = g - g.mean(axis=self.over, keepdims=True)
            g -= xhat * projection
        return g * self.inverse


class BatchNorm(_Norm):
    """Normalizes each channel over the batch, or with a given mean and variance; keeps `mean`, `var` and `count`."""

    def __init__(self, eps: float, mean: Array | None = None, var: Array | None = None) -> None:
        super().__init__(eps)
        if (mean is None) != (var is None):
            raise ValueError("batch_norm: give both mean and var, or neither")
        self.given = () if mean is None else (mean, var)

    def forward(self, x: Array, weight: Array, bias: Array) -> Array:
        self._check(x, weight, bias)
        over = tuple(i for i in range(x.ndim) if i != 1)
        self.column = (-1, *[1] * (x.ndim - 2))  # (C,) -> (C, 1, 1), which broadcasts to (N, C, H, W)
        self.weight = weight.reshape(self.column)
        y = self._normalize(x, over, *(v.astype(x.dtype).reshape(self.column) for v in self.given))
        y *= self.weight
        y += bias.reshape(self.column)
        return y

    def backward(self, gy: Array) -> tuple[Array | None, Array, Array]:
        xhat = (self.x - self.mean) * self.inverse  # made again rather than kept: x is kept by whoever made it
        gx = self._gradient(gy * self.weight, xhat) if self.needs[0] else None
        return gx, (gy * xhat).sum(axis=self.over), gy.sum(axis=self.over)

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


class LayerNorm(_Norm):
    """Normalizes each sample over its last axes."""

    def forward(self, x: Array, weight: Array, bias: Array) -> Array:
        k = weight.ndim
        if k < 1 or x.shape[x.ndim - k :] != weight.shape or bias.shape != weight.shape:
            raise ValueError(f"layer_norm: weight {weight.shape} and bias {bias.shape} do not fit an input {x.shape}")
        self.weight = weight
        y = self._normalize(x, tuple(range(-k, 0)))
        return y * weight + bias

    def backward(self, gy: Array) -> tuple[Array | None, Array, Array]:
        xhat = (self.x - self.mean) * self.inverse
        gx = self._gradient(gy * self.weight, xhat) if self.needs[0] else None
        return gx, gy * xhat, gy  # the engine sums over the samples


def layer_norm(x: Any, weight: Any, bias: Any, eps: float = 1e-5) -> Tensor:
    """Return x (..., *S) normalized over its last axes, times weight (*S) plus bias (*S).

    Raises ValueError for shapes that do not fit. Source: Ba, Kiros and Hinton, 2016.
    """
    return LayerNorm(eps)(x, weight, bias)
