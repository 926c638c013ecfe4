"""Matrix products."""

from __future__ import annotations

from typing import Any

from ..backend import Array, get_array_module
from ..kernels import kernel
from ..tensor import Function, Tensor


def product(a: Array, b: Array) -> Array:
    """Return a @ b."""
    return kernel("matmul", get_array_module(a))(a, b)


class MatMul(Function):
    # Y = A B,  gA = gY B^T,  gB = A^T gY, for the last two axes
    def forward(self, a: Array, b: Array) -> Array:
        if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-min(2, b.ndim)]:
            raise ValueError(f"matmul: shapes {a.shape} and {b.shape} do not fit")
        self.a, self.b = a, b
        return product(a, b)

    def backward(self, gy: Array) -> tuple[Array | None, Array | None]:
        # A vector is a matrix of one row on the left, of one column on the right, and loses that axis in the result.
        a = self.a[None, :] if self.a.ndim == 1 else self.a
        b = self.b[:, None] if self.b.ndim == 1 else self.b
        gy = gy[..., None] if self.b.ndim == 1 else gy
        gy = gy[..., None, :] if self.a.ndim == 1 else gy
        ga = product(gy, b.swapaxes(-1, -2)) if self.needs[0] else None
        gb = product(a.swapaxes(-1, -2), gy) if self.needs[1] else None
        if ga is not None and self.a.ndim == 1:
            ga = ga[..., 0, :]  # (..., 1, K) -> (..., K)
        if gb is not None and self.b.ndim == 1:
            gb = gb[..., 0]  # (..., K, 1) -> (..., K)
        return ga, gb


def matmul(a: Any, b: Any) -> Tensor:
    """Return the matrix product of a (..., M, K) and b (..., K, N); one-dimensional operands as in NumPy."""
    return MatMul()(a, b)


class Linear(Function):
    # Y = X W^T + b,  gX = gY W,  gW = gY^T X,  gb = sum of gY over samples
    def forward(self, x: Array, W: Array, *b: Array) -> Array:
        if x.ndim < 1 or W.ndim != 2 or x.shape[-1] != W.shape[1]:
            raise ValueError(f"linear: input of shape {x.shape} does not fit a weight of shape {W.shape} (out, in)")
        if b and b[0].shape != W.shape[:1]:
            raise ValueError(f"linear: bias of shape {b[0].shape} does not fit a weight of shape {W.shape} (out, in)")
        self.x, self.W = x, W
        y = product(x, W.T)
        if b:
            y += b[0]
        return y

    def backward(self, gy: Array) -> tuple[Array | None, ...]:
        gy2 = gy.reshape(-1, gy.shape[-1])  # (..., out) -> (N, out)
        gx = product(gy, self.W) if self.needs[0] else None
        gW = product(gy2.T, self.x.reshape(-1, self.x.shape[-1])) if self.needs[1] else None
        return (gx, gW, gy2.sum(axis=0))[: len(self.needs)]


def linear(x: Any, W: Any, b: Any = None) -> Tensor:
    """Return x W^T + b for x (..., in), W (out, in) and b (out,); raises ValueError for shapes that do not fit."""
    return Linear()(x, W) if b is None else Linear()(x, W, b)
