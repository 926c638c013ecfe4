"""What can be set on a tab, as text: how it is read, and how an address says it.

All that comes from a page passes `Field.read`: it becomes a number, a format, or a name from a list, or a sentence says
what would do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lpnet as lp

LONGEST = 120  # characters of a field
MOST = 64  # numbers in a row


@dataclass(frozen=True)
class Field:
    """A setting: its name in the address, its label, its text at first, and how a text is read."""

    name: str
    label: str
    default: str
    reader: Callable[[str], Any]
    options: Sequence[str] = ()  # what to choose from; none: any text that can be read
    hint: str = ""
    longest: int = LONGEST

    def read(self, text: Any) -> Any:
        """Return the value of a text; raises ValueError with a sentence if it is none."""
        if not isinstance(text, str) or len(text) > self.longest:
            raise ValueError(f"{self.label}: a text of at most {self.longest} characters, please")
        try:
            return self.reader(text.strip())
        except ValueError as error:
            raise ValueError(f"{self.label}: {error}") from error


def values(fields: Sequence[Field], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return what the texts say, by the fields' names."""
    return {field.name: field.read(texts[field.name]) for field in fields}


def from_address(fields: Sequence[Field], query: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the texts that an address gives, defaults where it gives none, and sentences on those it gets wrong."""
    texts, problems = {field.name: field.default for field in fields}, []
    for field in fields:
        if field.name in query:
            try:
                field.read(query[field.name])
                texts[field.name] = query[field.name]
            except ValueError as error:
                problems.append(str(error))
    return texts, problems


def to_address(fields: Sequence[Field], texts: Mapping[str, str]) -> dict[str, str]:
    """Return what an address has to say: all that is not as at first."""
    return {field.name: texts[field.name] for field in fields if texts[field.name] != field.default}


def real(low: float, high: float) -> Callable[[str], float]:
    """Return a reader of numbers from `low` to `high`."""

    def read(text: str) -> float:
        value = any_number(text)
        if not low <= value <= high:
            raise ValueError(f"a number from {low:g} to {high:g}, please, not {text!r}")
        return value

    return read


def whole(low: int, high: int) -> Callable[[str], int]:
    """Return a reader of integers from `low` to `high`."""

    def read(text: str) -> int:
        if not text.isdecimal() or not low <= int(text) <= high:
            raise ValueError(f"a whole number from {low} to {high}, please, not {text!r}")
        return int(text)

    return read


def one_of(options: Sequence[str]) -> Callable[[str], str]:
    """Return a reader of names from a list."""

    def read(text: str) -> str:
        if text not in options:
            raise ValueError(f"one of {', '.join(options)}, please, not {text!r}")
        return text

    return read


def any_number(text: str) -> float:
    """Return a number, NaN and infinities among them."""
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"a number, please, not {text!r}") from None


def row(text: str) -> list[float]:
    """Return numbers with spaces or commas between them."""
    numbers = [any_number(part) for part in text.replace(",", " ").split()]
    if not 1 <= len(numbers) <= MOST:
        raise ValueError(f"1 to {MOST} numbers, please, with spaces between them")
    return numbers


def format_name(text: str) -> str:
    """Return the name of a format, or the call that makes it, as lpnet writes it."""
    try:
        return str(lp.format(text))
    except ValueError:
        raise
    except (TypeError, SyntaxError, OverflowError, RecursionError, MemoryError):
        raise ValueError(f"a format such as e4m3, fixed8.6 or bfp8, please, not {text!r}") from None


def maybe_format(text: str) -> str | None:
    """Return the name of a format; None for "float", which rounds nothing."""
    return None if text in ("", "float") else format_name(text)


ROUNDINGS = tuple(lp.rounding.MODES)
