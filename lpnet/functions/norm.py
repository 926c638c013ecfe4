"""Normalization: subtract a mean, divide by a standard deviation, scale and shift."""

from __future__ import annotations

import math
from typing import Any

from ..backend import Array, check_one_device, get_array_module
from ..distributed import shards
from ..kernels import kernel
from ..tensor import Function, Tensor, as_array
from ..validate import integer


def _normalize(x: Array, mean: Array, inverse: Array) -> Array:
    """Return xhat = (x - mean) / sqrt(var + eps); `inverse` is one over that root."""
    xhat = x - mean
    xhat *= inverse
    return xhat


def _affine(x: Any, weight: Any, bias: Any, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Return weight and bias, ones and zeros of `shape` for those that are None."""
    if weight is not None and bias is not None:
        return weight, bias
    array = as_array(x)
    xp = get_array_module(array)
    return (
        xp.ones(shape, array.dtype) if weight is None else weight,
        xp.zeros(shape, array.dtype) if bias is None else bias,
    )


def _gradient(g: Array, xhat: Array, inverse: Array, over: tuple[int, ...]) -> Array:
    """Return the gradient of x, given that of xhat: (g - mean(g) - xhat mean(g xhat)) / sqrt(var + eps)."""
    projection = (g * xhat).mean(axis=over, keepdims=True)
    g = g - g.mean(axis=over, keepdims=True)
    g -= xhat * projection
    g *= inverse
    return g


class BatchNorm(Function):
    """Normalizes each channel over the batch, or with a given mean and variance; `batch` is its mean, var and count.

    Where the batch is cut into shards, `batch` is that of all of them, and so is what normalizes, unless shards
    were told to do so by themselves.
    """

    # y = weight xhat + bias,  xhat = (x - mean) / std,  gx = weight (gy - mean(gy) - xhat mean(gy xhat)) / std
    def __init__(self, eps: float, mean: Array | None = None, var: Array | None = None) -> None:
        if (mean is None) != (var is None):
            raise ValueError("batch_norm: give both mean and var, or neither")
        self.eps = float(eps)
        self.given: tuple[Array, ...] = () if mean is None else (mean, var)

    def affine(self, x: Any, weight: Any, bias: Any) -> Tensor:
        """Return the result for a weight and a bias, either of which may be None."""
        return self(x, *_affine(x, weight, bias, as_array(x).shape[1:2]))

    def forward(self, x: Array, weight: Array, bias: Array) -> Array:
        self._check(x, weight, bias)
        xp, self.weight, self.bias = get_array_module(x), weight, bias
        self.x = x = xp.ascontiguousarray(x)
        if not x.size:
            return x
        self.mean, var = [v.astype(x.dtype) for v in self.given] or self._moments(x)
        y, self.inverse = kernel("batch_norm", xp)(x, self.mean, var, weight, bias, self.eps)
        return y

    def _moments(self, x: Array) -> tuple[Array, Array]:
        own = *kernel("moments", get_array_module(x))(x), x.size // x.shape[1]
        (mean, var, count), self.batch = shards.moments(own)
        if count < 2:
            raise ValueError(f"batch_norm: an input of shape {x.shape} has one value a channel: it has no variance")
        return mean, var

    def backward(self, gy: Array) -> tuple[Array | None, Array, Array]:
        xp, constant = get_array_module(gy), bool(self.given)
        if not gy.size:
            nothing = xp.zeros(gy.shape[1], gy.dtype)
            return gy, nothing, nothing
        backward = kernel("batch_norm_backward", xp)
        return backward(gy, self.x, self.mean, self.inverse, self.weight, constant, self.needs[0], shards.sums)

    def _check(self, x: Array, weight: Array, bias: Array) -> None:
        """Raise ValueError if the shapes do not fit or there is nothing to take a variance of."""
        check_one_device("batch_norm", x, *self.given)
        shapes = [v.shape for v in (weight, bias, *self.given)]
        if x.ndim < 2 or any(shape != x.shape[1:2] for shape in shapes):
            raise ValueError(
                f"batch_norm: input {x.shape} needs weight, bias, mean and var of shape {x.shape[1:2]}, "
                f"got {', '.join(map(str, shapes))}"
            )
        if not self.given and not x.size:
            raise ValueError(f"batch_norm: an input of shape {x.shape} has no value a channel: it has no variance")


def batch_norm(
    x: Any,
    weight: Any = None,
    bias: Any = None,
    mean: Array | None = None,
    var: Array | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Return x (N, C, ...) normalized channel by channel over the batch, times weight (C,) plus bias (C,), if given.

    With `mean` and `var` (arrays (C,)) those are used instead of the batch's. Raises ValueError for shapes that do
    not fit or one value a channel. Source: Ioffe and Szegedy, ICML 2015.
    """
    return BatchNorm(eps, mean, var).affine(x, weight, bias)


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
    """Return x `(..., *S)` normalized over its last axes, times weight `(*S)` plus bias `(*S)`.

    Raises ValueError for shapes that do not fit. Source: Ba, Kiros and Hinton, 2016.
    """
    return LayerNorm(eps)(x, weight, bias)


class GroupNorm(Function):
    """Normalizes each sample over groups of channels."""

    # y = weight xhat + bias
    def __init__(self, groups: int, eps: float) -> None:
        self.groups, self.eps = integer("group_norm", "groups", groups, 1), float(eps)

    def forward(self, x: Array, weight: Array, bias: Array) -> Array:
        if x.ndim < 2 or x.shape[1] % self.groups or not math.prod(x.shape[1:]):
            raise ValueError(f"group_norm: an input {x.shape} (N, C, ...) has no {self.groups} groups of channels")
        if weight.shape != x.shape[1:2] or bias.shape != x.shape[1:2]:
            raise ValueError(f"group_norm: weight {weight.shape} and bias {bias.shape} do not fit an input {x.shape}")
        xp, self.x, self.weight = get_array_module(x), x, weight
        rows = self._rows(x)
        self.mean = rows.mean(axis=2, keepdims=True)
        self.inverse = 1 / xp.sqrt(xp.square(rows - self.mean).mean(axis=2, keepdims=True) + self.eps)
        xhat = _normalize(rows, self.mean, self.inverse).reshape(x.shape)  # (N, G, C/G ...) -> (N, C, ...)
        return xhat * self._wide(weight) + self._wide(bias)

    def backward(self, gy: Array) -> tuple[Array | None, Array, Array]:
        rows, over = _normalize(self._rows(self.x), self.mean, self.inverse), (0, *range(2, gy.ndim))
        gx = None
        if self.needs[0]:
            gx = _gradient(self._rows(gy * self._wide(self.weight)), rows, self.inverse, (2,)).reshape(gy.shape)
        return gx, (gy * rows.reshape(gy.shape)).sum(axis=over), gy.sum(axis=over)

    def _rows(self, x: Array) -> Array:
        return x.reshape(len(x), self.groups, math.prod(x.shape[1:]) // self.groups)  # (N, C, ...) -> (N, G, C/G ...)

    def _wide(self, v: Array) -> Array:
        return v.reshape(-1, *[1] * (self.x.ndim - 2))  # (C,) -> (C, 1, ...)


def group_norm(x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    """Return x (N, C, ...), each sample normalized over each of `groups` of channels, times weight (C,) plus bias (C,).

    Raises ValueError for shapes that do not fit. Source: Wu and He, "Group normalization", ECCV 2018.
    """
    return GroupNorm(groups, eps)(x, *_affine(x, weight, bias, as_array(x).shape[1:2]))
