"""Matrix products on the GPU: on its tensor cores where they lose nothing, as CuPy has them elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backend import Array, cublas, get_array_module
from .digits import known_digits

DIGITS = 11  # of a TF32 number: that many survive in an operand, all of a product, float32's own in a sum


def matmul(a: Array, b: Array) -> Array:
    """Return a @ b of CuPy arrays.

    Operands known to have at most 11 significant binary digits (rounded to 12 bits or fewer) are multiplied in TF32,
    which is then exact but for the order of the sums, and for numbers below 2^-126.
    """
    few = all(digits is not None and digits <= DIGITS for digits in (known_digits(a), known_digits(b)))
    exact = few and a.dtype == b.dtype == np.float32
    if exact and a.ndim == b.ndim and a.ndim in (2, 3) and a.size and b.size and (binding := cublas()) is not None:
        return TensorCores(binding, get_array_module(a))(a, b)
    return get_array_module(a).matmul(a, b)


class TensorCores:
    """cuBLAS, by CuPy's undocumented binding of it, multiplying float32 arrays in TF32: all that knows about either."""

    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)  # read by cuBLAS while the call runs
    FLOAT, TF32, ANY = 0, 77, -1  # CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_GEMM_DEFAULT

    def __init__(self, binding: Any, xp: Any) -> None:
        self.binding, self.xp = binding, xp

    def __call__(self, a: Array, b: Array) -> Array:
        """Return a @ b for a (M, K) and b (K, N), or for stacks of them, one of which may have but one matrix."""
        (*batch, m, k), n = a.shape, b.shape[-1]
        if batch:
            batch = [max(a.shape[0], b.shape[0])]
        y = self.xp.empty((*batch, m, n), np.float32)
        # cuBLAS counts along columns: to it row-major arrays are transposed, and y' = b' a'.
        (a, a_order, a_rows), (b, b_order, b_rows) = self._lying(a), self._lying(b)
        handle, one, zero = self.xp.cuda.get_cublas_handle(), self.one.ctypes.data, self.zero.ctypes.data
        start = handle, b_order, a_order, n, m, k, one
        if not batch:
            self.binding.gemmEx(
                *start,
                b.data.ptr,
                self.FLOAT,
                b_rows,
                a.data.ptr,
                self.FLOAT,
                a_rows,
                zero,
                y.data.ptr,
                self.FLOAT,
                n,
                self.TF32,
                self.ANY,
            )
        else:
            self.binding.gemmStridedBatchedEx(
                *start,
                b.data.ptr,
                self.FLOAT,
                b_rows,
                self._apart(b),
                a.data.ptr,
                self.FLOAT,
                a_rows,
                self._apart(a),
                zero,
                y.data.ptr,
                self.FLOAT,
                n,
                m * n,
                batch[0],
                self.TF32,
                self.ANY,
            )
        return y

    def _lying(self, x: Array) -> tuple[Array, int, int]:
        """Return x, copied if need be, whether its matrices are transposed, and how far apart their rows are."""
        rows, columns = (stride // x.itemsize for stride in x.strides[-2:])
        if columns == 1 and rows >= x.shape[-1]:
            return x, 0, rows
        if rows == 1 and columns >= x.shape[-2]:
            return x, 1, columns
        return self.xp.ascontiguousarray(x), 0, x.shape[-1]

    @staticmethod
    def _apart(x: Array) -> int:
        return x.strides[0] // x.itemsize if x.shape[0] > 1 else 0
