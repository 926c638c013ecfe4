"""Things by name: one table a family (formats, models, data sets ...), one sentence for a name that is none.

MODELS: Registry[Builder] = Registry("model", {"mlp": mlp})
MODELS["mpl"]  # ValueError: unknown model 'mpl', did you mean mlp?
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")
_LISTED = 40  # names in one sentence, at most


class Registry(dict[str, T]):
    """A dictionary from names to things of one kind, in the order in which they were registered.

    Parameters
    ----------
    kind : what the things are, for error messages: "model".
    entries : those that are there from the start.
    """

    def __init__(self, kind: str, entries: Mapping[str, T] | Iterable[tuple[str, T]] = ()) -> None:
        super().__init__(entries)
        self.kind = kind

    def __getitem__(self, name: str) -> T:
        """Return the thing of that name; raises ValueError with the nearest names where there is none."""
        if not isinstance(name, str) or name not in self:
            raise unknown(self.kind, name, self)
        return super().__getitem__(name)

    def names(self) -> list[str]:
        """Return all names."""
        return list(self)

    def register(self, name: str, thing: T) -> T:
        """Give `thing` a name; returns it.

        The same thing may come again, and its definition run once more, as a notebook's cell does. Raises ValueError
        for a name that is another's, or is no text without spaces.
        """
        if not isinstance(name, str) or not name or name.split() != [name]:
            raise ValueError(f"register: name must be a text without spaces, got {name!r}")
        if name in self and self[name] != thing and not _defined_again(self[name], thing):
            raise ValueError(f"register: {name!r} is the name of {self[name]!r}")
        self[name] = thing
        return thing


def _defined_again(old: Any, new: Any) -> bool:
    """Return whether two functions, classes or instances of classes come from one definition that ran twice."""
    old, new = (x if hasattr(x, "__qualname__") else type(x) for x in (old, new))
    same = (old.__module__, old.__qualname__) == (new.__module__, new.__qualname__)
    return old is not new and same and not new.__qualname__.endswith("<lambda>")


def nearest(name: object, known: Iterable[str], count: int = 3) -> list[str]:
    """Return those of `known` that look most like `name`, in capitals or not, the most alike first."""
    folded = {other.casefold(): other for other in known}
    return [folded[key] for key in difflib.get_close_matches(str(name).casefold(), folded, count)]


def unknown(kind: str, name: object, known: Iterable[str], owner: str = "") -> ValueError:
    """Return the error that says that there is no `kind` of that name, and which are the nearest, or all."""
    known = [other for other in known if other]
    if near := nearest(name, known):
        hint = f"did you mean {' or '.join(near)}?"
    else:
        hint = f"expected one of {', '.join(known[:_LISTED])}{', ...' if len(known) > _LISTED else ''}"
    return ValueError(f"{owner and owner + ': '}unknown {kind} {name!r}, {hint}")
