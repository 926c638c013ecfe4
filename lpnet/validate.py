"""Arguments that come from outside: checked, and made Python's, once, at the door.

Every function takes `owner` and `name`, which the error names, and raises ValueError for what it does not take.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Collection
from typing import Any

Pair = int | tuple[int, int]  # (height, width), or one number for both


def number(owner: str, name: str, value: Any, low: float = 0, high: float = math.inf, ends: str = "[]") -> float:
    """Return `value`, a number of Python or NumPy or a 0-d array, as a float from `low` to `high`.

    `ends` says which end belongs to the interval: "[)" leaves out `high`, "(]" leaves out `low`. A NumPy scalar would
    turn float32 arrays into float64 and is no JSON. True, NaN and infinity are no numbers here.
    """
    plain = _plain(value)
    if not _is_number(plain) or not _within(plain, low, high, ends):
        raise ValueError(f"{owner}: {name} must be a finite number {_range(low, high, ends)}, got {value!r}")
    return float(plain)


def integer(owner: str, name: str, value: Any, low: float = 0, high: float = math.inf) -> int:
    """Return `value` as an int from `low` to `high`; a float without a fraction is one, True and False are none."""
    plain = _plain(value)
    if not _is_number(plain) or plain != int(plain) or not low <= plain <= high:
        raise ValueError(f"{owner}: {name} must be an integer {_range(low, high)}, got {value!r}")
    return int(plain)


def pair(owner: str, name: str, value: Any, low: int = 1) -> tuple[int, int]:
    """Return (height, width), both of at least `low`, of one integer or of two."""
    both = tuple(value) if isinstance(value, tuple | list) else (value,)
    both *= 2 if len(both) == 1 else 1  # PyTorch takes (3,) for (3, 3)
    if len(both) != 2:
        raise ValueError(f"{owner}: {name} must be an integer of at least {low} or two of them, got {value!r}")
    return integer(owner, name, both[0], low), integer(owner, name, both[1], low)


def flag(owner: str, name: str, value: Any) -> bool:
    """Return `value`, True or False of Python or NumPy, as a bool."""
    plain = _plain(value)
    if not isinstance(plain, bool):
        raise ValueError(f"{owner}: {name} must be True or False, got {value!r}")
    return plain


def choice(owner: str, name: str, value: Any, options: Collection[str]) -> str:
    """Return `value`, one of the texts in `options`."""
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{owner}: {name} must be one of {', '.join(options)}, got {value!r}")
    return value


def check_fields(instance: Any, **kinds: tuple[int, int] | type[bool]) -> None:
    """Make fields of a frozen dataclass integers, for a range (low, high), or flags, for bool."""
    for name, kind in kinds.items():
        owner, value = type(instance).__name__, getattr(instance, name)
        checked = integer(owner, name, value, *kind) if isinstance(kind, tuple) else flag(owner, name, value)
        object.__setattr__(instance, name, checked)  # the way to set a field of a frozen dataclass


def _plain(value: Any) -> Any:
    return value.item() if getattr(value, "shape", None) == () else value


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float) and not isinstance(x, bool) and abs(x) <= sys.float_info.max


def _within(x: float, low: float, high: float, ends: str) -> bool:
    return (low <= x if ends[0] == "[" else low < x) and (x <= high if ends[1] == "]" else x < high)


def _range(low: float, high: float, ends: str = "[]") -> str:
    if high == math.inf:
        return f"{'of at least' if ends[0] == '[' else 'above'} {low}"
    return f"from {low} to {high}" if ends == "[]" else f"in {ends[0]}{low}, {high}{ends[1]}"
