"""`lower`: choose the layers of a model whose outputs, and the errors coming back to them, are rounded."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from ..kernels.packing import packer
from ..precision import EXACT, Precision, PrecisionLike, as_precision, most_specific
from ..registry import unknown
from ..validate import flag
from .activations import Activation
from .containers import Sequential
from .layers import Convolution, Linear
from .module import Module

PAPER = (Convolution, Activation)  # what the SWALP paper's networks round; not the classifier
MULTIPLY = (Convolution, Linear)  # what has products
Layers = Iterable[type[Module] | str]


def lower(
    model: Module,
    precision: PrecisionLike | Mapping[str | type[Module], PrecisionLike],
    layers: Layers | None = None,
    exact: Layers | None = None,
    packed: bool = False,
) -> dict[str, str]:
    """Mark layers of `model` so that each computes exactly and rounds its output, and the error reaching it, once.

    Parameters: precision, of which `activation`, `error` and `products` are used; a format, its name or a function
    stands for `Precision.uniform`; None removes all marks. layers, types and names of modules; None: convolutions and
    activations, and for their products alone linear layers. A layer of a Sequential that is directly followed by an
    activation of a chosen type leaves its output to that activation, unless it is named itself. exact, what stays in
    float: types, names, "first" and "last", of the layers that multiply; None: what a recipe says, or nothing.

    precision may be a dictionary, {"*": "bfp8", "0": None, "stage3.*": "bfp4", nn.Tanh: "e4m3"}. A module goes by its
    name, or the longest name of what it is within, before patterns, types and "*". Its own name and its type choose it
    whatever `layers` says; the rest is for those of `layers`.

    With packed, the numbers that backward needs of a marked layer's output are kept in the codes of its format, a byte
    each (two above 8 bits), and what training computes keeps its bits.

    Earlier marks are replaced; what products remember is each layer's own. Returns {name: type} of the marked layers.
    Raises ValueError for a name that the model does not have, for products where no layer is left to have any, and for
    packed with a format that has no such codes; TypeError for layers and keys that are neither types nor names.
    """
    given = precision if isinstance(precision, Mapping) else {"*": precision}
    table = {key: None if value is None else as_precision(value) for key, value in given.items()}
    modules, (types, names) = (
        dict(model.named_modules()),
        types_and_names("lower", "layers", PAPER if layers is None else layers),
    )
    if wrong := sorted(names - set(modules)):
        raise unknown("layer", wrong[0], modules, "lower")
    types_and_names("lower", "keys", table)
    float_layers = _exact(getattr(precision, "exact", ()) if exact is None else exact, modules)
    keys = [key for key in table if isinstance(key, str)]
    types = (*types, *(key for key in table if isinstance(key, type) and table[key] is not None))
    by_name = most_specific("lower", "layer", keys, modules)
    chosen: dict[str, Precision | None] = {}
    for name, module in modules.items():
        key: str | type[Module] | None = by_name[name]
        if key in (None, "*"):
            key = next((t for t in type(module).__mro__ if t in table), key)
        if key is None or name in float_layers:
            continue
        if key == name or name in names or isinstance(module, types):
            chosen[name] = table[key]
        elif layers is None and isinstance(module, MULTIPLY):
            chosen[name] = _products_only(table[key])
    if flag("lower", "packed", packed):
        _check_packed(chosen)
    rounded = {id(modules[name]) for name, value in chosen.items() if value is not None}
    pairs = [pair for module in modules.values() for pair in _before_activation(module, types)]
    left = {id(layer) for layer, activation in pairs if id(activation) in rounded}
    marks = {name: _mark(module, chosen.get(name)) for name, module in modules.items()}
    for name, module in modules.items():
        if id(module) in left and name not in names and name not in keys:
            marks[name] = _products_only(marks[name])
    _check_products(given, marks)
    for name, module in modules.items():
        mark = marks[name]
        module.precision = None if mark is None else mark.own()
        module.packed = packed and mark is not None
    return {name: type(modules[name]).__name__ for name, mark in marks.items() if mark is not None}


def _products_only(precision: Precision | None) -> Precision | None:
    within = EXACT if precision is None else precision.within()
    return None if within.products is None else within


def _mark(module: Module, precision: Precision | None) -> Precision | None:
    """Return what marks a module: nothing where all that a precision has is products, and the module has none."""
    if precision is None or precision.products is None or isinstance(module, MULTIPLY):
        return precision
    return precision if precision.activation is not None or precision.error is not None else None


def _exact(exact: Layers, modules: Mapping[str, Module]) -> set[str]:
    """Return the names of the layers that stay exact; raises ValueError for a name that there is not."""
    types, names = types_and_names("lower", "exact", exact)
    multiply = [name for name, module in modules.items() if isinstance(module, MULTIPLY)]
    ends = {"first": multiply[:1], "last": multiply[-1:]}
    if wrong := sorted(names - set(modules) - set(ends)):
        raise unknown("layer", wrong[0], [*ends, *modules], "lower: exact:")
    found = {name for name, module in modules.items() if isinstance(module, types) or name in names}
    return found.union(*(ends[name] for name in names if name in ends))


def _check_products(given: Mapping[Any, PrecisionLike], marks: Mapping[str, Precision | None]) -> None:
    """Raise ValueError if products were given, and no layer is left to have them."""
    wanted = [value for value in given.values() if isinstance(value, Precision) and value.products is not None]
    if wanted and not any(mark is not None and mark.products is not None for mark in marks.values()):
        name = getattr(wanted[0], "name", "") or "a precision"
        rest = f" once {', '.join(map(str, exact))} stay in float" if (exact := getattr(wanted[0], "exact", ())) else ""
        raise ValueError(f"lower: {name} rounds products, and the model has no layer that multiplies{rest}")


def _check_packed(chosen: Mapping[str, Precision | None]) -> None:
    """Raise ValueError for a precision whose activations have no short codes."""
    for name, precision in chosen.items():
        rounder = precision and precision.activation
        fmt = getattr(rounder, "format", None)
        if precision is None or (rounder is None and precision.products is not None):
            continue  # nothing is kept that was rounded
        if fmt is None or packer(fmt) is None:
            raise ValueError(
                "lower: packed=True takes fixed and block floating point of at most 16 bits (a block a sample, a "
                "channel or all) and other numbers of at most 8 bits without blocks; activations of "
                f"{name or 'the model'!r} are {'in float' if rounder is None else fmt or rounder}"
            )


def types_and_names(owner: str, what: str, given: Iterable[Any]) -> tuple[tuple[type[Module], ...], set[str]]:
    """Return the types and the names of modules that were given; raises TypeError for what is neither."""
    given = [given] if isinstance(given, str | type) else list(given)
    if wrong := [x for x in given if not isinstance(x, str | type)]:
        raise TypeError(f"{owner}: {what} must be types or names of modules, got {wrong[0]!r}")
    return tuple(x for x in given if isinstance(x, type)), {x for x in given if isinstance(x, str)}


def _before_activation(module: Module, types: tuple[type[Module], ...]) -> list[tuple[Module, Module]]:
    """Return the layers of a Sequential that an activation of one of the `types` comes right after, each with it."""
    layers = list(module) if isinstance(module, Sequential) else []
    return [(a, b) for a, b in itertools.pairwise(layers) if isinstance(b, Activation) and isinstance(b, types)]
