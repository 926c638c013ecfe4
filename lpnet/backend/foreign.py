"""Arrays of other libraries, PyTorch and JAX among them: taken by DLPack, and their kind given back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from .arrays import get_array_module
from .devices import choose_device

_CPU = 1  # DLPack's number of a device; CUDA's pinned and managed memory have others


def through(x: Any, function: Callable[[Any], Any], owner: Any) -> Any:
    """Return function(x) where x is NumPy's, CuPy's or no array; of another library's array, one of its kind.

    `function` then gets a view of the same memory, which it must not write to; one on a GPU goes by way of CuPy. Raises
    TypeError, which names `owner`, for an array that gives no such view.
    """
    if isinstance(x, np.ndarray) or not hasattr(x, "__dlpack__") or get_array_module(x) is not np:
        return function(x)
    try:
        array = (np if x.__dlpack_device__()[0] == _CPU else _cupy()).from_dlpack(x)
    except (BufferError, TypeError, RuntimeError, ValueError) as error:
        raise TypeError(_refused(x, owner, error)) from error
    return _library(x).from_dlpack(function(array))


def _cupy() -> ModuleType:
    choose_device("cuda")  # raises with the reason where there is none
    return sys.modules["cupy"]


def _library(x: Any) -> Any:
    """Return the module whose `from_dlpack` makes such arrays: the array API names it, PyTorch's is torch itself."""
    if hasattr(x, "__array_namespace__"):
        return x.__array_namespace__()
    return sys.modules[type(x).__module__.split(".")[0]]


def _refused(x: Any, owner: Any, error: Exception) -> str:
    dtype = str(getattr(x, "dtype", "float32"))
    if getattr(x, "requires_grad", False):
        return f"{owner}: x requires a gradient, which lpnet.interop.torch.quantize passes on; or give x.detach()"
    if dtype.split(".")[-1] not in ("float32", "float64"):
        return f"{owner}: x must be float32 or float64, got {dtype}; convert it, and the result back"
    return f"{owner}: an array of {type(x).__module__}.{type(x).__name__} gives no view of its memory ({error})"
