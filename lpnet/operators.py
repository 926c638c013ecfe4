"""NumPy's operators, methods and attributes, for Tensor. Each operation is the function of its name in functions."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from .backend import Array, device_of, on_host, to_device

if TYPE_CHECKING:
    from .tensor import Tensor

Axis = int | tuple[int, ...] | None


class Operators:
    """What a Tensor has in common with a NumPy array."""

    data: Array
    _F: ClassVar[ModuleType]  # lpnet.functions, which needs Tensor and so puts itself here
    __array_ufunc__ = None  # numpy_array + tensor asks the tensor
    __hash__ = object.__hash__  # by identity: a tensor is no value, although == compares its numbers

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return self.data.shape

    @property
    def dtype(self) -> np.dtype:
        """The type of its numbers, float32 or float64."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.data.size

    @property
    def device(self) -> str:
        """Where the data lives, "cpu" or "cuda"."""
        return device_of(self.data)

    def numpy(self) -> np.ndarray:
        """Return the data as a NumPy array, without copying on the CPU."""
        return to_device(self.data, "cpu")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Return the data as a NumPy array for np.asarray and what calls it; raises TypeError if it is on the GPU."""
        if not on_host(self.data):
            raise TypeError("a tensor on the GPU does not become a NumPy array by itself; call numpy()")
        if copy is False and dtype is not None and self.dtype != dtype:
            raise ValueError(f"a tensor of dtype {self.dtype} does not become {np.dtype(dtype)} without a copy")
        return np.array(self.data, dtype) if copy else np.asarray(self.data, dtype)

    def item(self) -> float:
        """Return the only element as a Python float."""
        return self.data.item()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.data)  # of one element, as NumPy has it

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("iteration over a tensor of no axes; item() is its number")
        return (self[i] for i in range(len(self)))

    def __format__(self, spec: str) -> str:
        return format(self.item() if self.size == 1 else self.data, spec) if spec else str(self)

    def __getitem__(self, key: Any) -> Tensor:
        return self._F.getitem(self, key)

    def __add__(self, other: Any) -> Tensor:
        return self._F.add(self, other)

    def __radd__(self, other: Any) -> Tensor:
        return self._F.add(other, self)

    def __sub__(self, other: Any) -> Tensor:
        return self._F.sub(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return self._F.sub(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return self._F.mul(self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return self._F.mul(other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return self._F.div(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return self._F.div(other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return self._F.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return self._F.matmul(other, self)

    def __pow__(self, n: Any) -> Tensor:
        return self._F.power(self, n)

    def __rpow__(self, x: Any) -> Tensor:
        return self._F.power(x, self)

    def __mod__(self, other: Any) -> Tensor:
        return self._F.remainder(self, other)

    def __rmod__(self, other: Any) -> Tensor:
        return self._F.remainder(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return self._F.floor_divide(self, other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        return self._F.floor_divide(other, self)

    def __neg__(self) -> Tensor:
        return self._F.neg(self)

    def __pos__(self) -> Tensor:
        return self  # type: ignore[return-value]  # there is no other kind

    def __abs__(self) -> Tensor:
        return self._F.absolute(self)

    def __lt__(self, other: Any) -> Array:
        return self._F.arithmetic.compare(operator.lt, self, other)

    def __le__(self, other: Any) -> Array:
        return self._F.arithmetic.compare(operator.le, self, other)

    def __gt__(self, other: Any) -> Array:
        return self._F.arithmetic.compare(operator.gt, self, other)

    def __ge__(self, other: Any) -> Array:
        return self._F.arithmetic.compare(operator.ge, self, other)

    def __eq__(self, other: Any) -> Array:
        return self._F.arithmetic.compare(operator.eq, self, other)

    def __ne__(self, other: Any) -> Array:
        return self._F.arithmetic.compare(operator.ne, self, other)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the sum along `axis` (None: of all elements)."""
        return self._F.sum(self, axis, keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the mean along `axis` (None: of all elements)."""
        return self._F.mean(self, axis, keepdims)

    def var(self, axis: Axis = None, keepdims: bool = False, correction: float = 0) -> Tensor:
        """Return the variance along `axis`, divided by the number of elements less `correction`."""
        return self._F.var(self, axis, keepdims, correction)

    def std(self, axis: Axis = None, keepdims: bool = False, correction: float = 0) -> Tensor:
        """Return the square root of `var`."""
        return self._F.std(self, axis, keepdims, correction)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the largest element along `axis`."""
        return self._F.max(self, axis, keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the smallest element along `axis`."""
        return self._F.min(self, axis, keepdims)

    def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the product along `axis`."""
        return self._F.prod(self, axis, keepdims)

    def cumsum(self, axis: int = 0) -> Tensor:
        """Return the sums of the elements up to each, along `axis`."""
        return self._F.cumsum(self, axis)

    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Array:
        """Return the place of the largest element along `axis`, an array of integers."""
        return self._F.argmax(self, axis, keepdims)

    def dot(self, other: Any) -> Tensor:
        """Return the matrix product with `other`."""
        return self._F.matmul(self, other)

    def squeeze(self, axis: Axis = None) -> Tensor:
        """Return the tensor without its axes of length 1, or without the given ones."""
        return self._F.squeeze(self, axis)

    def reshape(self, *shape: Any) -> Tensor:
        """Return the tensor in another shape of the same size, given as numbers or as one sequence."""
        return self._F.reshape(self, _flat(shape))

    def transpose(self, *axes: Any) -> Tensor:
        """Return the tensor with its axes in another order, given as numbers or as one sequence (none: reversed)."""
        return self._F.transpose(self, _flat(axes) if axes else None)

    @property
    def T(self) -> Tensor:
        """The tensor with its axes in reverse order."""
        return self._F.transpose(self)

    def swapaxes(self, i: int, j: int) -> Tensor:
        """Return the tensor with two axes exchanged."""
        axes = list(range(self.ndim))
        i, j = (np.lib.array_utils.normalize_axis_index(axis, self.ndim) for axis in (i, j))
        axes[i], axes[j] = j, i
        return self._F.transpose(self, axes)

    def flatten(self) -> Tensor:
        """Return the tensor with all axes joined to one."""
        return self._F.reshape(self, -1)

    def ravel(self) -> Tensor:
        """Return the tensor with all axes joined to one."""
        return self._F.reshape(self, -1)

    def clip(self, low: Any, high: Any) -> Tensor:
        """Return the tensor with what is below `low` or above `high` replaced by it."""
        return self._F.minimum(self._F.maximum(self, low), high)

    def to(self, device: str) -> Tensor:
        """Return the tensor on "cpu" or "cuda": itself if it is there already."""
        return self._F.shape.move(self, device)


def _flat(args: tuple[Any, ...]) -> Any:
    """Let x.reshape(2, 3) and x.reshape((2, 3)) mean the same."""
    return args[0] if len(args) == 1 and not isinstance(args[0], int | np.integer) else args
