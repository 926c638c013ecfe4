"""Rounding in pieces that stay in the processor's cache, where temporary arrays cost little, on all threads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import random
from ..backend import parallel
from ..formats import Format, format
from ..rounding import Stochastic

CHUNK = 1 << 17  # elements: the half dozen temporaries of one piece stay in the cache


def quantize(
    x: Any, fmt: Format | str, rounding: str | Stochastic = "nearest", stream: random.Stream | None = None
) -> Any:
    """Return the array `x` rounded to a format, or the format of that name: same shape, same dtype.

    This is `fmt.quantize(x, rounding, stream)`, done piece by piece where the format allows it. Raises TypeError for
    arrays that are not float32 or float64, ValueError for an unknown format or rounding.
    """
    fmt = format(fmt)
    if not isinstance(x, np.ndarray) or x.size <= CHUNK or x.dtype not in (np.float32, np.float64):
        return fmt.quantize(x, rounding, stream)
    rows = x.reshape(-1) if fmt.rows_independent(x.reshape(-1)[:1]) else np.ascontiguousarray(x)
    if not fmt.rows_independent(rows):
        return fmt.quantize(x, rounding, stream)
    return _by_rows(fmt, rows, rounding, stream).reshape(x.shape)


def _by_rows(fmt: Format, x: np.ndarray, rounding: str | Stochastic, stream: random.Stream | None) -> np.ndarray:
    """Round some x[i] at a time; each piece reads its own part of the random bits of one site."""
    stochastic = rounding == "stochastic" or isinstance(rounding, Stochastic)
    seed, site = random.current(stream).take() if stochastic else (0, 0)
    width = math.prod(x.shape[1:])
    step = max(1, CHUNK // width)
    y = np.empty_like(x)

    def piece(i: int) -> None:
        y[i : i + step] = fmt.quantize(x[i : i + step], rounding, random.Window(seed, site, i * width))

    parallel(piece, range(0, len(x), step))
    return y
