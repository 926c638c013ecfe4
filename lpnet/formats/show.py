"""Formats as text and as pictures."""

from __future__ import annotations

import importlib
import math
import os
import textwrap
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from .base import Format
from .names import format, names


def table() -> str:
    """Return a table of the preset formats, at most 80 columns wide."""
    head = f"{'name':11} {'bits':>6} {'largest':>11} {'smallest':>11} {'digits':>6}  special values"
    rows = []
    for name in names():
        fmt = format(name)
        row = f"{name:11} {_bits(fmt):>6} {fmt.max:11.6g} {fmt.smallest:11.6g} {_digits(fmt):6.1f}  {_special(fmt)}"
        rows.append(row)
    note = "\nBlocks: bits count the scale in; largest and smallest are in units of the scale.\nAlso: "
    more = "any e{exp}m{man}; fixed{wl}.{fl}; bfp{wl}, bfp{wl}:tensor, bfp{wl}:{block}"
    return "\n".join([head, *rows]) + note + more


def describe(name: str | Format) -> str:
    """Return an exact description of a format, at most 80 columns wide."""
    fmt = format(name)
    element = getattr(fmt, "element", fmt)
    lines = [str(fmt), "", _wrap(_meaning(fmt)), ""]
    values = {f.name: getattr(fmt, f.name) for f in fields(fmt)}
    lines += [f"  {name:12} {value}" for name, value in values.items()]
    lines += ["", f"  {'bits':12} " + ", ".join(f"{width} {part}" for part, width in element.fields() if width)]
    units = " times the scale" if hasattr(fmt, "element") else ""
    lines += [f"  {'largest':12} {_exact(fmt.max)}{units}", f"  {'smallest':12} {_exact(fmt.smallest)}{units}"]
    if hasattr(element, "emin"):
        lines.append(f"  {'normal from':12} {_exact(2.0**element.emin)}{units}")
    lines.append(f"  {'digits':12} {_digits(fmt):.1f} decimal")
    if hasattr(fmt, "element"):
        lines.append(f"  {'scale':12} {fmt.scale}, {_power(fmt.scale.smallest)} to {_power(fmt.scale.max)}")
        lines.append(f"  {'storage':12} {_bits(fmt)} bits a number where blocks are full")
    lines.append(f"  {'special':12} {_special(fmt)}")
    return "\n".join(lines)


def plot(name: str | Format, path: str | os.PathLike[str]) -> None:
    """Write a picture of the format's numbers on the number line, linear and logarithmic, to `path` (.png, .svg, .pdf).

    Raises ImportError if matplotlib is missing, OSError if the file cannot be written.
    """
    try:
        figure_module = importlib.import_module("matplotlib.figure")
    except ImportError as error:
        raise ImportError("a picture needs matplotlib: pip install 'lpnet[demo]'") from error
    fmt = format(name)
    values = _positive(fmt)
    figure = figure_module.Figure(figsize=(9, 3), layout="constrained")
    for axes, scale in zip(figure.subplots(2, 1), ("linear", "log"), strict=True):
        shown = values if scale == "log" else np.concatenate([-values[::-1], [0.0], values])
        axes.vlines(shown, 0, 1, linewidth=0.6)
        axes.set_xscale(scale, **({"base": 2} if scale == "log" else {}))
        axes.set_yticks([])
        axes.spines[["left", "right", "top"]].set_visible(False)
    unit = ", in units of the block's scale" if hasattr(fmt, "element") else ""
    figure.suptitle(f"{fmt}: {'every number' if len(values) < _MOST else 'some of its numbers'}{unit}")
    _write(figure, Path(path))


_MOST = 4096  # lines in a picture


def _positive(fmt: Format) -> np.ndarray:
    """Return the numbers above zero, spread evenly over the codes if there are too many to show."""
    element = getattr(fmt, "element", fmt)
    count = 2 ** (element.bits - 1)
    codes = np.unique(np.linspace(1, count - 1, min(_MOST, count)).astype(np.uint64))
    values = element.from_codes(codes, np.dtype(np.float64))
    return np.unique(values[np.isfinite(values) & (values > 0)])


def _write(figure: Any, path: Path) -> None:
    """Save the figure so that the whole file is there or none."""
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        figure.savefig(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _bits(fmt: Format) -> str:
    """Return the bits a number takes, its share of the block's scale included."""
    if hasattr(fmt, "element"):
        return f"{fmt.bits + fmt.scale.bits / fmt.block:g}" if fmt.block else f"{fmt.bits}+"
    return f"{fmt.bits}"


def _digits(fmt: Format) -> float:
    """Return how many decimal digits the bits of a mantissa, or of an integer, are worth."""
    element = getattr(fmt, "element", fmt)
    bits = element.man + 1 if hasattr(element, "emin") else element.bits - 1
    return bits * math.log10(2)


def _special(fmt: Format) -> str:
    """Return which values there are that are no numbers, and what overflow gives."""
    if hasattr(fmt, "element"):
        return "NaN blocks" if fmt.has_nan else "none"
    has = [text for text, there in (
        ("-0", fmt.signed_zero), ("NaN", fmt.has_nan), ("inf", getattr(fmt, "specials", "") == "ieee"),
    ) if there]  # fmt: skip
    return ", ".join(has + (["saturates"] if getattr(fmt, "saturate", False) else [])) or "none"


def _exact(value: float) -> str:
    """Return a number by its power of two and in decimal."""
    return f"{_power(value)} = {value:.9g}"


def _power(value: float) -> str:
    """Return a number as a mantissa in [1, 2) times a power of two."""
    mantissa, exponent = math.frexp(value)
    return f"2^{exponent - 1}" if mantissa == 0.5 else f"{mantissa * 2:.10g} * 2^{exponent - 1}"


def _meaning(fmt: Format) -> str:
    """Return the first paragraph of the class's documentation."""
    return " ".join((type(fmt).__doc__ or "").split("\n\n")[0].split())


def _wrap(text: str) -> str:
    return textwrap.fill(text, 78)
