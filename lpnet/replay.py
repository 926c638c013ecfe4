"""What happens once although a forward pass is computed twice, the second time for `backward`: see `nn.checkpointed`.

The second pass is the first again, to the bit: it reads the same random bits and scales, and moves no statistics on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")


class Log:
    """What the actions of a pass gave, in their order."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    @contextlib.contextmanager
    def written(self) -> Iterator[None]:
        """Within this block, what actions give is kept."""
        outer = _once.get()

        def once(action: Callable[[], Any]) -> Any:
            self.given.append(outer(action))
            return self.given[-1]

        with _variable(_once, once):
            yield

    @contextlib.contextmanager
    def read(self) -> Iterator[None]:
        """Within this block no action is taken: what they gave the first time is given again."""
        given = iter(self.given)
        with _variable(_once, lambda action: next(given)), _variable(_again, True):
            yield


@contextlib.contextmanager
def _variable(variable: ContextVar[T], value: T) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


_once: ContextVar[Callable[[Callable[[], Any]], Any]] = ContextVar("once", default=lambda action: action())
_again: ContextVar[bool] = ContextVar("again", default=False)


def once(action: Callable[[], T]) -> T:
    """Take an action that a pass which is computed again shall not take again; return what it gives, or gave."""
    return _once.get()(action)


def again() -> bool:
    """Return whether what is computed now was computed before."""
    return _again.get()
