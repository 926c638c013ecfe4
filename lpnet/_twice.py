"""A part of a graph that is not kept: the reverse sweep computes it again when it is there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import precision
from ._sweep import Node, Place, place_of, users_first
from .replay import Log
from .tensor import Function, Tensor, codes_of, grad_enabled, with_grad


def twice(function: Callable[..., Tensor], *inputs: Any) -> Tensor:
    """Return what `function` gives for the inputs; the graph keeps these only, and the function."""
    if not grad_enabled():
        return function(*inputs)
    log = Log()
    with log.written():
        y = function(*inputs)
    if y.node is None or any(y.node is x.node for x in inputs if isinstance(x, Tensor)):
        return y
    y.node = Node(Twice(function, inputs, log, y.node), y.data)
    return y


class Twice(Function):
    """What stands in a graph for a part of it. To the sweep its inputs are those of the part, and all leaves of it."""

    def __init__(self, function: Callable[..., Tensor], inputs: tuple[Any, ...], log: Log, end: Node) -> None:
        self.function, self.log, self.precision = function, log, precision.active()
        self.arguments = [Argument(x) if isinstance(x, Tensor) and x.node is not None else x for x in inputs]
        given = [place_of(x) for x in inputs if isinstance(x, Tensor)]
        leaves = [place for place in users_first(end, given) if place.creator is None]
        self.inputs = (*given, *leaves)

    def made_again(self) -> Place:
        """Return the result's place in a graph that leads to `inputs`."""
        arguments = [x.tensor() if isinstance(x, Argument) else x for x in self.arguments]
        with with_grad(), precision.use(self.precision), self.log.read():
            return place_of(self.function(*arguments))


class Argument:
    """A result that a part of a graph begins with: its numbers, or their codes, and its place."""

    def __init__(self, x: Tensor) -> None:
        self.node, self.kept_as, self.codes = x.node, x.kept_as, codes_of(x)
        self.data = x.data if self.codes is None else None

    def tensor(self) -> Tensor:
        """Return a tensor in that place."""
        x = Tensor(self.codes.unpack() if self.codes is not None else self.data)
        x.node, x.requires_grad, x.kept_as, x.codes = self.node, True, self.kept_as, self.codes
        return x
