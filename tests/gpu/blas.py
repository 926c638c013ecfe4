"""cuBLAS on host memory: the two products that lpnet calls, as cuBLAS defines them, column by column."""

from __future__ import annotations

import ctypes

import numpy as np

calls: list[str] = []


def _matrix(pointer: int, rows: int, columns: int, apart: int) -> np.ndarray:
    """Return the matrix at a pointer whose columns are `apart` numbers apart."""
    size = apart * (columns - 1) + rows
    flat = np.ctypeslib.as_array((ctypes.c_float * size).from_address(pointer))
    return np.lib.stride_tricks.as_strided(flat, (rows, columns), (4, 4 * apart))


def to_tf32(x: np.ndarray) -> np.ndarray:
    """Return x as tensor cores read it: without the lowest 13 bits."""
    return (np.ascontiguousarray(x).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


def gemmEx(
    handle: int,
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
    """c = op(a) op(b) in TF32; alpha must be 1, beta 0, all types float32."""
    calls.append("gemmEx")
    assert (ctypes.c_float.from_address(alpha).value, ctypes.c_float.from_address(beta).value) == (1, 0)
    assert (a_type, b_type, c_type, compute) == (0, 0, 0, 77)
    assert lda >= (k if op_a else m) and ldb >= (n if op_b else k) and ldc >= m, "cuBLAS refuses such a leading size"
    left = _matrix(a, k, m, lda).T if op_a else _matrix(a, m, k, lda)
    right = _matrix(b, n, k, ldb).T if op_b else _matrix(b, k, n, ldb)
    _matrix(c, m, n, ldc)[...] = to_tf32(left) @ to_tf32(right)


def gemmStridedBatchedEx(
    handle: int,
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
        gemmEx(
            handle,
            op_a,
            op_b,
            m,
            n,
            k,
            alpha,
            a + 4 * i * a_apart,
            a_type,
            lda,
            b + 4 * i * b_apart,
            b_type,
            ldb,
            beta,
            c + 4 * i * c_apart,
            c_type,
            ldc,
            compute,
            algorithm,
        )
    calls[-count:] = ["gemmStridedBatchedEx"]
