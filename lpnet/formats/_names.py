"""Formats by name: `format("bfp8")`, and `str(fmt)` gives the name back."""

from __future__ import annotations

import ast
import contextlib
import re
from collections.abc import Callable, Iterable
from typing import Any

from ..registry import unknown
from .base import REGISTERED, Format
from .block import BlockFloatingPoint
from .fixed import FixedPoint
from .floating import PRESETS, FloatingPoint, p3109
from .scaled import SCALED, BlockScaled, scaled
from .table import TABLES, Table, table
from .tiles import PRODUCT, Exponent

NAMED: dict[str, Format] = {**PRESETS, **TABLES, **SCALED}

_PATTERNS: tuple[tuple[str, Callable[..., Format]], ...] = (
    (r"e(\d+)m(\d+)", lambda exp, man: FloatingPoint(int(exp), int(man))),
    (r"fixed(\d+)\.(-?\d+)", lambda wl, fl: FixedPoint(int(wl), int(fl))),
    (r"bfp(\d+)", lambda wl: BlockFloatingPoint(int(wl))),
    (r"bfp(\d+):tensor", lambda wl: BlockFloatingPoint(int(wl), axis=None)),
    (r"bfp(\d+):(\d+)", lambda wl, block: BlockFloatingPoint(int(wl), PRODUCT, int(block))),
    (r"bfp(\d+):(\d+)x(\d+)", lambda wl, m, n: BlockFloatingPoint(int(wl), PRODUCT, (int(m), int(n)))),
    (r"(?:p3109_k|binary)(\d+)p(\d+)s([ef])", lambda k, p, ends: p3109(int(k), int(p), ends == "e")),
)
_CLASSES: dict[str, Callable[..., Format]] = {
    kind.__name__: kind for kind in (FixedPoint, FloatingPoint, BlockFloatingPoint, BlockScaled, Exponent, Table)
}
_EXAMPLES = ("fixed8.6", "bfp8", "bfp4", "bfp8:tensor", "bfp8:16")


_ALIASES = {
    "float64": "e11m52",
    "double": "e11m52",
    "float32": "fp32",
    "float": "fp32",
    "float16": "fp16",
    "half": "fp16",
    "bfloat16": "bf16",
    "tfloat32": "tf32",
    "int8": "fixed8.0",
    "mxfp4": "mxfp4_e2m1",
    "fp4": "e2m1",
    "e4m3fn": "e4m3",
    "float8_e4m3fn": "e4m3",
    "float8_e4m3fnuz": "e4m3fnuz",
    "float8_e5m2fnuz": "e5m2fnuz",
    "float8_e5m2": "e5m2",
    "float6_e3m2fn": "e3m2",
    "float6_e2m3fn": "e2m3",
    "float4_e2m1fn": "e2m1",
}
_SEVERAL = {
    "fp8": ("e4m3", "e5m2"),
    "float8": ("e4m3", "e5m2"),
    "mxfp8": ("mxfp8_e4m3", "mxfp8_e5m2"),
    "fp6": ("e3m2", "e2m3"),
    "float6": ("e3m2", "e2m3"),
    "mxfp6": ("mxfp6_e3m2", "mxfp6_e2m3"),
}


def names() -> list[str]:
    """Return the names of the presets and of what is registered."""
    return [*NAMED, *REGISTERED]


def register(fmt: Format | type[Format], name: str | None = None) -> Any:
    """Make `format` know a format, or a class of formats, of the user's; returns it, so it may decorate a class.

    A format has the name given, or its own; a class is known by calls such as "Posit(8)", and with a name, `cls()` by
    that. Raises TypeError for what is no format, ValueError for a name that means another format or is none.
    """
    if isinstance(fmt, type) and issubclass(fmt, Format):
        if _CLASSES.get(fmt.__name__, fmt).__module__.startswith("lpnet."):
            raise ValueError(f"register: {fmt.__name__!r} is the name of a class of lpnet")
        if name is not None:
            register(fmt(), name)
        _CLASSES[fmt.__name__] = fmt
        return fmt
    if not isinstance(fmt, Format):
        raise TypeError(f"register: expected a Format or a class of formats, got {fmt!r}")
    name = fmt.name if name is None else name
    if isinstance(name, str) and name not in REGISTERED and (_preset(name) or name.lower() in _SEVERAL):
        raise ValueError(f"register: {name!r} is the name of a format of lpnet")
    return REGISTERED.register(name, fmt)


def _preset(name: str) -> Format | None:
    """Return the format of lpnet that a name means, in capitals or not."""
    name = _ALIASES.get(name.lower(), name.lower())
    if name in NAMED:
        return NAMED[name]
    for pattern, make in _PATTERNS:
        if match := re.fullmatch(pattern, name):
            return make(*match.groups())
    return table(name) or scaled(name)


def format(name: str | Format) -> Format:
    """Return the format of a name, or of a call such as "FixedPoint(8, 6, symmetric=True)"; of a Format, itself.

    `format(str(fmt))` is `fmt` for all formats of lpnet, and for what is registered. Raises ValueError with the
    nearest names, or with those that a name such as "fp8" may mean.
    """
    if isinstance(name, Format):
        return name
    if not isinstance(name, str):
        raise TypeError(f"format: expected a Format or the name of one, got {name!r}")
    if name in REGISTERED:
        return REGISTERED[name]
    if (preset := _preset(name)) is not None:
        return preset
    if name.lower() in _SEVERAL:
        raise ValueError(f"format: {name!r} may be {' or '.join(_SEVERAL[name.lower()])}: say which")
    if re.match(rf"({'|'.join(_CLASSES)})\(", name):
        with contextlib.suppress(SyntaxError):
            return _call(ast.parse(name, mode="eval").body)
    for fmt in REGISTERED.values():  # one whose text is neither its name nor a call
        if name == str(fmt):
            return fmt
    raise unknown("format", name, [*names(), *_EXAMPLES])


def take_rounders(instance: Any, fields: Iterable[str], make: Callable[[Format | str], Any] = format) -> None:
    """Have `make` of formats and names in these fields of a frozen dataclass; functions and None stay as they are.

    Raises TypeError for anything else.
    """
    for field in fields:
        value = getattr(instance, field)
        if isinstance(value, str | Format):
            object.__setattr__(instance, field, make(value))
        elif value is not None and not callable(value):
            owner = type(instance).__name__
            raise TypeError(f"{owner}: {field} must be a format, a name, a function or None, got {value!r}")


def _call(node: ast.expr) -> Any:
    """Return the format that a call makes, of constants and of formats; nothing else is evaluated."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CLASSES:
        arguments = {str(keyword.arg): _call(keyword.value) for keyword in node.keywords}
        return _CLASSES[node.func.id](*map(_call, node.args), **arguments)
    return ast.literal_eval(node)
