"""Matrix products."""

from __future__ import annotations

import math
from typing import Any

from ..backend import Array
from ..tensor import Tensor
from ._product import Product


class MatMul(Product):
    # Y = A B,  gA = gY B^T,  gB = A^T gY, for the last two axes
    def forward(self, a: Array, b: Array) -> Array:
        if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-min(2, b.ndim)]:
            raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not fit")
        made = self.operand("x", a, -1), self.operand("W", b, -min(2, b.ndim))
        self.a, self.b = self.kept(a, b, made)
        return self.matmul(*made)

    def backward(self, gy: Array) -> tuple[Array | None, Array | None]:
        # A vector is a matrix of one row on the left, of one column on the right, and loses that axis in the result.
        a = self.a[None, :] if self.a.ndim == 1 else self.a
        b = self.b[:, None] if self.b.ndim == 1 else self.b
        gy = gy[..., None] if self.b.ndim == 1 else gy
        gy = gy[..., None, :] if self.a.ndim == 1 else gy
        ga = self._gradient_of_a(gy, b) if self.needs[0] else None
        gb = self._gradient_of_b(gy, a) if self.needs[1] else None
        if ga is not None:
            ga = self.back("x", ga[..., 0, :] if self.a.ndim == 1 else ga, -1)  # (..., 1, K) -> (..., K)
        if gb is not None:
            gb = self.back("W", gb[..., 0] if self.b.ndim == 1 else gb, -min(2, self.b.ndim))  # (..., K, 1) -> (..., K)
        return ga, gb

    def _gradient_of_a(self, gy: Array, b: Array) -> Array:
        errors, W = self.operand("gy_input", gy, -1), self.operand("W_input", b, -1)
        return self.matmul(errors, W.swapaxes(-1, -2))

    def _gradient_of_b(self, gy: Array, a: Array) -> Array:
        errors, x = self.operand("gy_weight", gy, -2), self.operand("x_weight", a, -2)
        return self.matmul(x.swapaxes(-1, -2), errors)


def matmul(a: Any, b: Any) -> Tensor:
    """Return the matrix product of a (..., M, K) and b (..., K, N); one-dimensional operands as in NumPy."""
    return MatMul()(a, b)


class Linear(Product):
    # Y = X W^T + b,  gX = gY W,  gW = gY^T X,  gb = sum of gY over samples
    def forward(self, x: Array, W: Array, *b: Array) -> Array:
        if x.ndim < 1 or W.ndim != 2 or x.shape[-1] != W.shape[1]:
            raise ValueError(f"linear: input of shape {x.shape} does not fit a weight of shape {W.shape} (out, in)")
        if b and b[0].shape != W.shape[:1]:
            raise ValueError(f"linear: bias of shape {b[0].shape} does not fit a weight of shape {W.shape} (out, in)")
        made = self.operand("x", _rows(x), -1).reshape(x.shape), self.operand("W", W, -1)
        self.x, self.W = self.kept(x, W, made)
        y = self.matmul(made[0], made[1].T)
        if b:
            y += b[0]
        return y

    def backward(self, gy: Array) -> tuple[Array | None, ...]:
        gx = self._gradient_of_x(gy) if self.needs[0] else None
        gW = self._gradient_of_W(gy) if self.needs[1] else None
        return (gx, gW, _rows(gy).sum(axis=0))[: len(self.needs)]

    def _gradient_of_x(self, gy: Array) -> Array:
        errors = self.operand("gy_input", _rows(gy), -1).reshape(gy.shape)
        gx = self.matmul(errors, self.operand("W_input", self.W, 0))
        return self.back("x", _rows(gx), -1).reshape(gx.shape)

    def _gradient_of_W(self, gy: Array) -> Array:
        errors, x = self.operand("gy_weight", _rows(gy), 0), self.operand("x_weight", _rows(self.x), 0)
        return self.back("W", self.matmul(errors.T, x), -1)


def _rows(x: Array) -> Array:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])  # (..., features) -> (N, features), of no features, too


def linear(x: Any, W: Any, b: Any = None) -> Tensor:
    """Return x W^T + b for x (..., in), W (out, in) and b (out,); raises ValueError for shapes that do not fit."""
    return Linear()(x, W) if b is None else Linear()(x, W, b)
