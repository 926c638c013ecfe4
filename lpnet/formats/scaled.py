"""Scaled formats: elements of a small format times a scale that each block stores in another (OCP MX, NVFP4)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..backend import Array, get_array_module, on_host
from ..distributed import shards
from ..random import Stream
from ..rounding import Stochastic
from ..validate import check_fields
from .base import Format, divide, float_array, quiet, ruled, tiny
from .fixed import FixedPoint
from .floating import PRESETS
from .tiles import Blocked, Exponent


@dataclass(frozen=True)
class BlockScaled(Blocked):
    """Elements of one format times scales of another, one scale for every `block` neighbours along `axis`.

    A scale of powers of two is 2^(floor(log2 amax) - emax), amax the block's largest magnitude and 2^emax the largest
    power of two among the elements: the largest may saturate. Any other scale is amax / element.max, to nearest.
    With `tensor` the whole array has a float32 scale besides, amax / (scale.max * element.max), and block scales are
    in its units. Elements are x / scale in x's dtype, rounded and saturated as their format says; a scale that
    became 0 makes its block 0. A block that holds an infinity or NaN has the scale NaN, and so is NaN throughout
    (OCP MX 1.0, section 5.1); it does not count for the scale of the array.

    Raises ValueError for arguments out of range. Sources: OCP Microscaling Formats (MX) 1.0, 2023, section 6.3; NVIDIA,
    "Pretraining large language models with NVFP4", 2025.
    """

    element: Format
    scale: Format
    block: int
    axis: int = -1
    tensor: bool = False  # one more scale, a float32, for the whole array

    def __post_init__(self) -> None:
        for name in ("element", "scale"):
            if not isinstance(getattr(self, name), Format) or isinstance(getattr(self, name), Blocked):
                raise ValueError(f"BlockScaled: {name} must be a Format of single numbers, got {getattr(self, name)!r}")
        check_fields(self, block=(1, 2**31), axis=(-64, 63), tensor=bool)

    @property
    def idempotent(self) -> bool:
        """Whether rounded numbers stay put: scales that are rounded to nearest, or asymmetric elements, move them."""
        asymmetric = self.element.min < -self.element.max
        return isinstance(self.scale, Exponent) and not asymmetric

    def block_scales(self, x: Array) -> tuple[Array, float]:
        """Return the scale of each block, in float64, and that of the array."""
        xp = get_array_module(x)
        largest = self.block_max(x).astype(np.float64)
        largest = xp.where(xp.isfinite(largest), largest, np.nan)
        if isinstance(self.scale, Exponent):
            unit, rounding = 2.0 ** (math.frexp(self.element.max)[1] - 1), "toward_zero"
        else:
            unit, rounding = self.element.max, "nearest"
        tensor_scale = self._tensor_scale(largest) if self.tensor else 1.0
        return ruled(self.scale)(largest / (unit * tensor_scale), rounding), tensor_scale

    def _tensor_scale(self, largest: Array) -> Array:
        if not largest.size:
            return largest.dtype.type(tiny(np.dtype(np.float32)))
        xp = get_array_module(largest)
        top = shards.largest(xp.where(xp.isnan(largest), 0.0, largest).max()) / (self.scale.max * self.element.max)
        # At least the smallest float32, so that an array of zeros or of tiny numbers has a scale to divide by
        top = xp.clip(top, tiny(np.dtype(np.float32)), float(np.finfo(np.float32).max))
        return top.astype(np.float32).astype(np.float64)

    def elements(self, x: Array, scales: Array, rounding: str | Stochastic, stream: Stream | None) -> Array:
        """Return the numbers of x rounded to elements; zeros where the scale is 0 or NaN."""
        xp, usable = get_array_module(x), scales > 0
        if not on_host(x) or not usable.all():  # on a GPU, asking costs more than doing it
            x = xp.where(self.expand(usable, x.shape), x, xp.copysign(x.dtype.type(0), x))
            scales = xp.where(usable, scales, x.dtype.type(1))
        return ruled(self.element)(divide(x, self.expand(scales, x.shape), rounding), rounding, stream)

    def rule(self, x: Array, rounding: str | Stochastic = "nearest", stream: Stream | None = None) -> Array:
        """Return elements that are rounded in units of their scales, times these."""
        x = float_array(x, self)
        with quiet():
            scales, tensor_scale = self.block_scales(x)
            elements = self.elements(x, (scales * tensor_scale).astype(x.dtype), rounding, stream)
            return self.scaled(elements, scales, tensor_scale)

    def spacing(self, x: Array) -> Array:
        """Return the gap between neighbouring elements around x, times the block's scale: 0 or NaN where that is."""
        x = float_array(x, self)
        with quiet():
            scales = self.expand(self.scales(x), x.shape)
            return self.element.spacing(get_array_module(x).asarray(x / scales)) * scales

    def clip(self, y: Array, s: Array) -> Array:
        """Return y: the elements are clipped already."""
        return y

    def __str__(self) -> str:
        return next((name for name, fmt in SCALED.items() if fmt == self), repr(self))


def _mx(element: Format) -> BlockScaled:
    return BlockScaled(element, Exponent(8), 32)


SCALED = {
    "mxfp8_e4m3": _mx(PRESETS["e4m3"]),
    "mxfp8_e5m2": _mx(PRESETS["e5m2"]),
    "mxfp6_e3m2": _mx(PRESETS["e3m2"]),
    "mxfp6_e2m3": _mx(PRESETS["e2m3"]),
    "mxfp4_e2m1": _mx(PRESETS["e2m1"]),
    # Without -2, as in Microsoft's microxcaling: it would raise the block's exponent when rounded again.
    "mxint8": _mx(FixedPoint(8, 6, symmetric=True)),
    "nvfp4": BlockScaled(PRESETS["e2m1"], PRESETS["e4m3"], 16, tensor=True),
}
