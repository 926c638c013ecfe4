"""Matrix products on the GPU: on its tensor cores where they lose nothing, as CuPy has them elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backend import Array, get_array_module
from .cublas import CuBLAS, cublas
from .digits import known_digits
from .recording import current as recording_now

DIGITS = 11  # of a TF32 number: that many survive in an operand, all of a product, float32's own in a sum


def matmul(a: Array, b: Array) -> Array:
    """Return a @ b of CuPy arrays.

    Operands known to have at most 11 significant binary digits (rounded to 12 bits or fewer) are multiplied in TF32,
    which is then exact but for the order of the sums, and for numbers below 2^-126.
    """
    few = all(digits is not None and digits <= DIGITS for digits in (known_digits(a), known_digits(b)))
    xp, recording = get_array_module(a), recording_now()
    usual = a.dtype == b.dtype == np.float32 and a.ndim == b.ndim and a.ndim in (2, 3) and a.size and b.size
    handle = (cublas() if recording is None else recording.cublas) if usual else None
    if handle is None:
        return xp.matmul(a, b)
    return Products(handle.on(xp.cuda.get_current_stream()), xp, few)(a, b)


class Products:
    """cuBLAS multiplying float32 arrays, in TF32 or, without `tf32`, in float32: all that knows about its calls."""

    one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)  # read by cuBLAS while the call runs
    FLOAT, ANY = 0, -1  # CUDA_R_32F, CUBLAS_GEMM_DEFAULT
    TF32, FLOAT32 = 77, 68  # CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_COMPUTE_32F

    def __init__(self, handle: CuBLAS, xp: Any, tf32: bool = True) -> None:
        self.handle, self.xp = handle, xp
        self.compute = self.TF32 if tf32 else self.FLOAT32

    def __call__(self, a: Array, b: Array) -> Array:
        """Return a @ b for a (M, K) and b (K, N), or for stacks of them, one of which may have but one matrix."""
        (*batch, m, k), n = a.shape, b.shape[-1]
        if batch:
            batch = [max(a.shape[0], b.shape[0])]
        y = self.xp.empty((*batch, m, n), np.float32)
        # cuBLAS counts along columns: to it row-major arrays are transposed, and y' = b' a'.
        (a, a_order, a_rows), (b, b_order, b_rows) = self._lying(a), self._lying(b)
        one, zero = self.one.ctypes.data, self.zero.ctypes.data
        start = b_order, a_order, n, m, k, one
        if not batch:
            self.handle.gemm(
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
                self.compute,
                self.ANY,
            )
        else:
            self.handle.gemm_strided(
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
                self.compute,
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
