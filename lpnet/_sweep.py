"""The reverse sweep: from a result back to the leaves it was made from, each function after all that use its result."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np

from .backend import Array, elementwise, get_array_module

if TYPE_CHECKING:
    from .tensor import Function, Tensor


class Node:
    """A result's place in the graph: what the sweep asks of a tensor, and not its numbers.

    Those are kept by functions whose backward needs them, and by nobody else once the user has let the tensor go.
    """

    role, requires_grad = "error", True

    def __init__(self, creator: Function, y: Array) -> None:
        self.creator, self.shape, self.dtype = creator, y.shape, y.dtype
        self.retained: Callable[[], Tensor | None] | None = None


Place: TypeAlias = Union["Tensor", Node]  # in the graph: a leaf is there itself
Keep: TypeAlias = Callable[["Tensor", Array], None]  # takes a tensor that is to have its gradient, and that


def place_of(x: Tensor) -> Place:
    """Return where a tensor is in the graph."""
    return x.node or x


def sweep(root: Tensor, seed: Array, keep: Keep) -> None:
    """Walk the graph from `root` back to its leaves, each function after all that use its result."""
    _visit(place_of(root), {id(place_of(root)): seed}, keep)


def _visit(
    root: Place, grads: dict[int, Array], keep: Callable[[Tensor, Array], None], ends: Iterable[Place] = ()
) -> None:
    """Walk back to the leaves, or to `ends`; grads are of places still to be visited."""
    for place in users_first(root, ends):
        gy = grads.pop(id(place), None)  # None: every user's backward gave None
        if gy is not None and (taker := _taker(place)) is not None:
            keep(taker, gy)
        if place.creator is not None:
            if gy is not None and (again := place.creator.made_again()) is not None:
                grads[id(again)] = gy
                _visit(again, grads, keep, place.creator.inputs)
            elif gy is not None:
                _step(place.creator, gy, grads)
            place.creator.__dict__.clear()  # frees what backward had kept


def _taker(place: Place) -> Tensor | None:
    """Return the tensor that is to get the gradient, if one is."""
    if not isinstance(place, Node):
        return place
    return None if place.retained is None else place.retained()


def _step(function: Function, gy: Array, grads: dict[int, Array]) -> None:
    """Add to `grads` what one function gives back to its inputs."""
    function.unpack()
    with np.errstate(under="ignore"):
        gxs = function.backward(gy if function.unclipped is None else gy * function.unclipped)
    for x, gx in zip(function.inputs, gxs if isinstance(gxs, tuple) else (gxs,), strict=True):
        if gx is None or not x.requires_grad:
            continue
        summed, gx = gx.shape != x.shape, _unbroadcast(gx, x)
        if function.rounds or summed:
            gx = _round_error(function, x, gx)
        if id(x) in grads:  # a value used more than once: the sum is an operation too
            total = get_array_module(gx).asarray(elementwise(get_array_module(gx).add, grads[id(x)], gx))
            gx = _round_error(function, x, total)
        grads[id(x)] = gx


def _round_error(function: Function, x: Place, gx: Array) -> Array:
    return function.precision.round("error", gx) if x.role == "error" else gx


def users_first(root: Place, ends: Iterable[Place] = ()) -> list[Place]:
    """Return the places from `root` to before `ends` that need a gradient, each before those it was made from."""
    order, seen, stack = [], set(map(id, ends)), [(root, False)]
    while stack:
        place, done = stack.pop()
        if done:
            order.append(place)
        elif id(place) not in seen:
            seen.add(id(place))
            stack.append((place, True))
            stack += [(x, False) for x in _inputs(place) if x.requires_grad]
    return order[::-1]


def _inputs(place: Place) -> tuple[Place, ...]:
    if place.creator is None:
        return ()
    if not place.creator.__dict__:
        raise RuntimeError("backward: this graph was walked before and is freed; run the forward pass again")
    return place.creator.inputs


def _unbroadcast(gx: Array, x: Place) -> Array:
    """Return `gx` summed over the axes along which `x` was broadcast, as an array of x's dtype."""
    if gx.shape != x.shape:
        lead = gx.ndim - len(x.shape)
        stretched = tuple(i for i, n in enumerate(x.shape, lead) if n == 1 and gx.shape[i] != 1)
        gx = gx.sum(axis=tuple(range(lead)) + stretched).reshape(x.shape)
    return get_array_module(gx).asarray(gx, dtype=x.dtype)
