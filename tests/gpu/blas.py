"""cuBLAS on host memory: the two products that lpnet calls, as cuBLAS defines them, column by column."""

from __future__ import annotations

import ctypes

import numpy as np

from . import standin

TF32, FLOAT32 = 77, 68  # CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_COMPUTE_32F

calls: list[str] = []  # of each product, in what; of several matrices, how many


def _matrix(pointer: int, rows: int, columns: int, apart: int) -> np.ndarray:
    """Return the matrix at a pointer whose columns are `apart` numbers apart."""
    size = apart * (columns - 1) + rows
    flat = np.ctypeslib.as_array((ctypes.c_float * size).from_address(pointer))
    return np.lib.stride_tricks.as_strided(flat, (rows, columns), (4, 4 * apart))


def to_tf32(x: np.ndarray) -> np.ndarray:
    """Return x as tensor cores read it: without the lowest 13 bits."""
    return (np.ascontiguousarray(x).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


class CuBLAS:
    """A handle, as lpnet's own: alpha must be 1, beta 0, all types float32."""

    def on(self, stream: object) -> CuBLAS:
        """There are no streams."""
        return self

    def gemm(
        self,
        op_a: int,
        op_b: int,
        m: int,
        n: int,
        k: int,
        alpha: int,
        a: int,
        a_type: int,
        lda: int,
        b: int,
        b_type: int,
        ldb: int,
        beta: int,
        c: int,
        c_type: int,
        ldc: int,
        compute: int,
        algorithm: int,
    ) -> None:
        """c = op(a) op(b), in TF32 or float32."""
        calls.append({TF32: "TF32", FLOAT32: "float32"}[compute])
        assert (ctypes.c_float.from_address(alpha).value, ctypes.c_float.from_address(beta).value) == (1, 0)
        assert (a_type, b_type, c_type) == (0, 0, 0)
        assert lda >= (k if op_a else m) and ldb >= (n if op_b else k) and ldc >= m, "cuBLAS refuses such sizes"
        left = _matrix(a, k, m, lda).T if op_a else _matrix(a, m, k, lda)
        right = _matrix(b, n, k, ldb).T if op_b else _matrix(b, k, n, ldb)
        read = to_tf32 if compute == TF32 else np.asarray

        def product() -> None:  # by rows, as NumPy would have it: the same sums
            _matrix(c, m, n, ldc)[...] = (read(right).T @ read(left).T).T

        standin.launched(product)

    def gemm_strided(
        self,
        op_a: int,
        op_b: int,
        m: int,
        n: int,
        k: int,
        alpha: int,
        a: int,
        a_type: int,
        lda: int,
        a_apart: int,
        b: int,
        b_type: int,
        ldb: int,
        b_apart: int,
        beta: int,
        c: int,
        c_type: int,
        ldc: int,
        c_apart: int,
        count: int,
        compute: int,
        algorithm: int,
    ) -> None:
        """The same for `count` matrices, each kind so many numbers apart."""
        for i in range(count):
            places = a + 4 * i * a_apart, b + 4 * i * b_apart, c + 4 * i * c_apart
            first, second = (op_a, op_b, m, n, k, alpha), (beta, places[2], c_type, ldc, compute, algorithm)
            self.gemm(*first, places[0], a_type, lda, places[1], b_type, ldb, *second)
        calls[-count:] = [f"{calls[-1]} {count}"]
