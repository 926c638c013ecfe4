"""How many binary digits the numbers of a CuPy array have at most: what tensor cores want to know."""

from __future__ import annotations

import weakref
from typing import Any

from ...backend import on_forget

# What is known of CuPy arrays: by the array's id, a reference that forgets it with the array, and the binary digits
# that no number in it goes beyond. Views know it through the array that they are a view of.
_known: dict[int, tuple[Any, int]] = {}
on_forget(_known.clear)


def note_digits(x: Any, digits: int | None) -> Any:
    """Remember that the numbers of the CuPy array `x` have at most so many significant binary digits; returns x.

    Whoever then writes other numbers into x makes this untrue.
    """
    root = x if x.base is None else x.base
    if digits is not None and root.size == x.size:
        key = id(root)
        _known[key] = (weakref.ref(root, lambda _: _known.pop(key, None)), digits)
    return x


def known_digits(x: Any) -> int | None:
    """Return how many significant binary digits the numbers of a CuPy array have at most, None if nobody said."""
    root = x if x.base is None else x.base
    reference, digits = _known.get(id(root), (None, None))
    return digits if reference is not None and reference() is root else None


def carry_digits(y: Any, *arrays: Any) -> Any:
    """Remember of y, whose numbers are all among those of the arrays, or 0, what is known of them; returns y."""
    digits = [known_digits(x) for x in arrays] if _known else []
    known = [d for d in digits if d is not None]
    return note_digits(y, max(known)) if known and len(known) == len(arrays) else y
