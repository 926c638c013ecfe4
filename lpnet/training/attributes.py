"""The state of objects that users bring: by `state_dict` where they have one, else by their attributes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import to_device_of
from ..precision import Quantizer
from ..tensor import Tensor


def stateful(owner: Any) -> Any:
    """Return what has the object's `state_dict` and `load_state_dict`: the object itself, or its `Attributes`."""
    return owner if has_state(owner) else Attributes(owner)


def has_state(value: Any) -> bool:
    """Return whether the object gives its state away and takes it back by itself."""
    return hasattr(value, "state_dict") and hasattr(value, "load_state_dict")


class Attributes:
    """The state of an object that has no `state_dict`: those of its attributes that can be saved.

    These are what `save` takes, a Quantizer's stream, and NumPy's generators.
    """

    def __init__(self, owner: Any) -> None:
        self.values = vars(owner)

    def state_dict(self) -> dict[str, Any]:
        """Return values and states of the attributes, by name; not copied."""
        return {name: _state(value) for name, value in self.values.items() if _is_state(value)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned: attributes that came into being later go."""
        for name in self.state_dict().keys() - state.keys():
            del self.values[name]
        for name, value in state.items():
            self.values[name] = _restored(self.values.get(name), value)


def _inner(value: Any) -> Any:
    return getattr(value, "stream", None) if isinstance(value, Quantizer) else value


def _is_state(value: Any) -> bool:
    return has_state(_inner(value)) or isinstance(value, np.random.Generator) or _is_plain(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    array = hasattr(value, "dtype") and hasattr(value, "shape") and not value.dtype.hasobject
    return array or value is None or isinstance(value, bool | int | float | str)


def _state(value: Any) -> Any:
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    return _inner(value).state_dict() if has_state(_inner(value)) else value


def _restored(own: Any, state: Any) -> Any:
    """Return what is in `state`: the object itself where it has one, else a value of the same kind."""
    if has_state(_inner(own)):
        _inner(own).load_state_dict(state)
        return own
    if isinstance(own, np.random.Generator):
        own.bit_generator.state = state
        return own
    if isinstance(own, Tensor | tuple | np.generic) and state is not None:
        return getattr(type(own), "_make", type(own))(state)
    return to_device_of(state, own) if hasattr(own, "dtype") and hasattr(state, "dtype") else state
