"""Record CuPy's surface: `python -m tests.gpu.record` where CuPy is installed (no GPU is needed) rewrites surface.txt.

A line a name: "ufunc", "value" or "function", the name, and a function's parameters where Python can tell them.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("surface.txt")


def lines(cupy: Any) -> Iterator[str]:
    """Yield what CuPy offers, and what its arrays do."""
    yield f"# CuPy {cupy.__version__}"
    for prefix, owner in (("", cupy), ("ndarray.", cupy.ndarray)):
        for name in sorted(vars(owner) if owner is cupy else dir(owner)):
            if not name.startswith("_"):
                value = getattr(owner, name)
                what = kind(cupy, value)
                yield " ".join([what, prefix + name, *(parameters(value) if what == "function" else ())])


def kind(cupy: Any, value: Any) -> str:
    """Return what sort of thing a name stands for."""
    if isinstance(value, cupy.ufunc):
        return "ufunc"
    return "function" if callable(value) and not isinstance(value, type) else "value"


def parameters(value: Any) -> list[str]:
    """Return the names of a function's parameters, with ** for any; compiled ones have them in their documentation."""
    try:
        found = inspect.signature(value).parameters.values()
        return ["**" if p.kind is p.VAR_KEYWORD else p.name for p in found if p.name != "self"]
    except (TypeError, ValueError):
        first = (getattr(value, "__doc__", None) or "").partition("\n")[0]
        inside = first.partition("(")[2].rpartition(")")[0].split(",") if "(self" in first else []
        return [p.partition("=")[0].split()[-1].lstrip("*") for p in inside if p.strip() not in ("self", "")]


if __name__ == "__main__":
    FILE.write_text("\n".join(lines(importlib.import_module("cupy"))) + "\n", encoding="utf-8")
