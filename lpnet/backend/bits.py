"""What holds for each number or not, at one bit a number: an eighth of an array of bool, a 32nd of one of float32."""

from __future__ import annotations

import numpy as np

from .arrays import Array, get_array_module, select
from .memory import empty
from .pieces import parallel, slices


def positive(x: Array) -> Array:
    """Return which numbers are above 0, in the order of their indices, eight a byte: uint8."""
    xp, flat = get_array_module(x), x.reshape(-1)  # (...) -> (n,)
    if xp is not np:
        return xp.packbits(flat > 0)
    bits = np.empty(-(-flat.size // 8), np.uint8)

    def pack(part: slice) -> None:
        bits[_octets(part)] = np.packbits(flat[part] > 0)

    parallel(pack, slices(flat.size, 1))
    return bits


def select_by_bits(bits: Array, x: Array) -> Array:
    """Return the floats x where the bit is 1 and 0 elsewhere, as `select` does."""
    xp, flat = get_array_module(x), x.reshape(-1)  # (...) -> (n,)
    if xp is not np:
        return select(xp.unpackbits(bits)[: x.size].view(bool), flat).reshape(x.shape)
    y = empty(flat.shape, flat.dtype)

    def choose(part: slice) -> None:
        numbers = flat[part]
        select(np.unpackbits(bits[_octets(part)], count=len(numbers)).view(bool), numbers, y[part])

    parallel(choose, slices(flat.size, 1))
    return y.reshape(x.shape)


def _octets(part: slice) -> slice:
    """Return where the bits of a part are; it begins at a multiple of eight."""
    return slice(part.start // 8, -(-part.stop // 8))
