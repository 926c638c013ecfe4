"""Modules: trees of parameters, walked in the order in which they were defined."""

from __future__ import annotations

import itertools
import reprlib
from collections.abc import Callable, Collection, Iterator, Mapping, MutableSequence, Set
from typing import Any, TypeVar

import numpy as np

from .. import functions as F
from .. import replay
from .._twice import twice
from ..backend import choose_device, copy_like, to_device
from ..precision import Precision, use
from ..registry import nearest
from ..tensor import Parameter, Tensor

T = TypeVar("T")
forward_hooks: list[Callable[[Module, Tensor], None]] = []  # called with every module and what it returned


class Buffer(Tensor):
    """State that is saved with a module but not trained, such as BatchNorm's running statistics."""


class Module:
    """A layer or a network: attributes that are Parameters, Buffers or Modules, and `forward`.

    They may be in lists, tuples and dicts at any depth. Walking a module that has them in a set raises TypeError.
    """

    training = True
    precision: Precision | None = None  # set by `lower`: compute exactly, then round the output once
    packed = False  # set by `lower`: backward keeps that output in the codes of its format
    checkpointed = False  # set by `checkpointed`: backward keeps the inputs, and computes the rest anew

    def forward(self, *inputs: Any) -> Tensor:
        """Return the output for the inputs; a subclass defines it."""
        raise NotImplementedError

    def __call__(self, *inputs: Any) -> Tensor:
        """Run `forward`, with the granularity that `lower` chose, in the way that `checkpointed` did."""
        y = twice(self._rounded, *inputs) if self.checkpointed else self._rounded(*inputs)
        if not replay.again():
            for observe in forward_hooks:
                observe(self, y)
        return y

    def _rounded(self, *inputs: Any) -> Tensor:
        if self.precision is None:
            return self.forward(*inputs)
        with use(self.precision.within()):
            y = self.forward(*inputs)
        with use(self.precision):
            y = F.identity(y)
        y.kept_as = getattr(self.precision.activation, "format", None) if self.packed else None
        return y

    def _members(self) -> Iterator[tuple[str, Any]]:
        for name, value in vars(self).items():
            if type(value) in _PLAIN:  # most are, and a training step walks its model a few times
                continue
            if isinstance(value, _MEMBER):
                yield name, value
            elif isinstance(value, Collection):
                yield from _held(name, value)

    def named_modules(self) -> Iterator[tuple[str, Module]]:
        """Yield (name, module) for this module, named "", and all within it; a shared one comes once."""
        seen = set()
        for name, module in self._walk("", ()):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def _walk(self, prefix: str, above: tuple[Module, ...]) -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, value in self._members():
            if isinstance(value, Module) and all(value is not module for module in (*above, self)):
                yield from value._walk(f"{prefix}.{name}" if prefix else name, (*above, self))

    def modules(self) -> Iterator[Module]:
        """Yield this module and all within it."""
        return (module for _, module in self.named_modules())

    def _named(self, kind: type[T]) -> Iterator[tuple[str, T]]:
        seen = set()
        for prefix, module in self.named_modules():
            for name, value in module._members():
                if isinstance(value, kind) and id(value) not in seen:  # a shared parameter counts once
                    seen.add(id(value))
                    yield f"{prefix}.{name}" if prefix else name, value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield (name, parameter) in definition order."""
        return self._named(Parameter)

    def parameters(self) -> Iterator[Parameter]:
        """Yield the parameters in definition order."""
        return (p for _, p in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Yield (name, buffer) in definition order."""
        return self._named(Buffer)

    def buffers(self) -> Iterator[Buffer]:
        """Yield the buffers in definition order."""
        return (b for _, b in self.named_buffers())

    def _named_state(self) -> dict[str, Tensor]:
        return {**dict(self.named_parameters()), **dict(self.named_buffers())}

    def _other_names(self) -> dict[str, str]:
        """Return for each further name of a shared parameter or buffer the one that `_named_state` has."""
        first = {id(tensor): name for name, tensor in self._named_state().items()}
        every = {
            f"{prefix}.{name}" if prefix else name: value
            for prefix, module in self._walk("", ())
            for name, value in module._members()
            if isinstance(value, Parameter | Buffer)
        }
        return {name: first[id(tensor)] for name, tensor in every.items() if first[id(tensor)] != name}

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all parameters and buffers as NumPy arrays, by name."""
        return {name: np.array(t.numpy()) for name, t in self._named_state().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over parameters and buffers from `state`; nothing is changed if it does not fit.

        A shared one may come under any of its names. Raises ValueError naming what is missing, unexpected, of another
        shape, or has two values for one parameter.
        """
        own = self._named_state()
        # PyTorch counts batches also where nothing here needs it.
        state = {k: v for k, v in state.items() if k in own or not k.endswith("num_batches_tracked")}
        for other, name in self._other_names().items():
            if other in state and not _equal(value := state.pop(other), state.setdefault(name, value)):
                raise ValueError(f"load_state_dict: {name!r} and {other!r} are one here, but two in the state")
        _check_state(own, state)
        for name, tensor in own.items():
            tensor.data = copy_like(state[name], tensor.data)

    def train(self, mode: bool = True) -> Module:
        """Switch this module and all within it to training (or evaluation); returns self."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Module:
        """Switch this module and all within it to evaluation; returns self."""
        return self.train(False)

    @property
    def device(self) -> str:
        """Where the parameters and buffers are, "cpu" or "cuda"; "cpu" for a module without any."""
        return next((tensor.device for tensor in itertools.chain(self.parameters(), self.buffers())), "cpu")

    def to(self, device: str) -> Module:
        """Move parameters and buffers to "cpu" or "cuda"; returns self.

        An optimizer's state and SWALP's average follow at their next step. Gradients are forgotten. Raises
        RuntimeError with the reason if "cuda" cannot be had.
        """
        choose_device(device)  # before anything has moved
        return self._convert(lambda array: to_device(array, device))

    def astype(self, dtype: Any) -> Module:
        """Convert parameters and buffers to float32 or float64; returns self."""
        return self._convert(lambda array: array.astype(dtype))

    def _convert(self, function: Callable[[Any], Any]) -> Module:
        for tensor in self._named_state().values():
            tensor.data, tensor.grad = function(tensor.data), None
        return self

    def n_parameters(self) -> int:
        """Return the number of trainable numbers."""
        return sum(p.size for p in self.parameters())

    def extra_repr(self) -> str:
        """Return what `repr` shows between the parentheses of a module without children."""
        return ""

    @reprlib.recursive_repr()
    def __repr__(self) -> str:
        children = [f"({name}): {child!r}" for name, child in self._members() if isinstance(child, Module)]
        if not children:
            return f"{type(self).__name__}({self.extra_repr()})"
        body = "\n".join(children).replace("\n", "\n  ")
        return f"{type(self).__name__}(\n  {body}\n)"


_MEMBER = (Parameter, Buffer, Module)
_PLAIN = {type(None), bool, int, float, str}  # types of what cannot hold one


def _held(name: str, value: Any, within: tuple[int, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) of the Parameters, Buffers and Modules in a container, "name.0" or "name.key" and so on."""
    if type(value) in _PLAIN:
        return
    if isinstance(value, _MEMBER):
        yield name, value
    elif isinstance(value, list | tuple | Mapping) and id(value) not in within:
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _held(f"{name}.{key}", item, (*within, id(value)))
    elif isinstance(value, Set | MutableSequence) and any(isinstance(v, _MEMBER) for v in value):
        raise TypeError(
            f"Module: attribute {name!r} is a {type(value).__name__} with Parameters or Modules in it; "
            "use a list, tuple or dict"
        )


def _equal(a: Any, b: Any) -> bool:
    return a is b or np.array_equal(to_device(a, "cpu"), to_device(b, "cpu"))


def _check_state(own: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Raise ValueError unless `state` holds an array of the right shape for each of `own` and no other."""
    if missing := [name for name in own if name not in state]:
        near = nearest(missing[0], state)
        hint = f" (the nearest it has is {near[0]!r})" if near else ""
        raise ValueError(f"load_state_dict: {missing[0]!r} is missing{hint}, {len(missing)} missing in all")
    if unexpected := [name for name in state if name not in own]:
        raise ValueError(f"load_state_dict: this model has no {unexpected[0]!r}, {len(unexpected)} such in all")
    for name, tensor in own.items():
        if np.shape(state[name]) != tensor.shape:
            raise ValueError(f"load_state_dict: {name!r} has shape {np.shape(state[name])}, expected {tensor.shape}")
        dtype = getattr(state[name], "dtype", None)
        if isinstance(dtype, np.dtype) and dtype.kind not in "biuf":
            raise ValueError(f"load_state_dict: {name!r} has numbers of type {dtype}, expected real ones")
