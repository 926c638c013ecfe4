"""Formats as text."""

from __future__ import annotations

from .base import Format
from .names import format, names


def table() -> str:
    """Return a table of the preset formats."""
    lines = [f"{'name':8} {'bits':>4} {'largest':>12} {'smallest':>12}"]
    for name in names():
        fmt = format(name)
        lines.append(f"{name:8} {fmt.bits:4d} {fmt.max:12.6g} {fmt.smallest:12.6g}")
    return "\n".join(lines)


def describe(name: str | Format) -> str:
    """Return an exact description of a format."""
    return repr(format(name))
