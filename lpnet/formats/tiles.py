"""Blocks of numbers that share a scale: how an array falls into blocks, and what all block formats have in common."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import Array, cast, get_array_module, to_device
from ..distributed import shards
from ..random import Stream
from ..rounding import Stochastic
from ..validate import check_fields, integer, pair
from .base import Format, exact_pow2floor, float_array, quiet, tiny
from .codes import Encoded, pack, unpack

SHORT = 16  # numbers in a row that is not worth a loop of its own
PRODUCT = "product"  # in place of an axis: the one over which the next product sums


def product_axis(ndim: int) -> int:
    """Return the axis over which the next product sums: channels of images and kernels, else the last."""
    return 1 if ndim == 4 else ndim - 1


@dataclass(frozen=True)
class Exponent(Format):
    """Powers of two from 2^-bias up, stored as a biased exponent: no sign, no zero. The scale of a block.

    The bias is 2^(bits-1), less 1 if the highest code is NaN. `Exponent(8)` is E8M0 of OCP MX 1.0.
    """

    bits: int = 8
    has_nan: bool = True

    def __post_init__(self) -> None:
        check_fields(self, bits=(2, 11), has_nan=bool)

    @property
    def bias(self) -> int:
        """What is added to the exponent to give the code."""
        return 2 ** (self.bits - 1) - self.has_nan

    @property
    def max(self) -> float:
        """The largest number."""
        return 2.0 ** (2 ** (self.bits - 1) - 1)

    @property
    def smallest(self) -> float:
        """The smallest number."""
        return 2.0**-self.bias

    def spacing(self, x: Array) -> Array:
        """Return `2^floor(log2 |x|)`."""
        return exact_pow2floor(x)

    def clip(self, y: Array, s: Array) -> Array:
        """Saturate, within the dtype's own powers of two."""
        highest = 2.0**127 if y.dtype.itemsize == 4 else 2.0**1023
        return y.clip(max(self.smallest, tiny(y.dtype)), min(self.max, highest))

    def __str__(self) -> str:
        return "E8M0" if self == Exponent(8) else f"{self.bits}-bit exponent"

    def to_codes(self, y: np.ndarray) -> np.ndarray:
        """Return the biased exponents; all ones for NaN."""
        if np.isnan(y).any() and not self.has_nan:
            raise ValueError(f"{self}: x holds NaN, which has no code in this format")
        codes = np.frexp(np.asarray(y, np.float64))[1] - 1 + self.bias
        return np.where(np.isnan(y), 2**self.bits - 1, codes).astype(np.uint64)

    def from_codes(self, codes: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return the powers of two of biased exponents."""
        y = np.ldexp(1.0, codes.astype(np.int32) - self.bias)
        if self.has_nan:
            y[codes == 2**self.bits - 1] = np.nan
        return y.astype(dtype)


def tiled(x: Array, axis: int, block: int) -> Array:
    """Return x with an axis cut into tiles, the last one filled up with zeros: (a, n, b) -> (a, tiles, block, b)."""
    if missing := -x.shape[axis] % block:
        x = get_array_module(x).pad(x, [(0, missing if i == axis else 0) for i in range(x.ndim)])
    return x.reshape(*x.shape[:axis], -1, block, *x.shape[axis + 1 :])


class Blocked(Format):
    """A format whose every number is an element of the format `element` times the scale of its block.

    `bits`, `max` and `smallest` are those of an element at scale 1. Formats built on this say how to find the scales.
    """

    axis: int | str | None  # "product": see `product_axis`
    block: int | tuple[int, int] | None  # neighbours along the axis; of a pair, the first along the axis before it
    if TYPE_CHECKING:  # else a property would be the default of a subclass's field

        @property
        def element(self) -> Format: ...
        @property
        def scale(self) -> Format: ...

    tensor: bool = False  # whether a float32 scale of the whole array multiplies those of the blocks
    factor: float = 1.0  # what multiplies all scales, where there is no scale of the whole array

    def _check_axis(self) -> None:
        if self.axis != PRODUCT:
            self._set("axis", integer(type(self).__name__, f'axis, if not "{PRODUCT}",', self.axis, -64, 63))

    def _check_block(self) -> None:
        owner, several = type(self).__name__, isinstance(self.block, tuple | list)
        sizes = pair(owner, "block", self.block)
        for size in sizes:
            integer(owner, "block", size, 1, 2**31)
        self._set("block", sizes if several else sizes[0])

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)  # the way to set a field of a frozen dataclass

    def block_scales(self, x: Array) -> tuple[Array, Any]:
        """Return the scale of each block, shape `block_shape(x.shape)`, NaN for a block of NaN, and the array's."""
        raise NotImplementedError(f"{type(self).__name__} defines no block_scales")

    def elements(self, x: Array, scales: Array, rounding: str | Stochastic, stream: Stream | None) -> Array:
        """Return the numbers of x rounded to elements, in units of the scales (as from `scales`)."""
        raise NotImplementedError(f"{type(self).__name__} defines no elements")

    def scales(self, x: Array) -> Array:
        """Return what the elements of each block are multiplied with, in x's dtype."""
        scales, tensor_scale = self.block_scales(x)
        return cast(scales * tensor_scale, x.dtype)

    def scaled(self, elements: Array, scales: Array, tensor_scale: Any) -> Array:
        """Return elements times the scale of their block, which is exact, times that of the array."""
        dtype = elements.dtype
        y = elements * self.expand(cast(scales, dtype), elements.shape)
        if self.tensor or self.factor != 1:
            y = y * (dtype.type(tensor_scale) if isinstance(tensor_scale, float) else cast(tensor_scale, dtype))
        return get_array_module(y).asarray(y if self.signed_zero else y + 0.0)

    @property
    def signed_zero(self) -> bool:
        """Whether -0.0 is a number of the format."""
        return self.element.signed_zero

    @property
    def mirrored(self) -> bool:
        """Whether -v is an element where v is."""
        return self.element.mirrored

    @property
    def has_nan(self) -> bool:
        """Whether a block of NaN has a code."""
        return self.scale.has_nan or self.element.has_nan

    def fields(self) -> tuple[tuple[str, int], ...]:
        """Return the parts of an element's code."""
        return self.element.fields()

    @property
    def bits(self) -> int:
        """Bits of an element; the scale of its block comes on top."""
        return self.element.bits

    @property
    def max(self) -> float:
        """The largest element, in units of the block's scale."""
        return self.element.max

    @property
    def min(self) -> float:
        """The lowest element, in units of the block's scale."""
        return self.element.min

    @property
    def smallest(self) -> float:
        """The smallest element above zero, in units of the block's scale."""
        return self.element.smallest

    def along(self, axis: int) -> Blocked:
        """Return the format with blocks along `axis`, whatever axis it names; one a row where rows are its blocks."""
        fmt: Any = self  # a dataclass, as all its subclasses are; axes 0 and 1, -2 and -1 are the two of a matrix
        if fmt.axis is None:
            return fmt
        if isinstance(fmt.block, tuple) and axis ^ 1 > axis:
            return replace(fmt, axis=axis ^ 1, block=fmt.block[::-1])
        return replace(fmt, axis=axis ^ 1 if fmt.block is None else axis)

    def tiles(self, shape: tuple[int, ...]) -> list[tuple[int, int]]:
        """Return which axes of an array are cut into tiles, and how many neighbours on each make one."""
        if self.block is None or self.axis is None or not shape:
            return []
        axis, block = self.positive_axis(shape), self.block
        if not isinstance(block, tuple):
            return [(axis, block)]
        if axis == 0 < len(shape) - 1:
            raise ValueError(f"{self}: blocks of {block[0]} x {block[1]} need an axis before axis 0 of shape {shape}")
        return [(axis - 1, block[0]), (axis, block[1])] if axis else [(0, block[1])]

    def block_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of an array that holds one number for each block of an array of `shape`."""
        if self.block is None or self.axis is None:
            axis = self.positive_axis(shape) if self.axis is not None and len(shape) > 1 else None
            return tuple(n if i == axis else 1 for i, n in enumerate(shape))
        cut = dict(self.tiles(shape))
        return tuple(-(-n // cut.get(i, 1)) for i, n in enumerate(shape))

    def block_max(self, x: Array) -> Array:
        """Return the largest magnitude of every block of x: NaN if there is a NaN in it, 0 if the block is empty."""
        xp, shape = get_array_module(x), self.block_shape(x.shape)
        if x.size == 0 or x.ndim == 0:
            return abs(x) if x.size else xp.zeros(shape, x.dtype)
        if self.block is None:
            over = tuple(i for i, n in enumerate(shape) if n == 1)
            return abs(xp.maximum(x.max(axis=over, keepdims=True), -x.min(axis=over, keepdims=True)))
        largest = abs(x)
        for axis, block in reversed(self.tiles(x.shape)):
            tiles = tiled(largest, axis, min(block, x.shape[axis]))
            if math.prod(tiles.shape[axis + 2 :]) < SHORT:  # whole rows are four times as fast as a short last axis
                tiles = xp.ascontiguousarray(xp.moveaxis(tiles, axis + 1, 0))
                largest = tiles.max(axis=0)
            else:
                largest = tiles.max(axis=axis + 1)
        return largest

    def largest(self, x: Array) -> Array:
        """Return `block_max(x)`; where a block reaches over a batch that was cut into shards, over all of them.

        Tiles along the samples end where a shard ends.
        """
        most = self.block_max(x)
        return most if self.block is not None or self.rows_independent(x) else shards.largest(most)

    def expand(self, values: Array, shape: tuple[int, ...]) -> Array:
        """Return one value a block, as from `block_max`, in a shape that broadcasts to `shape`."""
        for axis, block in self.tiles(shape):
            values = get_array_module(values).repeat(values, min(block, shape[axis]), axis=axis)
            values = values[(slice(None),) * axis + (slice(shape[axis]),)]  # a ragged last tile is shorter
        return values

    def inside(self, x: Array) -> Array:
        """Return where x lies between the ends of its block; nowhere in one of NaN."""
        with quiet():
            units = self.expand(self.scales(float_array(x, self)), x.shape)
            return (x <= self.max * units) & (x >= self.min * units)

    def rows_independent(self, x: Array) -> int:
        """Return how many neighbouring x[i] share scales with no others; 0 if all may."""
        return 0 if self.tensor else self.rows_together(x)

    def rows_together(self, x: Array) -> int:
        """Return how many neighbouring x[i] are in the same blocks; 0 if all may be."""
        if self.axis is None or x.ndim < (2 if self.block is None else 1):
            return 0
        if self.block is None:
            return int(self.positive_axis(x.shape) == 0)
        return dict(self.tiles(x.shape)).get(0, 1)

    def positive_axis(self, shape: tuple[int, ...]) -> int:
        """Return the axis counted from the front; raises ValueError if `shape` has no such axis."""
        axis = product_axis(len(shape)) if self.axis == PRODUCT else self.axis
        if not isinstance(axis, int) or not -len(shape) <= axis < len(shape):
            raise ValueError(f"{self}: axis {self.axis} is out of range for an array of shape {shape}")
        return axis % len(shape)

    def code_bits(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return how many bits an array of `shape` takes encoded: those of its elements and those of the scales."""
        scales = math.prod(self.block_shape(shape)) * self.scale.bits
        return math.prod(shape) * self.element.bits, scales + 32 * bool(self.tensor)

    def encode(self, x: Array) -> Encoded:
        """Return `x`, rounded to nearest, in packed codes, with one scale code a block.

        A block of NaN has the scale's NaN, or where the scale has none an element's. See `Format.encode`.
        """
        x = float_array(to_device(float_array(x, self), "cpu"), self)
        with quiet():
            scales, tensor_scale = self.block_scales(x)
            elements = self.elements(x, (scales * tensor_scale).astype(x.dtype), "nearest", None)
        lost = np.isnan(scales)
        # the scale says NaN; where it cannot, the elements do, or have no code either
        elements = np.where(self.expand(lost, x.shape), x.dtype.type(0 if self.scale.has_nan else np.nan), elements)
        codes = pack(self.element.to_codes(elements), self.element.bits)
        scale_codes = self.scale.to_codes(scales if self.scale.has_nan else np.where(lost, 1, scales))
        header = np.asarray([tensor_scale] if self.tensor else [], "<f4").view(np.uint8)
        return Encoded(self, x.shape, x.dtype, codes, np.concatenate([header, pack(scale_codes, self.scale.bits)]))

    def decode(self, encoded: Encoded) -> np.ndarray:
        """Return the numbers of an array that `encode` encoded."""
        header, shape = 4 if self.tensor else 0, self.block_shape(encoded.shape)
        scale_codes = unpack(encoded.scales[header:], self.scale.bits, math.prod(shape))
        scales = self.scale.from_codes(scale_codes, np.dtype(np.float64)).reshape(shape)
        tensor_scale = float(encoded.scales[:header].copy().view("<f4")[0]) if self.tensor else self.factor
        codes = unpack(encoded.codes, self.element.bits, encoded.size)
        elements = self.element.from_codes(codes, encoded.dtype).reshape(encoded.shape)
        with quiet():
            return self.scaled(elements, scales, tensor_scale)
