"""Matrix products on all threads."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...backend import Array, empty, one_blas_thread, parallel, slices

PRODUCT = 1 << 22  # multiplications: for fewer a second thread costs more than it brings
ROWS = 64  # at a time, at least: each time BLAS rearranges all of the other matrix


def matmul(a: Array, b: Array) -> Array:
    """Return a @ b, some rows of `a` at a time on all threads.

    BLAS never gets to start threads of its own: after a product they wait busily for the next, on our processors.
    """
    if a.ndim != 2 or b.ndim != 2 or a.size * b.shape[-1] < PRODUCT:
        with one_blas_thread():
            return np.matmul(a, b)  # after a call, unlike after a @ b, a Ctrl-C arrives within the block
    y = empty((len(a), b.shape[1]), np.result_type(a, b))
    parallel(lambda rows: np.matmul(a[rows], b, out=y[rows]), slices(len(a), 1, max(ROWS, len(a) // 8)))
    return y


def carry_digits(y: Any, *arrays: Any) -> Any:
    """Return y: of how few binary digits its numbers have BLAS has no use for."""
    return y
