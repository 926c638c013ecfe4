"""Numbers on which the properties of a format are tried: its own, those next to them, ties, those beyond its ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .base import Format, quiet

MANY = 1800  # numbers near powers of two


def samples(fmt: Format, dtype: Any, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield arrays of one block each: numbers over the whole range and beyond, the format's own, ties, tiny numbers."""
    rng, length = np.random.default_rng(seed), min(fmt.block or 64, 256)
    limits = np.finfo(dtype)
    with quiet():
        ends = [(fmt.smallest or 1e-3) / 8, fmt.max * 2]
        low, high = np.log2(np.clip(ends, float(limits.smallest_subnormal), float(limits.max)))
        for top in (high, low + 4):
            signs, magnitudes = rng.choice([-1, 1], length), 2 ** rng.uniform(low, max(top, low), length)
            x = along_axis(fmt, (signs * magnitudes).astype(dtype))
            yield x
            below, above = fmt.quantize(x, "floor"), fmt.quantize(x, "ceil")
            ties = (below + (above - below) / 2).astype(dtype)
            ties = np.where(np.isfinite(ties), ties, x)
            yield from (ties, np.nextafter(ties, dtype("-inf")), np.nextafter(ties, dtype("inf")))
        yield near_powers(fmt, dtype, low, max(high, low + 4), length if fmt.block else None)
    yield along_axis(fmt, np.zeros(length, dtype))
    yield along_axis(fmt, -np.geomspace(limits.smallest_subnormal, limits.smallest_normal, length).astype(dtype))


def near_powers(fmt: Format, dtype: Any, low: float, high: float, length: int | None) -> np.ndarray:
    """Return powers of two, the highest ones if there is no room for more, and the dtype's numbers next to them."""
    exponents = np.arange(int(np.ceil(low)), int(np.floor(high)) + 1)
    powers = np.ldexp(dtype(1), exponents)[-max(1, min((length or MANY) // 6, MANY // 6)) :]
    near = [powers, np.nextafter(powers, dtype(0)), np.nextafter(powers, dtype("inf"))]
    return along_axis(fmt, np.concatenate([sign * x for x in near for sign in (dtype(1), dtype(-1))])[:length])


def along_axis(fmt: Format, x: np.ndarray) -> np.ndarray:
    """Return the 1-d array with its elements along the axis that the format cuts into blocks."""
    if fmt.axis is None or fmt.block is None:
        return x
    ndim = fmt.axis + 1 if fmt.axis >= 0 else -fmt.axis
    return x.reshape([-1 if i == fmt.axis % ndim else 1 for i in range(ndim)])
