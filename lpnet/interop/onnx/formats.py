"""Formats in ONNX: rounding as QuantizeLinear and DequantizeLinear, and constants in their codes.

| format | type of its numbers | scale |
|---|---|---|
| fixed2.F to fixed16.F | INT8, INT16; stored also INT4 | 2^-F |
| e4m3, e5m2; e2m1; e3m2, e2m3 | FLOAT8E4M3FN, FLOAT8E5M2; FLOAT4E2M1; FLOAT6E3M2, FLOAT6E2M3 | 1 |
| bfp2 to bfp16, each way to cut blocks | INT8, INT16; stored also INT4 | one a block, a power of two |
| MX and other BlockScaled of these | as its element | one a block, of E8M0 or 8 bits |
| fp16, bf16, fp32 | FLOAT16, BFLOAT16, FLOAT, by Cast | none |

All others have no type there: tf32, other eXmY, wider fixed point, formats that do not saturate but for 8-bit floating
point and fp16 and bf16, tables, users' formats. Where a block's largest magnitude is below 2^-126, and where it is no
number, results may differ from lpnet's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...formats import Blocked, BlockFloatingPoint, BlockScaled, Encoded, Exponent, FixedPoint, FloatingPoint, Format
from ...formats.codes import pack, unpack
from ...formats.floating import PRESETS
from .graph import Graph, Shape

_FLOATS = {  # type and the first opset that has it
    "e4m3": ("FLOAT8E4M3FN", 21),
    "e5m2": ("FLOAT8E5M2", 21),
    "e2m1": ("FLOAT4E2M1", 23),
    "e3m2": ("FLOAT6E3M2", 28),
    "e2m3": ("FLOAT6E2M3", 28),
    "fp16": ("FLOAT16", 21),
    "bf16": ("BFLOAT16", 21),
    "fp32": ("FLOAT", 21),
}
_CAST = ("FLOAT16", "BFLOAT16", "FLOAT")  # what QuantizeLinear does not give
_E8M0, _E8M0_OPSET = "FLOAT8E8M0", 24


@dataclass(frozen=True)
class Element:
    """How single numbers lie there: a type, which counts in units."""

    kind: str
    opset: int = 21
    unit: float = 1.0


def element(fmt: Format) -> Element:
    """Return how numbers of a format that has no blocks lie in ONNX; raises ValueError where no type has them."""
    if type(fmt) is FixedPoint and fmt.saturate and 2 <= fmt.wl <= 16:
        return Element("INT8" if fmt.wl <= 8 else "INT16", unit=fmt.smallest)
    if type(fmt) is FloatingPoint:
        for name, (kind, opset) in _FLOATS.items():
            if replace(fmt, saturate=True) == replace(PRESETS[name], saturate=True):
                return Element(kind, opset)
    raise ValueError(
        f"export: {fmt} has no type in ONNX; those that have are fixed2.F to fixed16.F, "
        f"{', '.join(_FLOATS)}, and blocks of these"
    )


def rounded(graph: Graph, fmt: Format, x: str, shape: Shape) -> str:
    """Write that x, of this shape, is rounded to nearest; return the name of the result."""
    if isinstance(fmt, Blocked):
        return _in_blocks(graph, fmt, x, shape)
    kind = element(fmt)
    if isinstance(fmt, FixedPoint) or fmt.saturate:
        x = graph.node("Clip", x, graph.constant(fmt.min), graph.constant(fmt.max))
    if kind.kind in _CAST:
        return graph.cast(graph.cast(x, kind.kind), "FLOAT")
    scale = graph.constant(kind.unit)
    saturate = {"saturate": int(fmt.saturate)} if kind.kind.startswith("FLOAT8") else {}
    q = graph.node("QuantizeLinear", x, scale, opset=kind.opset, output_dtype=graph.kind(kind.kind), **saturate)
    return graph.node("DequantizeLinear", q, scale)


def _in_blocks(graph: Graph, fmt: Blocked, x: str, shape: Shape) -> str:
    kind, cut = _element_of_block(fmt), _cut(fmt, shape)
    scale, whole = _block_scales(graph, fmt, _largest(graph, fmt, x, shape))
    divisor = scale if whole is None else _usable(graph, scale, whole)
    unit = graph.constant(kind.unit)
    fine = graph.node("Mul", divisor, unit) if kind.unit != 1 else divisor
    q = graph.node("QuantizeLinear", x, fine, opset=kind.opset, output_dtype=graph.kind(kind.kind), **cut)
    if isinstance(fmt.element, FixedPoint):  # whatever is beyond its ends is not beyond the type's
        low, high = (round(end / kind.unit) for end in (fmt.element.min, fmt.element.max))
        q = graph.node("Clip", q, *(graph.constant(end, kind.kind.lower()) for end in (low, high)))
    y = graph.node("DequantizeLinear", q, fine if whole is None else scale, **cut)
    return y if whole is None else graph.node("Mul", y, whole)


def _element_of_block(fmt: Blocked) -> Element:
    """Return how the elements lie there; raises ValueError for blocks that ONNX has no form for."""
    powers = fmt.scale in (Exponent(8), Exponent(8, has_nan=False))
    bytes_ = type(fmt.scale) is FloatingPoint and element(fmt.scale).kind.startswith("FLOAT8")
    if type(fmt) not in (BlockFloatingPoint, BlockScaled) or not (powers or bytes_):
        raise ValueError(f"export: {fmt} has scales that ONNX has no form for: 8 exponent bits, e4m3 and e5m2 have one")
    if isinstance(fmt.block, tuple) or (isinstance(fmt, BlockScaled) and fmt != replace(fmt, scaling=None, factor=1.0)):
        raise ValueError(f"export: {fmt} has blocks of two dimensions, or a rule of scales, that ONNX has no form for")
    if not fmt.element.saturate or (fmt.tensor and element(fmt.element).unit != 1):
        raise ValueError(f"export: {fmt} has elements that ONNX has no form for")
    return element(fmt.element)


def _cut(fmt: Blocked, shape: Shape) -> dict[str, int]:
    """Return the attributes that say how an array of this shape falls into blocks."""
    blocks = fmt.block_shape(shape)
    if math.prod(blocks) == 1 and (fmt.block is None or not shape):
        return {}
    axis = fmt.positive_axis(shape)
    return {"axis": axis} | ({"block_size": min(fmt.block, shape[axis])} if isinstance(fmt.block, int) else {})


def _largest(graph: Graph, fmt: Blocked, x: str, shape: Shape) -> str:
    """Write the largest magnitude of every block, as a scalar, along one axis, or one a tile, as `_cut` wants it."""
    cut, x = _cut(fmt, shape), graph.node("Abs", x)
    if not cut:
        return graph.reduce("ReduceMax", x)
    axis, block = cut["axis"], cut.get("block_size")
    if block is None:
        return graph.reduce("ReduceMax", x, [i for i in range(len(shape)) if i != axis])
    if axis == 0 and graph.batch is not None:
        raise ValueError(f"export: {fmt} cuts the batch into tiles: give its length in input_shape, not None")
    tiles = -(-shape[axis] // block)
    if missing := tiles * block - shape[axis]:
        pads = graph.constant([0, missing], np.int64)
        x = graph.node("Pad", x, pads, graph.constant(0.0), graph.constant([axis], np.int64))
    tiled = graph.node("Reshape", x, graph.lengths((*shape[:axis], tiles, block, *shape[axis + 1 :]), shape))
    return graph.reduce("ReduceMax", tiled, [axis + 1])  # (a, T, block, b) -> (a, T, b)


def _block_scales(graph: Graph, fmt: Blocked, largest: str) -> tuple[str, str | None]:
    """Write the scale of every block, and that of the array where it has one."""
    if isinstance(fmt.scale, Exponent):
        unit = 1.0 if isinstance(fmt, BlockFloatingPoint) else 2.0 ** (math.frexp(fmt.element.max)[1] - 1)
        quotient = graph.node("Mul", largest, graph.constant(1 / unit))
        code = graph.cast(quotient, _E8M0, _E8M0_OPSET, round_mode="down", saturate=1)
        return graph.cast(code, "FLOAT"), None
    largest, divisor, whole = graph.cast(largest, "DOUBLE"), graph.constant(fmt.element.max, np.float64), None
    if fmt.tensor:
        whole = _whole(graph, fmt, largest)
        divisor = graph.node("Mul", divisor, graph.cast(whole, "DOUBLE"))
    code = graph.cast(graph.node("Div", largest, divisor), element(fmt.scale).kind, saturate=1)
    return graph.cast(code, "FLOAT"), whole or graph.constant(1.0)


def _whole(graph: Graph, fmt: Blocked, largest: str) -> str:
    limits = np.finfo(np.float32)
    top = graph.node("Div", graph.reduce("ReduceMax", largest), graph.constant(fmt.scale.max * fmt.element.max, float))
    ends = (graph.constant(end, float) for end in (limits.smallest_subnormal, limits.max))
    return graph.cast(graph.node("Clip", top, *ends), "FLOAT")


def _usable(graph: Graph, scale: str, whole: str) -> str:
    """Write scale times that of the array, rounded once, and 1 where that is 0: such blocks become 0 afterwards."""
    product = graph.node("Mul", graph.cast(scale, "DOUBLE"), graph.cast(whole, "DOUBLE"))
    product = graph.cast(product, "FLOAT")
    return graph.node("Where", graph.node("Greater", product, graph.constant(0.0)), product, graph.constant(1.0))


def stored(graph: Graph, name: str, encoded: Encoded) -> str:
    """Write a constant in its codes; return the name of the numbers that are made of them."""
    fmt, shape = encoded.format, encoded.shape
    if not isinstance(fmt, Blocked):
        kind = element(fmt)
        codes = _codes(graph, name, encoded, fmt, kind)
        if kind.kind in _CAST:
            return graph.cast(codes, "FLOAT")
        return graph.node("DequantizeLinear", codes, graph.constant(kind.unit), opset=kind.opset)
    kind, cut = _element_of_block(fmt), _cut(fmt, shape)
    header = 4 if fmt.tensor else 0
    blocks = fmt.block_shape(shape) if "block_size" in cut else (-1,) if cut else ()
    scales = unpack(encoded.scales[header:], fmt.scale.bits, math.prod(fmt.block_shape(shape)))
    numbers = fmt.scale.from_codes(scales, np.dtype(np.float64)).reshape(blocks)
    scale = _stored_scale(graph, f"{name}.scale", fmt, scales, numbers)
    fine = graph.node("Mul", scale, graph.constant(kind.unit)) if kind.unit != 1 else scale
    codes = _codes(graph, name, encoded, fmt.element, kind)
    y = graph.node("DequantizeLinear", codes, fine, opset=kind.opset, **cut)
    return graph.node("Mul", y, graph.constant(encoded.scales[:4].copy().view("<f4")[0])) if fmt.tensor else y


def _stored_scale(graph: Graph, name: str, fmt: Blocked, codes: np.ndarray, numbers: np.ndarray) -> str:
    if fmt.scale == Exponent(8):
        code = graph.stored(name, graph.kind(_E8M0), numbers.shape, codes.astype(np.uint8).tobytes())
        return graph.cast(code, "FLOAT", _E8M0_OPSET)
    if isinstance(fmt.scale, FloatingPoint):
        kind = graph.kind(element(fmt.scale).kind)
        return graph.cast(graph.stored(name, kind, numbers.shape, codes.astype(np.uint8).tobytes()), "FLOAT")
    return graph.constant(numbers, np.float32, name)


def _codes(graph: Graph, name: str, encoded: Encoded, fmt: Any, kind: Element) -> str:
    """Write the codes of single numbers: integers in the narrowest type that has them, floats as lpnet packs them."""
    if isinstance(fmt, FloatingPoint):
        return graph.stored(f"{name}.codes", graph.kind(kind.kind), encoded.shape, encoded.codes.tobytes())
    width = next(width for width in (4, 8, 16) if fmt.wl <= width)
    n = unpack(encoded.codes, fmt.wl, encoded.size).astype(np.int64)
    n -= (n >> (fmt.wl - 1)) << fmt.wl  # the highest bit counts negative
    octets = pack(n & (2**width - 1), width).tobytes()
    return graph.stored(f"{name}.codes", graph.kind(f"INT{width}"), encoded.shape, octets)
