"""Block floating point: the numbers of a block share one exponent, that of the largest."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ..backend import Array, get_array_module
from ..random import Stream
from ..rounding import Stochastic
from ..validate import check_fields
from .base import bound, tiny
from .fixed import FixedPoint
from .tiles import PRODUCT, Blocked, Exponent


def block_name(block: int | tuple[int, int]) -> str:
    """Return a block as a name has it: 32, or 16x16."""
    return "x".join(map(str, block)) if isinstance(block, tuple) else str(block)


@dataclass(frozen=True)
class BlockFloatingPoint(Blocked):
    """Integers of `wl` bits times a power of two that each block has for itself.

    With `axis`, every index of that axis is a block: one exponent per sample for activations (N, ...), per output
    channel for weights (O, ...); arrays of fewer than two axes are one block. With `block` too, that axis is cut into
    tiles of `block` neighbours, the last of which may be shorter; axis="product" is then the axis that the next product
    sums over, 1 of arrays of four axes, else the last. A pair cuts the axis before it, too, into rows and columns.
    axis=None makes the whole array one block. A block that holds an infinity or NaN becomes NaN. Raises ValueError for
    arguments out of range.

    Source: Yang et al., "SWALP: Stochastic Weight Averaging in Low-Precision Training", ICML 2019, section 5.
    """

    wl: int  # bits of an integer, the sign among them
    axis: int | str | None = 0
    block: int | tuple[int, int] | None = None
    exp: int = 8  # bits of the exponent
    symmetric: bool = True  # leave out -2^(wl-1): it would raise the block's exponent when rounded again

    def __post_init__(self) -> None:
        check_fields(self, wl=(2, 53), exp=(2, 11), symmetric=bool)
        if self.axis is not None:
            self._check_axis()
        if self.block is not None:
            self._check_block()
            if self.axis is None:
                raise ValueError("BlockFloatingPoint: block needs an axis to cut into tiles, got axis=None")
        elif self.axis == PRODUCT:
            raise ValueError("BlockFloatingPoint: axis 'product' needs a block of neighbours along it, got block=None")

    @cached_property
    def element(self) -> FixedPoint:
        """Numbers of magnitude below 2, to be multiplied by 2^E: the integers times 2^-(wl-2)."""
        return FixedPoint(self.wl, self.wl - 2, self.symmetric)

    @cached_property
    def scale(self) -> Exponent:
        """Powers of two, 2^E."""
        return Exponent(self.exp, has_nan=False)

    @property
    def idempotent(self) -> bool:
        """Whether rounded numbers stay put: the lowest integer, if it is used, raises the exponent."""
        return self.symmetric

    def block_scales(self, x: Array) -> tuple[Array, float]:
        """Return 2^E of each block, E = floor(log2) of its largest magnitude, and 1."""
        xp, largest = get_array_module(x), self.largest(x)
        scales = self.scale.rule(largest, "toward_zero")
        return xp.where(xp.isfinite(largest), scales, largest.dtype.type("nan")), 1.0

    def spacing(self, x: Array) -> Array:
        """Return 2^(E - (wl - 2)), E = floor(log2) of the largest magnitude in each block."""
        gap = self.scales(x) * x.dtype.type(2.0 ** (2 - self.wl))
        return self.expand(get_array_module(x).maximum(gap, x.dtype.type(tiny(x.dtype))), x.shape)

    def clip(self, y: Array, s: Array) -> Array:
        """Saturate to the integers of `wl` bits."""
        xp, top = get_array_module(y), bound(2.0 ** (self.wl - 1) - 1, y.dtype)
        high = top * s
        low = -high
        if not self.symmetric:
            lowest = -(2.0 ** (self.wl - 1)) * s
            low = xp.where(xp.isinf(lowest), low, lowest)  # -2^128 is no float32
        return xp.minimum(xp.maximum(y, low, out=y), high, out=y)

    def elements(self, x: Array, scales: Array, rounding: str | Stochastic, stream: Stream | None) -> Array:
        """Return the numbers of x rounded, in units of 2^E: multiples of 2^-(wl-2)."""
        return self.quantize(x, rounding, stream) / self.expand(scales, x.shape)

    def __str__(self) -> str:
        plain = BlockFloatingPoint(self.wl)
        if self == plain:
            return f"bfp{self.wl}"
        if self == BlockFloatingPoint(self.wl, axis=None):
            return f"bfp{self.wl}:tensor"
        if self.block is not None and self == BlockFloatingPoint(self.wl, axis=PRODUCT, block=self.block):
            return f"bfp{self.wl}:{block_name(self.block)}"
        return repr(self)
