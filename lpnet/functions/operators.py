"""NumPy's operators and methods on Tensor, each one of the functions of this package."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import check_one_device
from ..tensor import Array, Tensor, as_tensors
from . import _linear, reduction, shape
from . import arithmetic as a


def _flat(args: tuple[Any, ...]) -> Any:
    """Let x.reshape(2, 3) and x.reshape((2, 3)) mean the same."""
    return args[0] if len(args) == 1 and not isinstance(args[0], int | np.integer) else args


def _swapaxes(x: Tensor, i: int, j: int) -> Tensor:
    axes = list(range(x.ndim))
    axes[i], axes[j] = axes[j], axes[i]
    return shape.transpose(x, axes)


def _comparison(name: str) -> Any:
    def compare(self: Tensor, other: Any) -> Array:
        if other is None or isinstance(other, str):
            return NotImplemented
        if not isinstance(other, int | float):
            other = as_tensors((self, other))[1].data
            check_one_device(name.strip("_"), self.data, other)
        return getattr(self.data, name)(other)

    return compare


METHODS = {
    "__add__": a.add,
    "__radd__": lambda x, y: a.add(y, x),
    "__sub__": a.sub,
    "__rsub__": lambda x, y: a.sub(y, x),
    "__mul__": a.mul,
    "__rmul__": lambda x, y: a.mul(y, x),
    "__truediv__": a.div,
    "__rtruediv__": lambda x, y: a.div(y, x),
    "__matmul__": _linear.matmul,
    "__rmatmul__": lambda x, y: _linear.matmul(y, x),
    "__pow__": a.power,
    "__neg__": a.neg,
    "__abs__": a.absolute,
    "__getitem__": shape.getitem,
    "sum": reduction.sum,
    "mean": reduction.mean,
    "var": reduction.var,
    "std": reduction.std,
    "max": reduction.max,
    "min": reduction.min,
    "dot": _linear.matmul,
    "squeeze": shape.squeeze,
    "reshape": lambda x, *shape_: shape.reshape(x, _flat(shape_)),
    "transpose": lambda x, *axes: shape.transpose(x, _flat(axes) if axes else None),
    "swapaxes": _swapaxes,
    "flatten": lambda x: shape.reshape(x, -1),
    "ravel": lambda x: shape.reshape(x, -1),
    "clip": lambda x, low, high: a.minimum(a.maximum(x, low), high),
    "to": shape.move,
    "T": property(shape.transpose),
    **{f"__{name}__": _comparison(f"__{name}__") for name in ("lt", "le", "gt", "ge", "eq", "ne")},
}

for _name, _method in METHODS.items():
    setattr(Tensor, _name, _method)
Tensor.__hash__ = object.__hash__  # by identity: a tensor is no value, although == compares its numbers
