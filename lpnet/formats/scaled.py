"""Scaled formats: elements of a small format times a scale that each block stores in another (OCP MX, NVFP4)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backend import Array, cast, get_array_module, on_host
from ..distributed import shards
from ..random import Stream
from ..rounding import Stochastic
from ..validate import check_fields, choice, number
from .base import Format, divide, float_array, quiet, ruled, tiny
from .block import block_name
from .fixed import FixedPoint
from .floating import PRESETS
from .table import table
from .tiles import PRODUCT, Blocked, Exponent, tiled

POWERS = ("floor", "even", "rms")  # rules for scales that are powers of two
RULES = (*POWERS, "ceil", "nearest", "four_over_six")
DEVIATIONS = 2.92247856  # standard deviations of a Gaussian that e2m1 reaches with the least squared error: Quartet


@dataclass(frozen=True)
class BlockScaled(Blocked):
    """Elements of one format times scales of another, one scale for every `block` neighbours along `axis`.

    axis="product" is the axis that the next product sums over: 1 of arrays of four axes, else the last. A pair as block
    is so many rows, along the axis before, and columns. With amax a block's largest magnitude, `scaling` makes its
    scale:

    - "floor": 2^(floor(log2 amax) - emax), 2^emax the largest power of two among the elements: the largest number may
      saturate. The rule of powers of two unless another is given.
    - "even": the same of amax rounded half up to as many mantissa bits as the largest elements have.
    - "rms": 2^floor(log2(2.92247856 rms / element.max)), rms the root of the block's mean square.
    - "ceil": amax / element.max rounded up, so that nothing saturates.
    - "nearest": amax / element.max rounded to nearest. The rule of other scales unless another is given.
    - "four_over_six": as "nearest", or of 3/2 amax where that gives the lower squared error in rounding to nearest.

    With `tensor` the whole array has a float32 scale besides, amax / (scale.max * element.max), or with "four_over_six"
    the power of two below scale.max for it, and block scales are in its units. Without, `factor` may multiply all
    scales: 4/3 with "floor" leaves nothing that saturates in e2m1. Elements are x / scale in x's dtype, rounded and
    saturated as their format says; a scale that became 0 makes its block 0. A block that holds an infinity or NaN has
    the scale NaN, and so is NaN throughout (OCP MX 1.0, section 5.1); it does not count for the scale of the array.

    Raises ValueError for arguments out of range. Sources: OCP Microscaling Formats (MX) 1.0, 2023, section 6.3; torchao
    ("even", "ceil"); NVIDIA, "Pretraining large language models with NVFP4", 2025; Cook et al., "Four over six", 2025;
    Castro et al., "Quartet", 2025 (the factor).
    """

    element: Format
    scale: Format
    block: int | tuple[int, int]
    axis: int | str = PRODUCT
    tensor: bool = False  # one more scale, a float32, for the whole array
    scaling: str | None = None  # None: "floor" for powers of two, else "nearest"
    factor: float = 1.0

    def __post_init__(self) -> None:
        for name in ("element", "scale"):
            if not isinstance(getattr(self, name), Format) or isinstance(getattr(self, name), Blocked):
                raise ValueError(f"BlockScaled: {name} must be a Format of single numbers, got {getattr(self, name)!r}")
        self._check_axis()
        self._check_block()
        check_fields(self, tensor=bool)
        powers = isinstance(self.scale, Exponent)
        if self.scaling is None:
            self._set("scaling", "floor" if powers else "nearest")
        choice("BlockScaled", "scaling", self.scaling, RULES if powers else RULES[len(POWERS) :])
        self._set("factor", number("BlockScaled", "factor", self.factor, 0, ends="(]"))
        if self.tensor and self.factor != 1:
            raise ValueError(f"BlockScaled: factor must be 1 with tensor=True, got {self.factor!r}")

    @property
    def idempotent(self) -> bool:
        """Whether rounded numbers stay put: scales not by floor, factors and asymmetric elements move them."""
        asymmetric = self.element.min < -self.element.max
        return isinstance(self.scale, Exponent) and self.scaling == "floor" and self.factor == 1 and not asymmetric

    @property
    def emax(self) -> int:
        """The exponent of the largest power of two among the elements."""
        return math.frexp(self.element.max)[1] - 1

    def block_scales(self, x: Array) -> tuple[Array, Any]:
        """Return the scale of each block, in float64, and that of the array."""
        largest = self.finite(self.block_max(x))
        tensor_scale = self.tensor_scale_of(largest)
        return self.scales_of(x, largest, tensor_scale), tensor_scale

    def finite(self, largest: Array) -> Array:
        """Return largest magnitudes in float64, NaN where they are not finite."""
        largest = cast(largest, np.float64)
        return get_array_module(largest).where(largest < np.inf, largest, np.nan)

    def tensor_scale_of(self, largest: Array) -> Any:
        """Return what multiplies the scales of all blocks, given their largest magnitudes."""
        if not self.tensor:
            return float(self.factor)
        if not largest.size:
            return largest.dtype.type(tiny(np.dtype(np.float32)))
        xp, top = get_array_module(largest), self.scale.max
        if self.scaling == "four_over_six":
            top = 2.0 ** (math.frexp(top)[1] - 1)  # leaves room for 3/2 of it
        found = shards.largest(xp.where(xp.isnan(largest), 0.0, largest).max()) / (top * self.element.max)
        # At least the smallest float32, so that an array of zeros or of tiny numbers has a scale to divide by
        found = xp.clip(found, tiny(np.dtype(np.float32)), float(np.finfo(np.float32).max))
        return cast(cast(found, np.float32), np.float64)

    def scales_of(
        self, x: Array, largest: Array, tensor_scale: Any, rounded: Callable[[Array], Array] | None = None
    ) -> Array:
        """Return the scale of each block of x in units of `tensor_scale`, given their largest magnitudes.

        `rounded(scales)` is x rounded to nearest with these scales, by the kernels where they call this.
        """
        to_scale, unit = ruled(self.scale), self.element.max * (tensor_scale if self.tensor else 1.0)
        if self.scaling == "rms":
            return to_scale(self._root_mean_square(x, largest) * DEVIATIONS / self.element.max, "toward_zero")
        if self.scaling in POWERS:
            top = self._to_even(largest) if self.scaling == "even" else largest
            return to_scale(top / 2.0**self.emax, "toward_zero")
        if self.scaling == "ceil":
            return to_scale(largest / unit, "ceil")
        scales = to_scale(largest / unit, "nearest")
        if self.scaling == "nearest" or not x.size:
            return scales
        larger = to_scale(largest / unit * 1.5, "nearest")
        rounded = rounded or (lambda scales: self._rounded(x, scales, tensor_scale, "nearest", None))
        better = self._error(x, rounded(larger)) < self._error(x, rounded(scales))
        return get_array_module(x).where(better, larger, scales)

    def _to_even(self, largest: Array) -> Array:
        """Return what a largest magnitude is taken for by the rule "even"."""
        xp, top = get_array_module(largest), np.array([self.element.max])
        steps = 2.0**self.emax / float(np.ravel(self.element.spacing(top))[0])  # among the mantissas, from 1 to 2
        mantissa, exponent = xp.frexp(largest)
        return xp.ldexp(xp.where(mantissa >= 1 - 0.25 / steps, 1.0, mantissa), exponent)

    def _error(self, x: Array, y: Array) -> Array:
        """Return the squared error of each block, added up place by place: the same bits for any layout."""
        error = y - x
        error *= error
        return self._sums(error)

    def _sums(self, x: Array) -> Array:
        """Return the sum of each block."""
        for axis, block in reversed(self.tiles(x.shape)):
            x = sum(get_array_module(x).moveaxis(tiled(x, axis, min(block, x.shape[axis])), axis + 1, 0))
        return x

    def _root_mean_square(self, x: Array, largest: Array) -> Array:
        """Return that of each block, NaN where `largest` is; added up place by place in float64."""
        if not x.size:
            return largest
        xp, wide = get_array_module(x), cast(x, np.float64)
        squares = wide * wide
        numbers = self._sums(xp.ones_like(squares))
        return xp.where(xp.isnan(largest), largest, xp.sqrt(self._sums(squares) / numbers))

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
            return self._rounded(x, *self.block_scales(x), rounding, stream)

    def _rounded(
        self, x: Array, scales: Array, tensor_scale: Any, rounding: str | Stochastic, stream: Stream | None
    ) -> Array:
        elements = self.elements(x, cast(scales * tensor_scale, x.dtype), rounding, stream)
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
        return _name(self) or repr(self)


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

_OPTIONS = {"floor", "even", "rms", "ceil", "nearest", "4/6", "4/3"}  # in names


def scaled(name: str) -> BlockScaled | None:
    """Return the format of a name with options, as "nvfp4:16x16:4/6", "mxfp4_e2m1:floor:4/3" or "nf4:64"; else None.

    Blocks of a format of single numbers have float32 scales.
    """
    base, *options = name.split(":")
    blocks = [tuple(map(int, option.split("x"))) for option in options if re.fullmatch(r"\d+(x\d+)?", option)]
    rules = [option for option in options if option in _OPTIONS]
    if len(blocks) > 1 or len(blocks) + len(rules) < len(options) or not options:
        return None
    changed: dict[str, Any] = {"block": blocks[0] if len(blocks[0]) > 1 else blocks[0][0]} if blocks else {}
    for rule in rules:
        changed.update({"factor": 4 / 3} if rule == "4/3" else {"scaling": "four_over_six" if rule == "4/6" else rule})
    if base in SCALED:
        return replace(SCALED[base], **changed)
    element = PRESETS.get(base) or table(base)
    return BlockScaled(element, PRESETS["fp32"], **changed) if element is not None and blocks else None


def _name(fmt: BlockScaled) -> str | None:
    """Return the name of a format, if it has one."""
    bases = [(name, known) for name, known in SCALED.items() if known.element == fmt.element]
    bases.append((str(fmt.element), BlockScaled(fmt.element, PRESETS["fp32"], 1)))
    for name, known in bases:
        options = []
        if fmt.block != known.block:
            options.append(block_name(fmt.block))
        if fmt.scaling != known.scaling:
            options.append("4/6" if fmt.scaling == "four_over_six" else str(fmt.scaling))
        if fmt.factor == 4 / 3:
            options.append("4/3")
        text = ":".join([name, *options])
        if fmt == (scaled(text) if options else SCALED.get(name)):
            return text
    return None
