"""The array module behind an array (NumPy or CuPy) and the devices there are. The only file that imports cupy."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import sys
from types import ModuleType
from typing import Any

import numpy as np


def get_array_module(x: Any) -> ModuleType:
    """Return the module, numpy or cupy, whose array `x` is (numpy for anything that is no CuPy array)."""
    cupy = sys.modules.get("cupy")  # an array of a module nobody imported cannot exist
    return cupy if cupy is not None and isinstance(x, cupy.ndarray) else np


@functools.cache
def cuda_problem() -> str | None:
    """Return why CUDA cannot be used here, or None if it can (tried once, with a small matrix product)."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError:
        return "cupy is not installed: pip install 'lpnet[cuda12]' or 'lpnet[cuda13]'"
    try:
        one = cupy.ones((2, 2), cupy.float32)
        one @ one
    except Exception as error:  # whatever the driver, NVRTC or cuBLAS lack: the sentence is the result
        return f"cupy is installed, but the GPU does not work: {error}"
    return None


def cuda_available() -> bool:
    """Return whether arrays can live on a GPU; `cuda_problem()` says why not."""
    return cuda_problem() is None


def to_device(x: Any, device: str) -> Any:
    """Return the array `x` on `device`, "cpu" or "cuda"; no copy if it is there already.

    Raises ValueError for another device name, RuntimeError with the reason if CUDA cannot be used.
    """
    if device == "cpu":
        return x.get() if get_array_module(x) is not np else np.asarray(x)
    if device != "cuda":
        raise ValueError(f'device: got {device!r}, expected "cpu" or "cuda"')
    if (problem := cuda_problem()) is not None:
        raise RuntimeError(f"device cuda cannot be used: {problem}")
    return sys.modules["cupy"].asarray(x)


def keep_freed_memory() -> None:
    """Have the C library keep freed memory for the next training step instead of returning it to the system.

    A program that trains, such as the command line, calls it once: a third less time for a small network. It is a
    property of the whole process, so the library itself never does. Without effect where the C library is not glibc.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD: blocks of up to 32 MiB, the most there is, come from the heap ...
        mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD: ... which shrinks only once 1 GiB of it is free
