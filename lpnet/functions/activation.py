"""Activation functions."""

from __future__ import annotations

import math
from typing import Any

from ..backend import Array, elementwise, get_array_module, positive, select_by_bits
from ..kernels import keeps_digits
from ..tensor import Function, Tensor
from ..validate import choice, number
from .erf import erf


class ReLU(Function):
    # y = max(x, 0)
    rounds = False

    @keeps_digits
    def forward(self, x: Array) -> Array:
        xp = get_array_module(x)
        # four times as fast as maximum(x, 0)
        y = elementwise(lambda x, out=None: xp.clip(x, 0.0, math.inf, out=out), x)
        self.positive = positive(y)
        return y

    @keeps_digits
    def backward(self, gy: Array) -> Array:
        return select_by_bits(self.positive, gy)


def relu(x: Any) -> Tensor:
    """Return x where positive, 0 elsewhere; the gradient at 0 is 0."""
    return ReLU()(x)


def _sigmoid(x: Array) -> Array:
    xp = get_array_module(x)
    e = xp.exp(-abs(x))  # never overflows
    return xp.where(x < 0, e, 1) / (1 + e)


class Sigmoid(Function):
    # y = 1 / (1 + e^-x),  dy/dx = y (1 - y)
    def forward(self, x: Array) -> Array:
        self.y = _sigmoid(x)
        return self.y

    def backward(self, gy: Array) -> Array:
        return gy * self.y * (1 - self.y)


def sigmoid(x: Any) -> Tensor:
    """Return 1 / (1 + exp(-x))."""
    return Sigmoid()(x)


class Tanh(Function):
    # dy/dx = 1 - y^2
    def forward(self, x: Array) -> Array:
        self.y = get_array_module(x).tanh(x)
        return self.y

    def backward(self, gy: Array) -> Array:
        return gy * (1 - self.y * self.y)


def tanh(x: Any) -> Tensor:
    """Return the hyperbolic tangent of x."""
    return Tanh()(x)


class GELU(Function):
    # y = x F(x),  F = (1 + erf(x / sqrt 2)) / 2,  dy/dx = F + x e^(-x^2 / 2) / sqrt(2 pi)
    def forward(self, x: Array) -> Array:
        self.x, self.F = x, 0.5 * (1 + erf(x * x.dtype.type(math.sqrt(0.5))))
        return x * self.F

    def backward(self, gy: Array) -> Array:
        x, xp = self.x, get_array_module(gy)
        near = xp.clip(x, -40.0, 40.0)  # beyond, the density is 0, and x^2 may overflow
        return gy * (self.F + x * xp.exp(-0.5 * near * near) / math.sqrt(2 * math.pi))


class TanhGELU(Function):
    # y = x/2 (1 + t),  t = tanh(k (x + 0.044715 x^3)),  k = sqrt(2 / pi)
    k, cubic = math.sqrt(2 / math.pi), 0.044715

    def forward(self, x: Array) -> Array:
        self.x = x
        self.t = get_array_module(x).tanh(self.k * (x + self.cubic * x * x * x))
        return 0.5 * x * (1 + self.t)

    def backward(self, gy: Array) -> Array:
        x, t = self.x, self.t
        inner = self.k * (1 + 3 * self.cubic * x * x)
        return gy * 0.5 * (1 + t + x * (1 - t * t) * inner)


GELUS = {"none": GELU, "tanh": TanhGELU}


def gelu(x: Any, approximate: str = "none") -> Tensor:
    """Return the Gaussian error linear unit of x: x times the probability that a normal number is below x.

    approximate="tanh" takes the formula with tanh instead, off by 0.0005 at most. Raises ValueError for another word.
    Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016.
    """
    return GELUS[choice("gelu", "approximate", approximate, GELUS)]()(x)


class LeakyReLU(Function):
    # y = x where positive, slope x elsewhere
    def __init__(self, slope: float) -> None:
        self.slope = slope

    def forward(self, x: Array) -> Array:
        self.positive = x > 0
        return get_array_module(x).where(self.positive, x, self.slope * x)

    def backward(self, gy: Array) -> Array:
        return get_array_module(gy).where(self.positive, gy, self.slope * gy)


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Tensor:
    """Return x where positive, `negative_slope` times x elsewhere."""
    return LeakyReLU(number("leaky_relu", "negative_slope", negative_slope, -math.inf))(x)


class ELU(Function):
    # y = x where positive, alpha (e^x - 1) elsewhere;  dy/dx = y + alpha there
    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def forward(self, x: Array) -> Array:
        xp = get_array_module(x)
        self.positive = x > 0
        self.y = xp.where(self.positive, x, self.alpha * xp.expm1(xp.minimum(x, 0)))
        return self.y

    def backward(self, gy: Array) -> Array:
        return get_array_module(gy).where(self.positive, gy, gy * (self.y + self.alpha))


def elu(x: Any, alpha: float = 1.0) -> Tensor:
    """Return x where positive, alpha (exp(x) - 1) elsewhere. Source: Clevert et al., ICLR 2016."""
    return ELU(number("elu", "alpha", alpha))(x)


class SiLU(Function):
    # y = x s,  s = sigmoid(x),  dy/dx = s (1 + x (1 - s))
    def forward(self, x: Array) -> Array:
        self.x, self.s = x, _sigmoid(x)
        return x * self.s

    def backward(self, gy: Array) -> Array:
        return gy * self.s * (1 + self.x * (1 - self.s))


def silu(x: Any) -> Tensor:
    """Return x sigmoid(x), also called swish. Source: Hendrycks and Gimpel, 2016."""
    return SiLU()(x)


class Softplus(Function):
    # y = ln(1 + e^(beta x)) / beta,  dy/dx = sigmoid(beta x)
    def __init__(self, beta: float) -> None:
        self.beta = beta

    def forward(self, x: Array) -> Array:
        self.x = x = self.beta * x
        xp = get_array_module(x)
        return (xp.maximum(x, 0) + xp.log1p(xp.exp(-abs(x)))) / self.beta  # never overflows

    def backward(self, gy: Array) -> Array:
        return gy * _sigmoid(self.x)


def softplus(x: Any, beta: float = 1.0) -> Tensor:
    """Return ln(1 + exp(beta x)) / beta, a smooth relu. It needs no threshold: nothing overflows."""
    return Softplus(number("softplus", "beta", beta, ends="(]"))(x)


def top_of(x: Array, axis: Any) -> Array:
    """Return the largest element along `axis`, which stays, of length 1; 0 where there is none."""
    return (x.max if x.size else x.sum)(axis=axis, keepdims=True)


class Softmax(Function):
    # y = e^x / sum e^x,  gx = y (gy - sum gy y)
    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Array) -> Array:
        e = get_array_module(x).exp(x - top_of(x, self.axis))  # the shift changes nothing but overflow
        self.y = e / e.sum(axis=self.axis, keepdims=True)
        return self.y

    def backward(self, gy: Array) -> Array:
        return self.y * (gy - (gy * self.y).sum(axis=self.axis, keepdims=True))


def softmax(x: Any, axis: int = -1) -> Tensor:
    """Return exp(x) divided by its sum along `axis`."""
    return Softmax(axis)(x)


def log_softmax_array(x: Array, axis: int) -> Array:
    """Return the logarithm of the softmax of an array, without overflow."""
    xp = get_array_module(x)
    if not x.size:
        return x  # whose sums, of nothing, have no logarithm
    x = x - x.max(axis=axis, keepdims=True)
    return x - xp.log(xp.exp(x).sum(axis=axis, keepdims=True))


class LogSoftmax(Function):
    # y = x - log sum e^x,  gx = gy - softmax(x) sum gy
    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Array) -> Array:
        self.y = log_softmax_array(x, self.axis)
        return self.y

    def backward(self, gy: Array) -> Array:
        return gy - get_array_module(gy).exp(self.y) * gy.sum(axis=self.axis, keepdims=True)


def log_softmax(x: Any, axis: int = -1) -> Tensor:
    """Return the logarithm of the softmax along `axis`."""
    return LogSoftmax(axis)(x)
