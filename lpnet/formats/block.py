"""Block floating point: the numbers of a block share one exponent, that of the largest."""

from __future__ import annotations

from dataclasses import dataclass

from ..backend import get_array_module
from .base import Array, Format, integer, tiny


@dataclass(frozen=True)
class BlockFloatingPoint(Format):
    """Integers of `wl` bits times a power of two that each block has for itself.

    With `axis`, every index of that axis is a block: one exponent per sample for activations (N, ...), per output channel
    for weights (O, ...); arrays of fewer than two axes are one block. With `block` too, that axis is cut into tiles of
    `block` neighbours, the last of which may be shorter. axis=None makes the whole array one block. A block that holds
    an infinity or NaN becomes NaN. Raises ValueError for arguments out of range. Source: Yang et al., "SWALP", 2019.
    """

    wl: int  # bits of an integer, the sign among them
    axis: int | None = 0
    block: int | None = None
    exp: int = 8  # bits of the exponent
    symmetric: bool = True  # leave out -2^(wl-1): it would raise the block's exponent when rounded again

    def __post_init__(self) -> None:
        integer("BlockFloatingPoint", "wl", self.wl, 2, 53)
        integer("BlockFloatingPoint", "exp", self.exp, 2, 11)
        if self.axis is not None:
            integer("BlockFloatingPoint", "axis", self.axis, -64, 63)
        if self.block is not None:
            integer("BlockFloatingPoint", "block", self.block, 1, 2**31)
            if self.axis is None:
                raise ValueError("BlockFloatingPoint: block needs an axis to cut into tiles, got axis=None")

    @property
    def bits(self) -> int:
        """Bits of a number, the shared exponent left out."""
        return self.wl

    def spacing(self, x: Array) -> Array:
        """Return 2^(E - (wl - 2)), E = floor(log2) of the largest magnitude in each block."""
        xp = get_array_module(x)
        if self.block is None:
            return self._gap(self._largest(x))
        axis = self._positive_axis(x)
        last = xp.moveaxis(x, axis, -1)
        n, tiles = last.shape[-1], -(-last.shape[-1] // self.block)
        padding = [(0, 0)] * (x.ndim - 1) + [(0, tiles * self.block - n)]
        padded = xp.pad(abs(last), padding).reshape(*last.shape[:-1], tiles, self.block)  # (..., n) -> (..., T, block)
        gaps = xp.repeat(self._gap(padded.max(axis=-1)), self.block, axis=-1)[..., :n]
        return xp.moveaxis(gaps, -1, axis)

    def clip(self, y: Array, s: Array) -> Array:
        """Saturate to the integers of `wl` bits."""
        top = 2.0 ** (self.wl - 1)
        return get_array_module(y).clip(y, (1 - top if self.symmetric else -top) * s, (top - 1) * s)

    def _largest(self, x: Array) -> Array:
        """Return the largest magnitude of each block, in a shape that broadcasts to x."""
        if x.size == 0:
            return x
        if self.axis is None or x.ndim < 2:
            return abs(x).max(keepdims=True)
        others = tuple(i for i in range(x.ndim) if i != self._positive_axis(x))
        return abs(x).max(axis=others, keepdims=True)

    def _gap(self, largest: Array) -> Array:
        # frexp gives m 2^e with m in [1/2, 1): floor(log2) is e - 1, for subnormal numbers too
        xp, exponent = get_array_module(largest), get_array_module(largest).frexp(largest)[1] - 1
        exponent = exponent.clip(-(2 ** (self.exp - 1)), 2 ** (self.exp - 1) - 1) - (self.wl - 2)
        gap = xp.ldexp(xp.ones_like(largest), exponent)
        gap = xp.maximum(gap, largest.dtype.type(tiny(largest.dtype)))
        return xp.where(xp.isfinite(largest), gap, largest.dtype.type("nan"))

    def _positive_axis(self, x: Array) -> int:
        if not -x.ndim <= self.axis < x.ndim:
            raise ValueError(f"{self}: axis {self.axis} is out of range for an array of shape {x.shape}")
        return self.axis % x.ndim

    def __str__(self) -> str:
        plain = BlockFloatingPoint(self.wl)
        if self == plain:
            return f"bfp{self.wl}"
        if self == BlockFloatingPoint(self.wl, axis=None):
            return f"bfp{self.wl}:tensor"
        if self.block is not None and self == BlockFloatingPoint(self.wl, axis=-1, block=self.block):
            return f"bfp{self.wl}:{self.block}"
        return repr(self)
