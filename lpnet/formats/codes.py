"""Numbers as they would lie in memory: bit codes of any width, packed without gaps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .base import Format


def pack(codes: np.ndarray, width: int) -> np.ndarray:
    """Return unsigned integers of `width` bits as bytes without gaps, uint8.

    The first code takes the lowest bits of the first byte, so two 4-bit codes are one byte, four 6-bit codes three.
    """
    octets = codes.astype("<u8").reshape(-1, 1).view(np.uint8)[:, : -(-width // 8)]  # any shape -> (n, bytes of one)
    bits = np.unpackbits(octets, axis=1, count=width, bitorder="little")  # (n, width)
    return np.packbits(bits, bitorder="little")


def unpack(packed: np.ndarray, width: int, count: int) -> np.ndarray:
    """Return the first `count` codes of `width` bits that `pack` laid down, (count,) uint64."""
    bits = np.unpackbits(packed, count=count * width, bitorder="little").reshape(count, width)
    octets = np.zeros((count, 8), np.uint8)
    octets[:, : -(-width // 8)] = np.packbits(bits, axis=1, bitorder="little")
    return octets.view("<u8").reshape(count).astype(np.uint64, copy=False)


@dataclass(frozen=True, eq=False)
class Encoded:
    """An array in the codes of a format; `decode()` gives the array rounded to it. Made by `Format.encode`."""

    format: Format
    shape: tuple[int, ...]
    dtype: np.dtype  # of the array that was encoded and will be decoded
    codes: np.ndarray  # uint8, see `pack`
    scales: np.ndarray  # uint8: one code a block; where there is a scale of the whole array, its float32 comes first

    @property
    def nbytes(self) -> int:
        """Bytes of storage."""
        return self.codes.nbytes + self.scales.nbytes

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return math.prod(self.shape)

    def decode(self) -> np.ndarray:
        """Return the numbers, in the shape and dtype of the array that was encoded."""
        return self.format.decode(self)

    def __repr__(self) -> str:
        return f"Encoded({self.format}, shape={self.shape}, {self.nbytes} bytes)"
