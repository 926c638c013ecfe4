"""One sample where an operation takes batches, as in PyTorch."""

from __future__ import annotations

from typing import Any

from ..backend import Array
from ..tensor import Function, as_array


class OfOne(Function):
    """An operation on batches, of a batch of one sample, whose axis its result does not have."""

    def __init__(self, operation: Function) -> None:
        self.operation, self.rounds = operation, operation.rounds

    def forward(self, x: Array, *rest: Array) -> Array:
        self.operation.needs, self.operation.precision = self.needs, self.precision  # what a call of it would have set
        return self.operation.forward(x[None], *rest)[0]  # (C, ...) -> (1, C, ...) -> (O, ...)

    def backward(self, gy: Array) -> tuple[Array | None, ...]:
        gradients = self.operation.backward(gy[None])  # (O, ...) -> (1, O, ...)
        gx, *rest = gradients if isinstance(gradients, tuple) else (gradients,)
        return (None if gx is None else gx[0], *rest)


def of_batches(operation: Function, x: Any, ndim: int) -> Function:
    """Return what does `operation` on x: on a batch, of `ndim` axes, or on one sample, of one axis less."""
    return OfOne(operation) if as_array(x).ndim == ndim - 1 else operation
