"""How many binary digits the numbers of a CuPy array have at most: what tensor cores want to know."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np

from .arrays import get_array_module

Compute = TypeVar("Compute", bound=Callable[..., Any])

# What is known of CuPy arrays: by the array's id, a reference that forgets it with the array, and the binary digits
# that no number in it goes beyond. Views know it through the array that they are a view of.
_known: dict[int, tuple[Any, int]] = {}


def note_digits(x: Any, digits: int | None) -> Any:
    """Remember that the numbers of the CuPy array `x` have at most so many significant binary digits; returns x.

    Whoever then writes other numbers into x makes this untrue. Of NumPy arrays nothing is remembered.
    """
    if digits is not None and get_array_module(x) is not np:
        root = x if x.base is None else x.base
        if root.size == x.size:
            key = id(root)
            _known[key] = (weakref.ref(root, lambda _: _known.pop(key, None)), digits)
    return x


def known_digits(x: Any) -> int | None:
    """Return how many significant binary digits the numbers of a CuPy array have at most, None if nobody said."""
    if get_array_module(x) is np:
        return None
    root = x if x.base is None else x.base
    reference, digits = _known.get(id(root), (None, None))
    return digits if reference is not None and reference() is root else None


def carry_digits(y: Any, *arrays: Any) -> None:
    """Remember of y, whose numbers are all among those of the arrays, or 0, what is known of them."""
    digits = [known_digits(x) for x in arrays] if _known else []
    if digits and None not in digits:
        note_digits(y, max(d for d in digits if d is not None))


def keeps_digits(compute: Compute) -> Compute:
    """Decorate a `forward` or `backward` whose results have only numbers of its arguments, and 0."""

    @functools.wraps(compute)
    def known(self: Any, *arrays: Any) -> Any:
        y = compute(self, *arrays)
        for part in y if isinstance(y, tuple) else (y,):
            carry_digits(part, *arrays)
        return y

    return cast(Compute, known)


def forget() -> None:
    """Forget what is known of all arrays."""
    _known.clear()
