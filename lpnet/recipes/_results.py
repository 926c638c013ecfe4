"""Recipes that round results: SWALP's block floating point, 8 bits of IBM, WAGE's integers, bfloat16 throughout.

IBM8 and WAGE are read in QPyTorch's repository (Tiiiger/QPyTorch, examples/IBM8 and examples/WAGE); its other examples
are `Precision.uniform` of one format. What is not in the values, as it is no function of one role's numbers:

- IBM8 rounds the images and the logits to e6m9 besides; the first is a transform of the data, the second a mark on one
  layer, `model.classifier.precision = Precision(...)`.
- WAGE's network has neither BatchNorm nor biases, its loss is half the squared distance to one-hot labels, summed, and
  its learning rate (8, from epoch 200 on 1, from 250 on 1/8) is inside of the rounding of the gradient: train with
  `SGD(lr=1)`, and assign `optimizer.precision = wage(lr)` where it changes.
"""

from __future__ import annotations

import math

import numpy as np

from ..accumulator import Accumulator
from ..backend import Array, get_array_module
from ..formats import FixedPoint, FloatingPoint
from ..precision import Precision, Quantizer
from ..products import Products
from ..random import Stream
from ._recipe import Recipe

# QPyTorch's floating point has no special values, and rounds ties away from zero.
FP8, FP16 = FloatingPoint(5, 2, specials="none"), FloatingPoint(6, 9, specials="none")


def swalp(bits: int = 8, big_block: bool = False, stream: Stream | None = None) -> Recipe:
    """Return SWALP's block floating point for all five roles, rounded stochastically; no wider copy of the weights.

    A block is a sample or an output channel, or (big_block) the whole tensor. Give the average to `optim.SWALP`.
    Source: Yang et al., "SWALP", ICML 2019, Algorithm 2 and section 5 (arXiv 1904.11943).
    """
    uniform = Precision.uniform(f"bfp{bits}:tensor" if big_block else f"bfp{bits}", stream=stream)
    return Recipe.of("swalp", uniform)


def ibm8(stream: Stream | None = None, sums: bool = False) -> Recipe:
    """Return QPyTorch's 8-bit floats: e5m2 to nearest, weights accumulated and momentum in e6m9, the loss times 1000.

    sums, whether products are added up in e6m9, too, in chunks of 64 terms, as in the paper: hundreds of times slower.
    Source: Wang et al., "Training deep neural networks with 8-bit floating point numbers", NeurIPS 2018
    (arXiv 1812.08011).
    """
    narrow, wide = Quantizer(FP8, "nearest_away", stream), Quantizer(FP16, "stochastic", stream)
    added = Products(accumulate=Accumulator(add=FP16, every=64, outer=FP16)) if sums else None
    roles = Precision(narrow, narrow, narrow, narrow, momentum=wide, accumulator=wide, products=added)
    return Recipe.of("ibm8", roles, loss_scale=1000.0)


def wage(lr: float = 8.0, stream: Stream | None = None) -> Recipe:
    """Return WAGE's 2-8-8-8 bits, for weights, activations, gradients and errors; for `SGD(lr=1)` without momentum.

    Weights are -1/2, 0 or 1/2, divided by a power of two that the layer's inputs give; they are accumulated on the
    grid of the gradients, and held in [-1/2, 1/2]. Errors and gradients are first divided by the power of two that
    brings the largest into [1/2, 1]; activations that were clipped get no error. Source: Wu et al., "Training and
    inference with integers in deep neural networks", ICLR 2018, as QPyTorch has it (arXiv 1802.04680).
    """
    ternary, byte = FixedPoint(2, 1, symmetric=True), FixedPoint(8, 7, symmetric=True)
    free = FixedPoint(8, 7, saturate=False)
    roles = Precision(
        weight=lambda w: Quantizer(ternary, "nearest")(w) / w.dtype.type(layer_scale(w.shape)),
        activation=Quantizer(byte, "nearest", mask=True),
        error=lambda e: Quantizer(byte, "stochastic", stream)(shifted(e)),
        gradient=lambda g: Quantizer(free, "stochastic", stream)(shifted(g) * g.dtype.type(lr / 128)),
        accumulator=lambda w: w.clip(-0.5, 0.5),
    )
    return Recipe.of("wage", roles)


def bf16_kahan() -> Recipe:
    """Return bfloat16 to nearest for every number, with what the weights lose kept in bfloat16 and added later.

    The compensation (Kahan's summation) is state of the optimizer; Adam's second moment is in bfloat16, too.
    Source: Zamirai et al., "Revisiting BFloat16 training", 2021 (arXiv 2010.06192).
    """
    q = Quantizer("bf16", "nearest")
    return Recipe.of("bf16_kahan", Precision(q, q, q, q, q, second_moment=q), compensate=True)


def shifted(x: Array) -> Array:
    """Return `x` divided by the smallest power of two that is not below its largest magnitude; zeros as they are."""
    largest = float(abs(x).max())
    if largest == 0 or not math.isfinite(largest):
        return x
    mantissa, exponent = math.frexp(largest)  # largest = mantissa 2^exponent, mantissa in [1/2, 1)
    return get_array_module(x).ldexp(x, np.int32(-(exponent - (mantissa == 0.5))))


def layer_scale(shape: tuple[int, ...], bits: int = 2) -> float:
    """Return the power of two, at least 1, by which WAGE divides the weights of a layer of this shape."""
    limit, least = math.sqrt(6 / math.prod(shape[1:])), 1.5 / 2 ** (bits - 1)
    return max(2.0 ** round(math.log2(least / limit)), 1.0)
