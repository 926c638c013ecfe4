"""Recipes that round the operands of products: what hardware of 8 and 4 bits does."""

from __future__ import annotations

from collections.abc import Iterable

from ..accumulator import Accumulator
from ..formats import FixedPoint, FloatingPoint
from ..pertensor import PerTensor
from ..precision import Precision, Quantizer
from ..products import Operand, Products
from ._recipe import Recipe

Layers = Iterable[str | type]  # that stay in float: types, names, "first" and "last"
ENDS = ("first", "last")


def _recipe(name: str, products: Products, exact: Layers, **roles: Quantizer) -> Recipe:
    layers = (exact,) if isinstance(exact, str | type) else tuple(exact)
    return Recipe.of(name, Precision(products=products, **roles), exact=layers)


def mxfp8(exact: Layers = ()) -> Recipe:
    """Return MXFP8: all six operands in e4m3 to nearest, in blocks of 32 with scales that nothing exceeds.

    Weights and states are in float. Source: Mishra et al., "Recipes for pre-training LLMs with MXFP8", 2025
    (arXiv 2506.08027).
    """
    return _recipe("mxfp8", Products.uniform("mxfp8_e4m3:ceil"), exact)


def nvfp4(exact: Layers = ENDS, rotate: int | None = 16) -> Recipe:
    """Return NVFP4: blocks of 16, of weights 16x16, stochastic errors, and a rotated product for the weight gradient.

    The signs of the rotation are fixed; first and last layers, weights and states are in float. Source: NVIDIA et al.,
    "Pretraining large language models with NVFP4", 2025, as TransformerEngine has it (arXiv 2509.25149).
    """
    x, W, gy = Operand("nvfp4"), Operand("nvfp4:16x16"), Operand("nvfp4", "stochastic")
    products = Products(
        x=x,
        W=W,
        gy_input=gy,
        W_input=W,
        gy_weight=Operand("nvfp4", "stochastic", rotate),
        x_weight=Operand("nvfp4", "nearest", rotate),
    )
    return _recipe("nvfp4", products, exact)


def deepseek_v3(exact: Layers = (), sums: bool = False) -> Recipe:
    """Return DeepSeek-V3's e4m3: scales in float for 128 numbers of x and gy and 128x128 of W, moments in bfloat16.

    Weights are in float. sums, whether products are added up in 14 bits, and every 128 terms in float32, as that
    hardware does: hundreds of times slower. Source: DeepSeek-AI et al., "DeepSeek-V3 technical report", 2024, section
    3.3 (arXiv 2412.19437).
    """
    line, square = Operand("e4m3:128"), Operand("e4m3:128x128")
    added = Accumulator(add="e8m13", every=128, outer="fp32") if sums else None
    products = Products(line, square, line, square, line, line, accumulate=added)
    moments = Quantizer("bf16", "nearest")
    return _recipe("deepseek_v3", products, exact, momentum=moments, second_moment=moments)


def quartet(exact: Layers = ()) -> Recipe:
    """Return Quartet's MXFP4: rotated, forward with scales of least error and a mask, backward stochastic.

    Forward, blocks of 32 have scales by their root mean square, and what was clipped gets no gradient. Backward, the
    rounded x and W are rounded again, rotated by signs drawn anew, with scales by the largest number times 4/3, so that
    nothing saturates. Weights and states are in float. Source: Castro et al., "Quartet: Native FP4 training can be
    optimal for large language models", 2025 (arXiv 2505.14669).
    """
    forward = Operand("mxfp4_e2m1:rms", rotate=32, mask=True)
    backward = Operand("mxfp4_e2m1:4/3", "stochastic", rotate=32, redraw=True)
    products = Products(forward, forward, backward, backward, backward, backward, reuse=True)
    return _recipe("quartet", products, exact)


def luq(exact: Layers = ENDS) -> Recipe:
    """Return LUQ: inputs and weights in 4-bit integers, errors in powers of two, stochastic and without bias.

    The seven powers of e3m0 reach up to the largest error of a tensor; below the least, errors are rounded to it or to
    0, by chance. First and last layers, weights and states are in float. Integers reach up to the largest number of a
    tensor, where the paper clips. Source: Chmiel et al., "Accurate neural training with 4-bit matrix multiplications at
    standard formats", ICLR 2023 (arXiv 2112.10769).
    """
    integers = PerTensor(FixedPoint(4, 0, symmetric=True))
    powers = PerTensor(FloatingPoint(3, 0, specials="none"), "stochastic")
    return _recipe("luq", Products(integers, integers, powers, integers, powers, integers), exact)


def fp8_delayed(exact: Layers = (), history: int = 1024) -> Recipe:
    """Return FP8 with delayed scaling: e4m3 forward, e5m2 for errors, a scale a tensor from those steps before.

    The scale brings the largest magnitude of the last `history` steps to the end of the format. Weights and states are
    in float. Source: Micikevicius et al., "FP8 formats for deep learning", 2022, as TransformerEngine's DelayedScaling
    has it (arXiv 2209.05433).
    """
    forward, errors = PerTensor("e4m3", history=history), PerTensor("e5m2", history=history)
    return _recipe("fp8_delayed", Products(forward, forward, errors, forward, errors, forward), exact)
