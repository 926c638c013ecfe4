"""Formats as text and as pictures."""

from __future__ import annotations

import math
import os
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import picture, tables
from ._names import format, names
from .base import Format
from .floating import FloatingPoint
from .tiles import Blocked

BLOCKS = "Blocks: bits count the scale in; largest and smallest are in units of the scale."
ALSO = (
    "Also: any e{exp}m{man}; fixed{wl}.{fl}; bfp{wl}, bfp{wl}:tensor, bfp{wl}:{block}; posit{bits}.{es}, "
    "log{bits}.{fraction bits}; of IEEE P3109, with infinities or without, p3109_k{bits}p{precision}se, sf.",
    "Blocks of other sizes, with float32 scales, or with scales by other rules: nvfp4:16x16, e4m3:128x128, nf4:64, "
    "mxfp8_e4m3:ceil, mxfp4_e2m1:even, mxfp4_e2m1:4/3, nvfp4:4/6.",
)


def table() -> str:
    """Return a table of the preset formats, as wide as the terminal, of at most 80 columns."""
    head = ["name", "bits", "largest", "smallest", "digits", "special values"]
    notes = tables.fill(BLOCKS), *(tables.fill(line) for line in ALSO)
    return "\n".join([tables.folded(head, map(_cells, names())), *notes])


def _cells(name: str) -> list[str]:
    fmt = format(name)
    return [name, _bits(fmt), f"{fmt.max:.6g}", f"{fmt.smallest:.6g}", f"{_digits(fmt):.1f}", _special(fmt)]


def describe(name: str | Format) -> str:
    """Return an exact description of a format, at most 80 columns wide."""
    fmt = format(name)
    element = _element(fmt)
    lines = [str(fmt), "", _wrap(_meaning(fmt)), ""]
    values = {name: value for name, value in vars(fmt).items() if not name.startswith("_")}
    lines += [f"  {name:12} {_short(value)}" for name, value in values.items()]
    parts = ", ".join(f"{width} {part}" for part, width in element.fields() if width)
    lines += ["", f"  {'bits':12} {parts or 'no codes'}"]
    units = " times the scale" if isinstance(fmt, Blocked) else ""
    lines += [f"  {'largest':12} {_exact(fmt.max)}{units}", f"  {'smallest':12} {_exact(fmt.smallest)}{units}"]
    if fmt.min != -fmt.max:
        lines.append(f"  {'lowest':12} {_exact(fmt.min)}{units}")
    if isinstance(element, FloatingPoint):
        lines.append(f"  {'normal from':12} {_exact(2.0**element.emin)}{units}")
    if element.bits is not None:
        lines.append(f"  {'digits':12} {_digits(fmt):.1f} decimal")
    if isinstance(fmt, Blocked):
        lines.append(f"  {'scale':12} {fmt.scale}, {_power(fmt.scale.smallest)} to {_power(fmt.scale.max)}")
        lines.append(f"  {'storage':12} {_bits(fmt)} bits a number where blocks are full")
    lines.append(f"  {'special':12} {_special(fmt)}")
    return "\n".join(lines)


def as_html(fmt: Format) -> str:
    """Return what a notebook shows of a format: its description, and its numbers on a line."""
    return tables.preformatted(f"{describe(fmt)}\n\n{number_lines([fmt])}")


def plot(name: str | Format, path: str | os.PathLike[str]) -> None:
    """Write a picture of the format's numbers on the number line, linear and logarithmic, to `path` (.png, .svg, .pdf).

    Raises ImportError if matplotlib is missing, OSError if the file cannot be written.
    """
    fmt = format(name)
    picture.save(Path(path), (9, 3), lambda figure: _draw(figure, fmt))


def _draw(figure: Any, fmt: Format) -> None:
    values = numbers(fmt)
    for axes, scale in zip(figure.subplots(2, 1), ("linear", "log"), strict=True):
        shown = values[values > 0] if scale == "log" else values
        axes.vlines(shown, 0, 1, linewidth=0.6)
        axes.set_xscale(scale, **({"base": 2} if scale == "log" else {}))
        axes.set_yticks([])
        axes.spines[["left", "right", "top"]].set_visible(False)
    unit = ", in units of the block's scale" if isinstance(fmt, Blocked) else ""
    figure.suptitle(f"{fmt}: {'every number' if _all_shown(fmt) else 'some of its numbers'}{unit}")


_MARKS = ((1, "|"), (4, "H"), (math.inf, "#"))  # for up to so many numbers in one column


def number_lines(formats: Sequence[Format], width: int = 80) -> str:
    """Return the numbers from 0 up of several formats, a line each, on one axis.

    It is linear from 0 to the largest of the smallest numbers, then goes by powers of two.
    """
    names = [f"{fmt}*" if isinstance(fmt, Blocked) else str(fmt) for fmt in formats]
    room = max(map(len, names)) + 2
    columns = max(20, width - room)
    values = [numbers(fmt)[numbers(fmt) >= 0] for fmt in formats]
    knee = max(fmt.smallest for fmt in formats)
    end = max(knee, *(float(v[-1]) for v in values))
    octaves = math.log2(end) - math.log2(knee) + 1  # and one for what is below the knee

    def place(x: float) -> int:
        return int((x / knee if x < knee else math.log2(x) - math.log2(knee) + 1) / octaves * (columns - 1))

    lines = []
    for name, value in zip(names, values, strict=True):
        counts = np.bincount([place(float(x)) for x in value], minlength=columns)
        marks = (next((mark for most, mark in _MARKS if 0 < n <= most), " ") for n in counts)
        lines.append(f"{name:{room}}{''.join(marks)}".rstrip())
    lines.append(" " * room + _ticks(place, knee, end, columns))
    blocks = "; * in units of the block's scale" if any(isinstance(fmt, Blocked) for fmt in formats) else ""
    return "\n".join([*lines, f"| one number, H up to four, # more{blocks}"])


def _ticks(place: Callable[[float], int], knee: float, end: float, columns: int) -> str:
    """Return 0 and powers of two under their places, as many as there is room for."""
    line = "0"
    for exponent in range(math.ceil(math.log2(knee)), math.floor(math.log2(end)) + 1):
        at, text = place(2.0**exponent), f"{2**exponent}" if 0 <= exponent < 10 else f"2^{exponent}"
        if at > len(line) and at + len(text) <= columns:
            line = f"{line:{at}}{text}"
    return line


_MOST = 4096  # lines in a picture


def _all_shown(fmt: Format) -> bool:
    """Return whether a picture has a line for every number."""
    bits = _element(fmt).bits
    return bits is not None and 2**bits <= 2 * _MOST


def numbers(fmt: Format) -> np.ndarray:
    """Return the numbers in ascending order, spread evenly over the codes if there are too many to show.

    A format without codes shows what it makes of numbers spread over its range.
    """
    element = _element(fmt)
    try:
        last = 2**element.bits - 1
        steps = min(2 * _MOST - 1, last)
        codes = np.array([i * last // steps for i in range(steps + 1)], np.uint64)
        values = element.from_codes(codes, np.dtype(np.float64))
    except (NotImplementedError, TypeError):  # no codes, no bits
        values = _rounded(element)
    return np.unique(values[np.isfinite(values)])


def _rounded(fmt: Format) -> np.ndarray:
    """Return what a format makes of zero and of numbers from the smallest to the ends."""
    low = max(fmt.smallest, 2.0**-1022)
    sides = [sign * np.geomspace(low, max(abs(end), low), _MOST) for sign, end in ((-1, fmt.min), (1, fmt.max))]
    return fmt.quantize(np.concatenate([sides[0], [0.0], sides[1]]))


def _element(fmt: Format) -> Format:
    """Return the format of a single number."""
    return fmt.element if isinstance(fmt, Blocked) else fmt


def _bits(fmt: Format) -> str:
    """Return the bits a number takes, its share of the block's scale included."""
    if isinstance(fmt, Blocked):
        return f"{fmt.bits + fmt.scale.bits / np.prod(fmt.block):g}" if fmt.block else f"{fmt.bits}+"
    return "-" if fmt.bits is None else f"{fmt.bits}"


def _digits(fmt: Format) -> float:
    """Return how many decimal digits the bits of a mantissa, or of an integer, are worth."""
    element = _element(fmt)
    bits = element.man + 1 if isinstance(element, FloatingPoint) else (element.bits or 1) - 1
    return bits * math.log10(2)


def _special(fmt: Format) -> str:
    """Return which values there are that are no numbers, and what overflow gives."""
    if isinstance(fmt, Blocked):
        return "NaN blocks" if fmt.has_nan else "none"
    has = [
        text
        for text, there in (
            ("-0", fmt.signed_zero),
            ("NaN", fmt.has_nan),
            ("inf", fmt.specials in ("ieee", "extended")),
        )
        if there
    ]
    return ", ".join(has + (["saturates"] if fmt.saturate else [])) or "none"


def _short(value: Any) -> str:
    """Return a field as text; of a long list its ends."""
    many = isinstance(value, tuple) and len(value) > 2
    return f"{value[0]:g}, {value[1]:g}, ... {value[-1]:g}, {len(value)} in all" if many else f"{value}"


def _exact(value: float) -> str:
    """Return a number by its power of two and in decimal."""
    return f"{_power(value)} = {value:.9g}"


def _power(value: float) -> str:
    """Return a number as a mantissa in [1, 2) times a power of two."""
    mantissa, exponent = math.frexp(value)
    if value < 0:
        return f"-{_power(-value)}"
    return f"2^{exponent - 1}" if mantissa == 0.5 else f"{mantissa * 2:.10g} * 2^{exponent - 1}"


def _meaning(fmt: Format) -> str:
    """Return the first paragraph of the class's documentation."""
    return " ".join((type(fmt).__doc__ or "").split("\n\n")[0].split())


def _wrap(text: str) -> str:
    return textwrap.fill(text, tables.columns() - 2)
