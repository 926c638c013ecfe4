"""Which formats the kernels serve: exactly the classes they were written for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..formats import Blocked, BlockFloatingPoint, BlockScaled, Exponent, FixedPoint, FloatingPoint, Table
from ..rounding import Stochastic

OWN = (FixedPoint, FloatingPoint, BlockFloatingPoint, BlockScaled, Exponent, Table, Stochastic, str)


class by_class:
    """As `functools.singledispatch`, but a subclass, which may round by other rules, gets the default."""

    def __init__(self, default: Callable[..., Any]) -> None:
        self.default, self.__doc__ = default, default.__doc__
        self.known: dict[type, Callable[..., Any]] = {}

    def register(self, *classes: type) -> Callable[[Any], Any]:
        """Return a decorator that makes a function serve these classes."""

        def add(function: Callable[..., Any]) -> Callable[..., Any]:
            self.known.update(dict.fromkeys(classes, function))
            return function

        return add

    def __call__(self, fmt: Any, *rest: Any) -> Any:
        return self.known.get(type(fmt), self.default)(fmt, *rest)


def plain(rule: Any) -> bool:
    """Return whether a format, and what its blocks are made of, or a rounding is lpnet's own: no user's subclass."""
    if type(rule) not in OWN:
        return False
    return not isinstance(rule, Blocked) or (plain(rule.element) and plain(rule.scale))
