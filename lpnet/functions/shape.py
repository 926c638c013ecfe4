"""Operations that move values without changing them. None rounds, but `broadcast_to`, whose gradient is a sum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backend import Array, choose_device, device_of, get_array_module, to_device
from ..kernels import keeps_digits, kernel
from ..tensor import Function, Tensor


class Identity(Function):
    # y = x, rounded like any other result: where a layer's output enters the format
    def forward(self, x: Array) -> Array:
        return x

    def backward(self, gy: Array) -> Array:
        return gy


def identity(x: Any) -> Tensor:
    """Return x, rounded with the active precision; the error that comes back is rounded too."""
    return Identity()(x)


class Move(Function):
    # y = x, on another device
    rounds = False

    def __init__(self, device: str) -> None:
        self.device = device

    def forward(self, x: Array) -> Array:
        self.back = device_of(x)
        return to_device(x, self.device)

    def backward(self, gy: Array) -> Array:
        return to_device(gy, self.back)


def move(x: Any, device: str) -> Tensor:
    """Return x on "cpu" or "cuda": itself if it is there already. Gradients go back to where x is."""
    return x if device_of(x.data) == choose_device(device) else Move(device)(x)


class Reshape(Function):
    rounds = False

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x: Array) -> Array:
        self.x_shape = x.shape
        return x.reshape(self.shape)

    def backward(self, gy: Array) -> Array:
        return gy.reshape(self.x_shape)


def reshape(x: Any, shape: int | Sequence[int]) -> Tensor:
    """Return x in another shape of the same size; one length may be -1."""
    return Reshape((shape,) if isinstance(shape, int | np.integer) else tuple(shape))(x)


class Transpose(Function):
    rounds = False

    def __init__(self, axes: tuple[int, ...] | None) -> None:
        self.axes = axes

    def forward(self, x: Array) -> Array:
        return x.transpose(self.axes)

    def backward(self, gy: Array) -> Array:
        return gy.transpose(None if self.axes is None else np.argsort([i % gy.ndim for i in self.axes]).tolist())


def transpose(x: Any, axes: Sequence[int] | None = None) -> Tensor:
    """Return x with its axes in the order `axes` (None: reversed)."""
    return Transpose(None if axes is None else tuple(axes))(x)


class GetItem(Function):
    def __init__(self, key: Any) -> None:
        self.key = key
        self.rounds = False if _is_basic(key) else "backward"  # an element picked twice gets both gradients

    @keeps_digits
    def forward(self, x: Array) -> Array:
        self.like = x
        return x[self.key]

    def backward(self, gy: Array) -> Array:
        xp = get_array_module(gy)
        gx = xp.zeros_like(self.like)
        if _is_basic(self.key):
            gx[self.key] = gy
            return kernel("carry_digits", xp)(gx, gy)
        xp.add.at(gx, self.key, gy)
        return gx


def _is_basic(key: Any) -> bool:
    parts = key if isinstance(key, tuple) else (key,)
    return all(isinstance(k, int | np.integer | slice) or k is None or k is Ellipsis for k in parts)


def getitem(x: Any, key: Any) -> Tensor:
    """Return x[key], for NumPy's basic and advanced indexing."""
    return GetItem(key)(x)


class BroadcastTo(Function):
    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape

    def forward(self, x: Array) -> Array:
        return get_array_module(x).broadcast_to(x, self.shape)

    def backward(self, gy: Array) -> Array:
        return gy  # the engine sums it to x's shape


def broadcast_to(x: Any, shape: Sequence[int]) -> Tensor:
    """Return x stretched to `shape`."""
    return BroadcastTo(tuple(shape))(x)


def _some(xs: Sequence[Any], name: str) -> Sequence[Any]:
    if not xs:
        raise ValueError(f"{name}: needs at least one array")
    return xs


class Concatenate(Function):
    rounds = False

    def __init__(self, axis: int) -> None:
        self.axis = axis

    @keeps_digits
    def forward(self, *xs: Array) -> Array:
        y = get_array_module(xs[0]).concatenate(xs, axis=self.axis)
        self.cuts = [int(i) for i in np.cumsum([x.shape[self.axis] for x in xs])[:-1]]
        return y

    def backward(self, gy: Array) -> tuple[Array, ...]:
        return tuple(get_array_module(gy).split(gy, self.cuts, axis=self.axis))


def concatenate(xs: Sequence[Any], axis: int = 0) -> Tensor:
    """Return the tensors `xs` joined along an axis they have."""
    return Concatenate(axis)(*_some(xs, "concatenate"))


class Stack(Function):
    rounds = False

    def __init__(self, axis: int) -> None:
        self.axis = axis

    @keeps_digits
    def forward(self, *xs: Array) -> Array:
        return get_array_module(xs[0]).stack(xs, axis=self.axis)

    def backward(self, gy: Array) -> tuple[Array, ...]:
        return tuple(get_array_module(gy).moveaxis(gy, self.axis, 0))


def stack(xs: Sequence[Any], axis: int = 0) -> Tensor:
    """Return the tensors `xs`, all of one shape, joined along a new axis."""
    return Stack(axis)(*_some(xs, "stack"))


class Pad(Function):
    rounds = False

    def __init__(self, width: Any, value: float) -> None:
        self.width, self.value = width, value

    def forward(self, x: Array) -> Array:
        width = np.broadcast_to(self.width, (x.ndim, 2)).tolist()
        self.inside = tuple(slice(before, before + n) for (before, _), n in zip(width, x.shape, strict=True))
        return get_array_module(x).pad(x, width, constant_values=self.value)

    def backward(self, gy: Array) -> Array:
        return gy[self.inside]


def pad(x: Any, width: Any, value: float = 0.0) -> Tensor:
    """Return x with `width` (a number, (before, after), or such a pair per axis) elements of `value` around it."""
    return Pad(width, value)(x)


def squeeze(x: Tensor, axis: int | tuple[int, ...] | None = None) -> Tensor:
    """Return x without its axes of length 1, or without the given ones."""
    return reshape(x, np.squeeze(np.empty(x.shape, bool), axis).shape)


def expand_dims(x: Tensor, axis: int | tuple[int, ...]) -> Tensor:
    """Return x with new axes of length 1."""
    return reshape(x, np.expand_dims(np.empty(x.shape, bool), axis).shape)


def split(x: Tensor, sizes: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]:
    """Return x cut along `axis` into parts of `sizes`, or of one size, the last of which may be shorter.

    Raises ValueError for sizes that do not add up to the axis.
    """
    n = x.shape[axis]
    if isinstance(sizes, int | np.integer):
        if sizes < 1:
            raise ValueError(f"split: sizes must be positive, got {sizes}")
        sizes = [min(int(sizes), n - start) for start in range(0, n, int(sizes))]
    if min(sizes, default=0) < 0 or sum(sizes) != n:
        raise ValueError(f"split: sizes {list(sizes)} do not add up to the {n} of axis {axis}")
    ends = np.cumsum(sizes).tolist()
    before = (slice(None),) * (axis % x.ndim)
    return tuple(getitem(x, (*before, slice(end - size, end))) for size, end in zip(sizes, ends, strict=True))
