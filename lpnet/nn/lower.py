"""`lower`: choose the layers of a model whose outputs, and the errors coming back to them, are rounded."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable

from ..precision import PrecisionLike, as_precision
from .layers import Activation, Conv2d, Sequential
from .module import Module

PAPER = (Conv2d, Activation)  # what the SWALP paper's networks round; not the classifier


def lower(model: Module, precision: PrecisionLike, layers: Iterable[type[Module] | str] = PAPER) -> dict[str, str]:
    """Mark layers of `model` so that each computes exactly and rounds its output, and the error reaching it, once.

    Parameters: precision, of which `activation` and `error` are used; a format, its name or a function
    stands for `Precision.uniform`; None removes all marks. layers, types and names of modules. A layer of a Sequential
    that is directly followed by an activation of a chosen type is left to that activation, unless it is named itself.
    Earlier marks are replaced. Returns {name: type} of the marked layers. Raises ValueError for a name that the model
    does not have, TypeError for layers that are neither types nor names.
    """
    precision = None if precision is None else as_precision(precision)
    types, names = _types_and_names(layers)
    _check_names(names, dict(model.named_modules()))
    left = {id(layer) for module in model.modules() for layer in _before_activation(module, types)}
    marked = {}
    for name, module in model.named_modules():
        chosen = name in names or (isinstance(module, types) and id(module) not in left)
        module.precision = precision if chosen else None
        if chosen and precision is not None:
            marked[name] = type(module).__name__
    return marked


def _types_and_names(layers: Iterable[type[Module] | str]) -> tuple[tuple[type[Module], ...], set[str]]:
    given = [layers] if isinstance(layers, str | type) else list(layers)
    if wrong := [layer for layer in given if not isinstance(layer, str | type)]:
        raise TypeError(f"lower: layers must be types or names of modules, got {wrong[0]!r}")
    return tuple(x for x in given if isinstance(x, type)), {x for x in given if isinstance(x, str)}


def _before_activation(module: Module, types: tuple[type[Module], ...]) -> list[Module]:
    """Return the layers of a Sequential that an activation of one of the `types` comes right after."""
    layers = list(module) if isinstance(module, Sequential) else []
    return [a for a, b in itertools.pairwise(layers) if isinstance(b, Activation) and isinstance(b, types)]


def _check_names(names: set[str], known: dict[str, Module]) -> None:
    for name in sorted(names - set(known)):
        near = ", ".join(difflib.get_close_matches(name, known)) or ", ".join(list(known)[1:6])
        raise ValueError(f"lower: the model has no layer {name!r}; the nearest are {near}")
