"""CuPy: whether it works, its kernels and its cuBLAS. The only file that imports it."""

from __future__ import annotations

import functools
import importlib
import importlib.resources
import os
import sys
from typing import Any

import numpy as np

from . import digits


@functools.cache
def cuda_problem() -> str | None:
    """Return why CUDA cannot be used here and what would change that, or None if it can (tried once, in earnest)."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError:
        return "cupy is not installed: pip install 'lpnet[cuda12]' or 'lpnet[cuda13]', as the driver has it"
    try:
        one = cupy.ones((2, 2), cupy.float32)
        (one @ one).get()  # waits: NVRTC, cuBLAS and the device itself have worked
    except Exception as error:  # whatever is lacking, the sentence is the result
        return _advice(error)
    return None


def _advice(error: Exception) -> str:
    """Return a sentence with what to install or change so that this error of CuPy's goes away."""
    text = " ".join(str(error).split())
    for sign, advice in {
        "cudaErrorInsufficientDriver": "the NVIDIA driver is missing or older than this CuPy needs: update the driver, "
        "or install 'lpnet[cuda12]' in place of 'lpnet[cuda13]'",
        "cudaErrorNoDevice": "there is a driver but no GPU that this process may see: check CUDA_VISIBLE_DEVICES",
        "Out of memory": "the GPU's memory is taken by other processes: end them, or choose another GPU with "
        "CUDA_VISIBLE_DEVICES",
        "Failure finding": "a library of CUDA is missing: pip install 'lpnet[cuda12]' or 'lpnet[cuda13]' brings it",
    }.items():  # fmt: skip
        if sign in text:
            return f"{advice} ({text})"
    return f"cupy is installed, but the GPU does not work ({text})"


def cuda_available() -> bool:
    """Return whether arrays can live on a GPU; `cuda_problem()` says why not."""
    return cuda_problem() is None


_THREADS, _MOST_BLOCKS = 256, 65535  # of a launch; a thread takes more than one thing where there are more


def launch(file: str, kernel: str, n: int, dtype: Any, *arguments: Any, rows: int = 1) -> None:
    """Run a kernel of lpnet/kernels for n things in each of some rows on the GPU, without waiting for it.

    `arguments` are contiguous CuPy arrays and NumPy scalars of the kernel's types; dtype is the kernel's REAL.
    """
    grid = min(-(-n // _THREADS), _MOST_BLOCKS), min(rows, _MOST_BLOCKS)
    _kernel(file, kernel, np.dtype(dtype).itemsize == 8)(grid, (_THREADS,), arguments)


@functools.cache
def _kernel(file: str, kernel: str, double: bool) -> Any:
    return _kernels(file, double).get_function(kernel)


@functools.cache
def _kernels(file: str, double: bool) -> Any:
    return sys.modules["cupy"].RawModule(code=kernel_source(file), options=kernel_options(double))


def kernel_source(file: str) -> str:
    """Return the text of a file of kernels, with what all share before it."""
    folder = importlib.resources.files("lpnet.kernels")
    return "".join((folder / name).read_text(encoding="utf-8") for name in ("real.cuh", file))


def kernel_options(double: bool) -> tuple[str, ...]:
    """Return the options of NVRTC for kernels on float64 or float32."""
    return ("-std=c++17", "--fmad=false", f"-DREAL={'double' if double else 'float'}", f"-DDOUBLE={int(double)}")


@functools.cache
def cublas() -> Any:
    """Return CuPy's binding of cuBLAS; None where it is not as this version of lpnet knows it."""
    try:
        binding = importlib.import_module("cupy_backends.cuda.libs.cublas")
    except ImportError:
        return None
    return binding if hasattr(binding, "gemmEx") and hasattr(binding, "gemmStridedBatchedEx") else None


def forget_cuda() -> None:
    """Forget what was found out about CuPy and compiled with it, so that it is looked for again."""
    for cached in (cuda_problem, _kernel, _kernels, cublas):
        cached.cache_clear()
    digits.forget()


if hasattr(os, "register_at_fork"):  # a child cannot use its parent's GPU
    os.register_at_fork(after_in_child=forget_cuda)
