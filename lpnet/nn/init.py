"""Initial values, drawn on the host from the default stream so that every device starts from the same weights."""

from __future__ import annotations

import math

import numpy as np

from .. import random
from ..tensor import Parameter


def uniform(shape: tuple[int, ...], bound: float) -> Parameter:
    """Return a parameter drawn evenly from [-bound, bound)."""
    return Parameter(random.current().generator().uniform(-bound, bound, shape).astype(np.float32))


def normal(shape: tuple[int, ...], std: float) -> Parameter:
    """Return a parameter drawn from a normal distribution of mean 0."""
    return Parameter((random.current().generator().standard_normal(shape) * std).astype(np.float32))


def he_normal(shape: tuple[int, ...]) -> Parameter:
    """Return a convolution's weight (O, C, K, K) with variance 2 / (O K K), as VGG and ResNet start.

    Source: He et al., "Delving deep into rectifiers", ICCV 2015, with fan-out.
    """
    return normal(shape, math.sqrt(2 / (shape[0] * math.prod(shape[2:]))))


def zeros(*shape: int) -> Parameter:
    """Return a parameter of zeros."""
    return Parameter(np.zeros(shape, np.float32))


def ones(*shape: int) -> Parameter:
    """Return a parameter of ones."""
    return Parameter(np.ones(shape, np.float32))
