"""Numbers that come from outside: checked, and made Python's, once, at the door."""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Collection
from typing import Any


def number(owner: str, name: str, value: Any, low: float = 0, high: float = math.inf) -> float:
    """Return `value`, a number of Python or NumPy or a 0-d array, as a float; raises ValueError outside [low, high].

    A NumPy scalar would turn float32 arrays into float64 and is no JSON. True, NaN and infinity are no numbers here.
    """
    plain = _plain(value)
    if not _is_number(plain) or not low <= plain <= high:
        raise ValueError(f"{owner}: {name} must be a finite number {_range(low, high)}, got {value!r}")
    return float(plain)


def integer(owner: str, name: str, value: Any, low: float = 0, high: float = math.inf) -> int:
    """Return `value` as an int, also if it is a float without a fraction; raises ValueError outside [low, high]."""
    plain = _plain(value)
    if not _is_number(plain) or plain != int(plain) or not low <= plain <= high:
        raise ValueError(f"{owner}: {name} must be an integer {_range(low, high)}, got {value!r}")
    return int(plain)


def unknown(owner: str, what: str, name: str, known: Collection[str]) -> ValueError:
    """Return the error that says that the model has no `what` of that name, and which are the nearest."""
    near = ", ".join(difflib.get_close_matches(name, known)) or ", ".join([n for n in known if n][:5])
    return ValueError(f"{owner}: the model has no {what} {name!r}; the nearest are {near}")


class Number:
    """An attribute that is a float of at least 0, whatever kind of number is assigned to it, whenever."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else vars(instance)[self.name]

    def __set__(self, instance: Any, value: Any) -> None:
        vars(instance)[self.name] = number(type(instance).__name__, self.name, value)


def _plain(value: Any) -> Any:
    return value.item() if getattr(value, "shape", None) == () else value


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and abs(x) <= sys.float_info.max


def _range(low: float, high: float) -> str:
    return f"of at least {low}" if high == math.inf else f"from {low} to {high}"
