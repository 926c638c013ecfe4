"""What papers train in, as values of `Precision`: SWALP's block floating point, QPyTorch's 8 bits (IBM8) and WAGE.

The last two are read in QPyTorch's repository (Tiiiger/QPyTorch, examples/IBM8 and examples/WAGE); its other examples
are `Precision.uniform` of one format.

Not in these values, as they are no function of one role's numbers:
- IBM8 scales the loss by 1000: `fit(..., scaler=LossScaler(1000))`. It rounds the images and the logits to e6m9
  besides; the first is a transform of the data, the second a mark on one layer, `model.classifier.precision =
  Precision(...)`.
- Its sums in chunks of 16-bit floating point are not simulated there, and not here.
- WAGE gives no error to activations that were clipped. Rounding here passes every error on; to have it, put a clip
  before it in the network. Its network has neither BatchNorm nor biases, its loss is half the squared distance to
  one-hot labels, summed, and its learning rate (8, from epoch 200 on 1, from 250 on 1/8) is inside of the rounding of
  the gradient: train with `SGD(lr=1)`, and assign `optimizer.precision = wage(lr)` where it changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .backend import get_array_module
from .formats import FixedPoint, FloatingPoint
from .precision import Precision, Quantizer
from .random import Stream
from .registry import Registry
from .tensor import Array

# QPyTorch's floating point has no special values, and rounds ties away from zero.
FP8, FP16 = FloatingPoint(5, 2, specials="none"), FloatingPoint(6, 9, specials="none")


def swalp(bits: int = 8, big_block: bool = False, stream: Stream | None = None) -> Precision:
    """Return SWALP's block floating point for all five roles, rounded stochastically, without a wider copy of weights.

    A block is a sample or an output channel, or (big_block) the whole tensor. Source: Yang et al., "SWALP", ICML 2019,
    Algorithm 2 and section 5.
    """
    return Precision.uniform(f"bfp{bits}:tensor" if big_block else f"bfp{bits}", stream=stream)


def ibm8(stream: Stream | None = None) -> Precision:
    """Return QPyTorch's 8-bit floating point: e5m2 to nearest, with weights accumulated and momentum in e6m9.

    Source: Wang et al., "Training deep neural networks with 8-bit floating point numbers", NeurIPS 2018.
    """
    narrow, wide = Quantizer(FP8, "nearest_away", stream), Quantizer(FP16, "stochastic", stream)
    return Precision(narrow, narrow, narrow, narrow, momentum=wide, accumulator=wide)


def wage(lr: float = 8.0, stream: Stream | None = None) -> Precision:
    """Return WAGE's 2-8-8-8 bits, for weights, activations, gradients and errors; for `SGD(lr=1)` without momentum.

    Weights are -1/2, 0 or 1/2, divided by a power of two that the layer's inputs give; they are accumulated on the
    grid of the gradients, and held in [-1/2, 1/2]. Errors and gradients are first divided by the power of two that
    brings the largest into [1/2, 1]. Source: Wu et al., "Training and inference with integers in deep neural networks",
    ICLR 2018, as QPyTorch has it.
    """
    ternary, byte = FixedPoint(2, 1, symmetric=True), FixedPoint(8, 7, symmetric=True)
    free = FixedPoint(8, 7, saturate=False)
    return Precision(
        weight=lambda w: Quantizer(ternary, "nearest")(w) / w.dtype.type(layer_scale(w.shape)),
        activation=Quantizer(byte, "nearest"),
        error=lambda e: Quantizer(byte, "stochastic", stream)(shifted(e)),
        gradient=lambda g: Quantizer(free, "stochastic", stream)(shifted(g) * g.dtype.type(lr / 128)),
        accumulator=lambda w: w.clip(-0.5, 0.5),
    )


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


_ALL: dict[str, Callable[..., Precision]] = {"swalp": swalp, "ibm8": ibm8, "wage": wage}
RECIPES = Registry("recipe", _ALL)


def names() -> list[str]:
    """Return the names of the recipes."""
    return RECIPES.names()
