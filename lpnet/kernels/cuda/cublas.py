"""cuBLAS by its own library: CuPy's binding refuses to be recorded, and a step is to be the same, recorded or not."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
from typing import Any

import numpy as np

from ...backend import on_forget


class CuBLAS:
    """A handle of cuBLAS with memory of its own, so that it chooses the same sums each time.

    Raises OSError where the library is not found.
    """

    WORKSPACE = 32 << 20  # bytes, as cuBLAS recommends for Hopper; a recorded product may not ask for memory

    def __init__(self) -> None:
        cupy = sys.modules["cupy"]
        major = cupy.cuda.runtime.runtimeGetVersion() // 1000
        self.library, self.handle, self.stream = ctypes.CDLL(f"libcublas.so.{major}"), ctypes.c_void_p(), -1
        self.workspace = cupy.empty(self.WORKSPACE, np.uint8)
        self._call("cublasCreate_v2", ctypes.byref(self.handle))

    def on(self, stream: Any) -> CuBLAS:
        """Have products done on a stream of CuPy's from now on; returns the handle."""
        if stream.ptr != self.stream:
            size, self.stream = ctypes.c_size_t(self.WORKSPACE), stream.ptr
            self._call("cublasSetStream_v2", self.handle, ctypes.c_void_p(stream.ptr))  # forgets the workspace
            self._call("cublasSetWorkspace_v2", self.handle, ctypes.c_void_p(self.workspace.data.ptr), size)
        return self

    def gemm(self, *arguments: int) -> None:
        """As cublasGemmEx, behind the handle."""
        self._call("cublasGemmEx", self.handle, *_typed("iiiiippiipiippiiii", arguments))

    def gemm_strided(self, *arguments: int) -> None:
        """As cublasGemmStridedBatchedEx, behind the handle."""
        self._call("cublasGemmStridedBatchedEx", self.handle, *_typed("iiiiippiilpiilppiiliii", arguments))

    def _call(self, name: str, *arguments: Any) -> None:
        if status := getattr(self.library, name)(*arguments):
            raise RuntimeError(f"{name} failed with status {status}")

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # at the end of the process the library may be gone
            self.library.cublasDestroy_v2(self.handle)


_C = {"i": ctypes.c_int, "l": ctypes.c_longlong, "p": ctypes.c_void_p}


def _typed(kinds: str, arguments: tuple[int, ...]) -> list[Any]:
    return [_C[kind](value) for kind, value in zip(kinds, arguments, strict=True)]


@functools.cache
def cublas() -> CuBLAS | None:
    """Return this process's handle, None where the library is not found."""
    try:
        return CuBLAS()
    except OSError:
        return None


on_forget(cublas.cache_clear)
