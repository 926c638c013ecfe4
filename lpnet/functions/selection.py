"""Operations that choose between values. None rounds but gradients that are sums."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._sweep import place_of
from ..backend import Array, check_one_device, get_array_module, on_host, to_device_of
from ..kernels import keeps_digits
from ..tensor import Function, Tensor, as_array
from ..validate import integer
from .shape import GetItem


class Where(Function):
    # y = a where condition else b
    rounds = False

    def __init__(self, condition: Array) -> None:
        self.condition = condition

    @keeps_digits
    def forward(self, a: Array, b: Array) -> Array:
        check_one_device("where", self.condition, a, b)
        return get_array_module(a).where(self.condition, a, b)

    @keeps_digits
    def backward(self, gy: Array) -> tuple[Array, Array]:
        xp = get_array_module(gy)
        zero = xp.zeros_like(gy)
        return xp.where(self.condition, gy, zero), xp.where(self.condition, zero, gy)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """Return `a` where `condition` (an array of truth values) holds, `b` elsewhere."""
    return Where(_mask(condition))(a, b)


class Maximum(Where):
    # y = max(a, b)
    def __init__(self) -> None:
        """The condition is found by `forward`."""

    @keeps_digits
    def forward(self, a: Array, b: Array) -> Array:
        self.condition = (a >= b) | (a != a)  # NaN is the larger, wherever it is
        return get_array_module(a).maximum(a, b)


def maximum(a: Any, b: Any) -> Tensor:
    """Return the larger of a and b, element by element; where they are equal the gradient goes to `a`."""
    return Maximum()(a, b)


class Minimum(Maximum):
    # y = min(a, b)
    @keeps_digits
    def forward(self, a: Array, b: Array) -> Array:
        self.condition = (a <= b) | (a != a)
        return get_array_module(a).minimum(a, b)


def minimum(a: Any, b: Any) -> Tensor:
    """Return the smaller of a and b, element by element; where they are equal the gradient goes to `a`."""
    return Minimum()(a, b)


class Embedding(GetItem):
    # y[..., :] = W[index[...]], a row for each index
    def __init__(self, index: Array, padding_idx: int | None, given: Tensor | None = None) -> None:
        super().__init__(index)
        self.padding_idx = padding_idx
        self.index = None if given is None else place_of(given)  # for whoever writes the operation down

    @keeps_digits
    def forward(self, W: Array) -> Array:
        if W.ndim != 2:
            raise ValueError(f"embedding: expected a weight (rows, D), got {W.shape}")
        if on_host(self.key) and self.key.size and not 0 <= self.key.min() <= self.key.max() < len(W):
            given = f"{self.key.min()}..{self.key.max()}"
            raise ValueError(f"embedding: indices must be in 0..{len(W) - 1}, got {given}")
        self.key = to_device_of(self.key, W)
        return super().forward(W)

    def backward(self, gy: Array) -> Array:
        gW = super().backward(gy)
        if self.padding_idx is not None:
            gW[self.padding_idx] = 0
        return gW


def embedding(index: Any, W: Any, padding_idx: int | None = None) -> Tensor:
    """Return the rows of W (rows, D) that whole numbers name, an array or Tensor: (..., D) for indices (...).

    The row padding_idx gets no gradient. Raises TypeError for indices that are not whole, ValueError for those that W
    does not have; indices on the GPU are not waited for.
    """
    tensor = index if isinstance(index, Tensor) else None
    given = tensor.data if tensor is not None else index if hasattr(index, "dtype") else np.asarray(index)
    index = given.astype(np.int64)  # a Tensor has floats
    if given.dtype.kind not in "iuf" or (on_host(given) and (index != given).any()):
        raise TypeError(f"embedding: indices must be whole numbers, got {given.dtype} such as {given.ravel()[:3]}")
    rows = len(as_array(W))
    if padding_idx is not None:
        padding_idx = integer("embedding", "padding_idx", padding_idx, -rows, rows - 1)
    return Embedding(index, padding_idx, tensor)(W)


def _mask(condition: Any) -> Array:
    array = condition.data if isinstance(condition, Tensor) else condition
    return get_array_module(array).asarray(array, dtype=bool)
