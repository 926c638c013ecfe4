"""Formats by name: `format("bfp8")`, and `str(fmt)` gives the name back."""

from __future__ import annotations

import ast
import contextlib
import difflib
import re
from collections.abc import Callable
from typing import Any

from .base import Format
from .block import BlockFloatingPoint
from .fixed import FixedPoint
from .floating import PRESETS, FloatingPoint
from .scaled import SCALED, BlockScaled
from .tiles import Exponent

NAMED: dict[str, Format] = {**PRESETS, **SCALED}

_PATTERNS: tuple[tuple[str, Callable[..., Format]], ...] = (
    (r"e(\d+)m(\d+)", lambda exp, man: FloatingPoint(int(exp), int(man))),
    (r"fixed(\d+)\.(-?\d+)", lambda wl, fl: FixedPoint(int(wl), int(fl))),
    (r"bfp(\d+)", lambda wl: BlockFloatingPoint(int(wl))),
    (r"bfp(\d+):tensor", lambda wl: BlockFloatingPoint(int(wl), axis=None)),
    (r"bfp(\d+):(\d+)", lambda wl, block: BlockFloatingPoint(int(wl), axis=-1, block=int(block))),
)
_CLASSES: dict[str, Callable[..., Format]] = {
    kind.__name__: kind for kind in (FixedPoint, FloatingPoint, BlockFloatingPoint, BlockScaled, Exponent)
}
_EXAMPLES = ("fixed8.6", "bfp8", "bfp4", "bfp8:tensor", "bfp8:16")


def names() -> list[str]:
    """Return the names of the presets."""
    return list(NAMED)


def format(name: str | Format) -> Format:
    """Return the format of a name, or of a call such as "FixedPoint(8, 6, symmetric=True)"; of a Format, itself.

    `format(str(fmt))` is `fmt` for all formats of lpnet. Raises ValueError with the nearest names.
    """
    if isinstance(name, Format):
        return name
    if not isinstance(name, str):
        raise TypeError(f"format: expected a Format or the name of one, got {name!r}")
    if name in NAMED:
        return NAMED[name]
    for pattern, make in _PATTERNS:
        if match := re.fullmatch(pattern, name):
            return make(*match.groups())
    if re.match(rf"({'|'.join(_CLASSES)})\(", name):
        with contextlib.suppress(SyntaxError):
            return _call(ast.parse(name, mode="eval").body)
    near = difflib.get_close_matches(name, [*names(), *_EXAMPLES]) or [*names(), *_EXAMPLES]
    raise ValueError(f"unknown format {name!r}; the nearest are {', '.join(near)}")


def _call(node: ast.expr) -> Any:
    """Return the format that a call makes, of constants and of formats; nothing else is evaluated."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CLASSES:
        arguments = {str(keyword.arg): _call(keyword.value) for keyword in node.keywords}
        return _CLASSES[node.func.id](*map(_call, node.args), **arguments)
    return ast.literal_eval(node)
