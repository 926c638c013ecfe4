"""Fast array functions, and the one place that asks whether arrays are NumPy's or CuPy's.

kernels/numpy and kernels/cuda offer the same names: pure functions of a geometry (geometry.py) and arrays. What the
less readable of them compute is said in a few lines in twin.py, and of rounding by `Format.rule`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar, cast

import numpy as np

from .. import random
from ..backend import get_array_module, through
from ..formats import Format, format
from ..formats.base import accelerate
from ..rounding import Stochastic
from . import cuda, numpy

__all__ = ["keeps_digits", "kernel", "quantize"]


def kernel(name: str, xp: ModuleType) -> Callable[..., Any]:
    """Return the function of this name for arrays of the module `xp`, numpy or cupy."""
    return getattr(numpy if xp is np else cuda, name)


@accelerate
def _quantize(fmt: Format, x: Any, rounding: str | Stochastic = "nearest", stream: random.Stream | None = None) -> Any:
    return kernel("quantize", get_array_module(x))(fmt, x, rounding, stream)


@random.draw_by
def _random_bits(stream: random.Stream, n: int, xp: ModuleType, width: int) -> Any:
    return kernel("random_bits", xp)(stream, n, xp, width)


def quantize(
    x: Any, fmt: Format | str, rounding: str | Stochastic = "nearest", stream: random.Stream | None = None
) -> Any:
    """Return the array `x` rounded to a format, or the format of that name: same shape, same dtype, same kind.

    This is `fmt.quantize(x, rounding, stream)`, also for arrays of PyTorch, JAX and all that offer DLPack: they are
    read where they are. Raises TypeError for arrays that are not float32 or float64, ValueError for an unknown format
    or rounding.
    """
    fmt = format(fmt)
    return through(x, lambda array: fmt.quantize(array, rounding, stream), fmt)


Compute = TypeVar("Compute", bound=Callable[..., Any])


def keeps_digits(compute: Compute) -> Compute:
    """Decorate a `forward` or `backward` whose results have only numbers of its arguments, and 0.

    What a device wants to know of numbers, as tensor cores how many digits they have, is then known of the results.
    """

    @functools.wraps(compute)
    def known(self: Any, *arrays: Any) -> Any:
        y = compute(self, *arrays)
        for part in y if isinstance(y, tuple) else (y,):
            kernel("carry_digits", get_array_module(part))(part, *arrays)
        return y

    return cast(Compute, known)
