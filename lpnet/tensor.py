"""Automatic differentiation: a Tensor remembers the Function that made it, and `backward` walks those functions back.

A Function computes with plain arrays and knows nothing of number formats. Its `__call__` rounds what `forward`
returned and the reverse sweep rounds what `backward` returned: there is no other rounding of activations and errors.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Literal

import numpy as np

from . import precision as _precision
from . import tables
from ._sweep import Node, Place, place_of, sweep
from .backend import Array, check_one_device, get_array_module, to_device
from .formats import Format
from .kernels.packing import Packed, pack
from .operators import Operators


class Tensor(Operators):
    """An array of any shape, and how it came about.

    Parameters: data, an array or nested sequence of real numbers; requires_grad, whether `backward` shall leave the
    gradient in `.grad` (an array of the same shape). Raises TypeError for data that is not real numbers.
    """

    role = "error"  # how its gradient is rounded while it flows; a Parameter's is left to the optimizer

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        self.data: Array = as_array(data)
        self.grad: Array | None = None
        self.requires_grad = requires_grad
        self.node: Node | None = None  # None: a leaf, made by the user
        self.kept_as: Format | None = None  # whose codes backward keeps in place of these numbers, if it needs them
        self.codes: Packed | None = None  # these, once a function has kept them

    @property
    def creator(self) -> Function | None:
        """The Function that made this tensor, None for a leaf."""
        return None if self.node is None else self.node.creator

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        """Return a copy that is a leaf: the graph that made the tensor is not copied with it."""
        new = memo[id(self)] = object.__new__(type(self))
        vars(new).update(copy.deepcopy({**vars(self), "node": None}, memo))
        return new

    def detach(self) -> Tensor:
        """Return a tensor of the same data that no gradient flows through."""
        return Tensor(self.data)

    def retain_grad(self) -> Tensor:
        """Have `backward` leave the gradient of this intermediate result in `.grad` too; returns self."""
        if self.node is not None:
            self.node.retained = weakref.ref(self)  # once the tensor is gone nobody can see its gradient
        return self

    def backward(self, grad: Array | None = None) -> None:
        """Add to the `.grad` of every leaf the derivative of this tensor, weighted by `grad`.

        grad has this tensor's shape; None stands for 1 and needs a tensor of one element. The graph is freed on the
        way. Raises ValueError if `grad` does not fit, RuntimeError if nothing requires a gradient.
        """
        _check_required(self)
        if grad is None and self.size != 1:
            raise ValueError(f"backward: a tensor of shape {self.shape} needs `grad`, an array of that shape")
        xp = get_array_module(self.data)
        grad = xp.ones_like(self.data) if grad is None else as_tensors((self, grad))[1].data
        check_one_device("backward", self.data, grad)
        seed = xp.asarray(grad, dtype=self.dtype)
        if seed.shape != self.shape:
            raise ValueError(f"backward: grad has shape {seed.shape}, the tensor {self.shape}")
        sweep(self, seed, _leave)

    def __repr__(self) -> str:
        name, data = type(self).__name__, self.numpy()
        shown = data.reshape(-1) if self.ndim > 2 and self.size > 64 else data  # (...) -> (N,): one line
        return f"{name}({np.array2string(shown, prefix=f'{name}(', threshold=64)}, {self._facts()})"

    def _facts(self) -> str:
        """Return shape, dtype and device, who made it, and the gradient, on one line."""
        facts = [f"shape={self.shape}", f"dtype={self.dtype}"]
        facts += [f"device={self.device}"] if self.device != "cpu" else []
        facts += [f"creator={type(self.creator).__name__}"] if self.creator else []
        if self.grad is not None:
            grad = to_device(self.grad, "cpu").reshape(-1)  # (...) -> (N,)
            facts.append(f"grad={np.array2string(grad, threshold=8, edgeitems=2)}")
        elif self.requires_grad and self.creator is None:
            facts.append("grad=None")
        return ", ".join(facts)

    def _repr_html_(self) -> str:
        held = {"data": self.data, "grad": self.grad}
        rows = [[name, *_spread(to_device(a, "cpu"))] for name, a in held.items() if a is not None and a.size]
        return tables.preformatted(repr(self)) + (tables.html(SPREAD, rows) if rows else "")


SPREAD = ["", "least", "mean", "largest", "zeros"]


def _spread(array: np.ndarray) -> list[str]:
    """Return the least number of an array, the mean, the largest, and the share of zeros, as text."""
    figures = (f"{float(figure):.4g}" for figure in (array.min(), array.mean(dtype=np.float64), array.max()))
    return [*figures, tables.percent(int((array == 0).sum()), array.size)]


class Parameter(Tensor):
    """A leaf that an optimizer trains. Its gradient arrives exact: the optimizer rounds it once, as a gradient."""

    role = "gradient"

    def __init__(self, data: Any) -> None:
        super().__init__(data, requires_grad=True)


_grad_enabled: ContextVar[bool] = ContextVar("grad_enabled", default=True)


def grad_enabled() -> bool:
    """Return whether what is computed now is remembered for `backward`."""
    return _grad_enabled.get()


class no_grad(_precision.Setting):
    """Within this block, or the function or generator it decorates, nothing is remembered for `backward`."""

    def __init__(self) -> None:
        super().__init__(_grad_enabled, False)


def with_grad() -> _precision.Setting:
    """Return a block in which everything is remembered, also within `no_grad`."""
    return _precision.Setting(_grad_enabled, True)


class Function:
    """One operation. A subclass gives `forward` and `backward` on arrays and keeps on itself what backward needs."""

    # What is rounded: the result and the gradients, neither (values only move or are selected: what was representable
    # still is), or only the gradients (values move, but an input may get the sum of several gradients).
    rounds: bool | Literal["backward"] = True
    precision = _precision.EXACT  # the active one, while it runs and when it is walked back
    unclipped: Array | None = None  # where its result was not clipped, if a quantizer asks for that

    def forward(self, *arrays: Array) -> Array:
        """Return the result for the inputs' arrays."""
        raise NotImplementedError

    def backward(self, gy: Array) -> Array | tuple[Array | None, ...]:
        """Return the gradient of each input, or None, given the result's. Broadcasting is undone by the engine."""
        raise NotImplementedError

    def _pack(self, x: Tensor) -> None:
        """Keep the codes of a tensor in place of its numbers, if it has a format for that."""
        names = [name for name, value in vars(self).items() if value is x.data]
        if names and (codes := codes_of(x)) is not None:
            vars(self).update(dict.fromkeys(names, codes))

    def made_again(self) -> Place | None:
        """Return the result's place in a graph made now, for what stands for a part of one; None: it is a function."""
        return None

    def unpack(self) -> None:
        """Give back the numbers whose codes are kept, for `backward`."""
        packed = {name: value for name, value in vars(self).items() if isinstance(value, Packed)}
        vars(self).update((name, codes.unpack()) for name, codes in packed.items())

    def __call__(self, *inputs: Any) -> Tensor:
        """Run `forward`, round with the active precision, and link the graph, which keeps that precision."""
        tensors = as_tensors(inputs)
        self.needs = tuple(x.requires_grad for x in tensors)  # lets backward skip what nobody asks for
        self.precision = precision = _precision.active()
        arrays = [x.data for x in tensors]
        check_one_device(type(self).__name__, *arrays)
        with np.errstate(under="ignore"):  # what is too small is 0, whoever wants to hear of other faults
            y = as_array(self.forward(*arrays))  # NumPy's 0-d results are scalars, not arrays
        if self.rounds is True:
            self.unclipped, y = precision.inside(y), precision.round("activation", y)
        out = Tensor(y)
        if self.rounds is not True:
            out.kept_as = next((x.kept_as for x in tensors if x.kept_as is not None), None)
        if grad_enabled() and any(self.needs):
            for x in (*tensors, out):
                self._pack(x)
            self.inputs = tuple(map(place_of, tensors))
            out.node, out.requires_grad = Node(self, out.data), True
        return out


def codes_of(x: Tensor) -> Packed | None:
    """Return the codes of a tensor's numbers, None if it has no format for that."""
    if x.codes is None and x.kept_as is not None:
        x.codes = pack(x.kept_as, x.data)
    return x.codes


def gradients(root: Tensor, weight: float, leaves: Sequence[Tensor]) -> list[Array | None]:
    """Return the gradient of `weight` times `root`, of one element, for each leaf, whose `.grad` stays as it is.

    It is None for a leaf that `root` was not made from. The graph is freed on the way.
    """
    found: dict[int, Array] = {}
    _check_required(root)
    seed = get_array_module(root.data).full_like(root.data, weight)
    sweep(root, seed, lambda leaf, gy: found.update({id(leaf): gy}))
    return [found.get(id(leaf)) for leaf in leaves]


def _check_required(root: Tensor) -> None:
    if not root.requires_grad:
        raise RuntimeError("backward: no gradient is required of this tensor or anything it was made from")


def _leave(leaf: Tensor, gy: Array) -> None:
    # A copy: gy may be a read-only view, or what another tensor gets too.
    leaf.grad = gy.copy() if leaf.grad is None else as_array(leaf.grad + gy)


def as_array(data: Any) -> Array:
    """Return `data` as an array of floats: float64 stays, everything else becomes float32."""
    if isinstance(data, Tensor):
        return data.data
    xp = get_array_module(data)
    array = data if isinstance(data, np.ndarray | np.generic) or xp is not np else np.asarray(data)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"Tensor: expected real numbers, got an array of dtype {array.dtype}")
    wide = array.dtype == np.float64 and isinstance(data, xp.ndarray | np.generic)  # Python's floats are float32 here
    return xp.asarray(array, dtype=np.float64 if wide else np.float32)


def as_tensors(inputs: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """Return the inputs as tensors; Python's numbers and lists take the dtype and device of the tensors beside them."""
    like = next((x.data for x in inputs if isinstance(x, Tensor)), None)
    if like is None:
        return tuple(Tensor(x) for x in inputs)
    xp = get_array_module(like)

    def convert(x: Any) -> Tensor:
        if isinstance(x, Tensor):
            return x
        return Tensor(xp.asarray(x, dtype=like.dtype) if isinstance(x, bool | int | float | list | tuple) else x)

    return tuple(convert(x) for x in inputs)
