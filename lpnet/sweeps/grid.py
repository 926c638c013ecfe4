"""The calls of a sweep: points of a grid, each with a seed, checked before anything is run."""

from __future__ import annotations

import functools
import inspect
import itertools
import json
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..validate import integer

Call = dict[str, Any]  # the arguments of one call, "seed" among them
Grid = Mapping[str, Any] | Iterable[Mapping[str, Any]]
Seeds = int | Iterable[int] | None
_MOST_SEEDS = 2**64


def calls(function: Callable[..., Any], grid: Grid, seeds: Seeds) -> list[Call]:
    """Return all calls, a point's seeds together; raises ValueError for what cannot be called."""
    if not callable(function):
        raise ValueError(f"sweep: function must be a function, got {function!r}")
    found = _with_seeds(_points(grid), seeds)
    keys = sorted(key(call) for call in found)
    if twice := [one for one, other in itertools.pairwise(keys) if one == other]:
        raise ValueError(f"sweep: the grid holds {twice[0]} twice")
    _check_arguments(function, found)
    return found


def _points(grid: Grid) -> list[Call]:
    if isinstance(grid, Mapping):
        axes = {name: _values(name, values) for name, values in grid.items()}
        return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    points = list(grid) if isinstance(grid, Iterable) else []
    if not points or not all(isinstance(point, Mapping) for point in points):
        raise ValueError(f"sweep: grid must be a dictionary of lists, or a list of dictionaries, got {grid!r:.80}")
    return [{name: _plain(value) for name, value in point.items()} for point in points]


def _values(name: str, values: Any) -> list[Any]:
    """Return the values of an axis: those of a list, tuple, range, iterator or array; all else is one value."""
    if not isinstance(values, list | tuple | range | Iterator) and not getattr(values, "ndim", 0):
        return [_plain(values)]
    found = [_plain(value) for value in values]
    if not found:
        raise ValueError(f"sweep: {name!r} has no values")
    return found


def _plain(value: Any) -> Any:
    """Return a number of NumPy as Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _with_seeds(points: list[Call], seeds: Seeds) -> list[Call]:
    if seeds is None:
        found = [{**point, "seed": point.get("seed", 0)} for point in points]
    elif any("seed" in point for point in points):
        raise ValueError("sweep: the grid has a 'seed' of its own, leave out seeds")
    else:
        chosen = _chosen(seeds)
        found = [{**point, "seed": seed} for point in points for seed in chosen]
    return [{**call, "seed": integer("sweep", "seed", call["seed"], 0, _MOST_SEEDS - 1)} for call in found]


def _chosen(seeds: int | Iterable[int]) -> list[int]:
    if not isinstance(seeds, Iterable) or isinstance(seeds, str):
        return list(range(integer("sweep", "seeds", seeds, 1)))
    found = list(seeds)
    if not found:
        raise ValueError("sweep: seeds has no values")
    return found


def _check_arguments(function: Callable[..., Any], found: list[Call]) -> None:
    try:
        signature = inspect.signature(function)
    except ValueError:  # some functions written in C do not tell their arguments
        return
    for call in found:
        try:
            signature.bind(**call)
        except TypeError as error:
            raise ValueError(f"sweep: {name_of(function)} cannot be called with {', '.join(call)}: {error}") from error


def check_sendable(function: Callable[..., Any], found: list[Call]) -> None:
    """Raise ValueError for what cannot be given to other processes."""
    at_a_prompt = not hasattr(sys.modules["__main__"], "__file__")
    try:
        if at_a_prompt and _inner(function).__module__ == "__main__":
            raise ValueError("it was typed at a prompt")
        pickle.dumps((function, found))
    except Exception as error:
        raise ValueError(
            f"sweep: {name_of(function)} or the grid cannot be given to other processes, {error}: define all at the "
            "top of a file, or take jobs=1"
        ) from error


def name_of(function: Callable[..., Any]) -> str:
    """Return the name of a function, or of that which a functools.partial is of."""
    return str(getattr(_inner(function), "__qualname__", type(_inner(function)).__name__))


def _inner(function: Any) -> Any:
    return _inner(function.func) if isinstance(function, functools.partial) else function


def key(value: Any) -> str:
    """Return what tells a value from others in every process: its JSON, with the `repr` of what JSON cannot hold."""
    return json.dumps(json.loads(json.dumps(value, default=repr)), sort_keys=True)
