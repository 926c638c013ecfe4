"""Formats by name: `format("bfp8")`, and `str(fmt)` gives the name back."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable

from .base import Format
from .block import BlockFloatingPoint
from .fixed import FixedPoint
from .floating import PRESETS, FloatingPoint
from .scaled import SCALED

NAMED: dict[str, Format] = {**PRESETS, **SCALED}

_PATTERNS: tuple[tuple[str, Callable[..., Format]], ...] = (
    (r"e(\d+)m(\d+)", lambda exp, man: FloatingPoint(int(exp), int(man))),
    (r"fixed(\d+)\.(-?\d+)", lambda wl, fl: FixedPoint(int(wl), int(fl))),
    (r"bfp(\d+)", lambda wl: BlockFloatingPoint(int(wl))),
    (r"bfp(\d+):tensor", lambda wl: BlockFloatingPoint(int(wl), axis=None)),
    (r"bfp(\d+):(\d+)", lambda wl, block: BlockFloatingPoint(int(wl), axis=-1, block=int(block))),
)
_EXAMPLES = ("fixed8.6", "bfp8", "bfp4", "bfp8:tensor", "bfp8:16")


def names() -> list[str]:
    """Return the names of the presets."""
    return list(NAMED)


def format(name: str | Format) -> Format:
    """Return the format of that name; a Format is returned as it is. Raises ValueError with the nearest names."""
    if isinstance(name, Format):
        return name
    if not isinstance(name, str):
        raise TypeError(f"format: expected a Format or the name of one, got {name!r}")
    if name in NAMED:
        return NAMED[name]
    for pattern, make in _PATTERNS:
        if match := re.fullmatch(pattern, name):
            return make(*match.groups())
    near = difflib.get_close_matches(name, [*names(), *_EXAMPLES]) or [*names(), *_EXAMPLES]
    raise ValueError(f"unknown format {name!r}; the nearest are {', '.join(near)}")
