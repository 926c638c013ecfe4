"""The tab Number: what becomes of one number, bit by bit. All of it is what `lp.explain` and the format say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import lpnet as lp

from .fields import MOST, ROUNDINGS, Field, format_name, one_of, row, whole

if TYPE_CHECKING:
    from lpnet._explain import Explanation

FIELDS = (
    Field("row", "Numbers", "0.3", row, hint="one, or a row that shares a scale", longest=25 * MOST),
    Field("at", "Which of them", "0", whole(0, MOST - 1)),
    Field("format", "Format", "e4m3", format_name),
    Field("rounding", "Rounding", "stochastic", one_of(ROUNDINGS), ROUNDINGS),
    Field("bits", "Random bits", "16", whole(1, 16), hint="of stochastic rounding"),
)
BESIDE = 4  # numbers of the format to show on each side


@dataclass
class Shown:
    """What the tab shows of one number."""

    told: Explanation
    row: list[float]
    at: int
    blocked: bool  # whether the numbers of a row share scales
    modes: list[tuple[str, str]]  # each rounding, and what it makes of the number
    line: list[float]  # numbers of the format around it
    python: str


def shown(row: list[float], at: int, format: str, rounding: str, bits: int) -> Shown:
    """Return what to show; raises ValueError for what the format refuses."""
    x, fmt = np.array(row), lp.format(format)
    if at >= len(x):
        raise ValueError(f"Which of them: the row has {len(x)} numbers, the first is number 0, not {at}")
    rule = lp.Stochastic(bits) if rounding == "stochastic" and bits < 16 else rounding
    told = lp.explain(x, fmt, rule, at)
    modes = [(name, _result(lp.explain(x, fmt, name, at))) for name in ROUNDINGS]
    written = f"lp.{rule}" if isinstance(rule, lp.Stochastic) else repr(rule)
    python = f"print(lp.explain(np.array({_listed(row)}), {format!r}, {written}, {at}))"
    python = f"import numpy as np\nimport lpnet as lp\n\n{python}"
    return Shown(told, row, at, isinstance(fmt, lp.formats.Blocked), modes, _line(told), python)


def _listed(row: list[float]) -> str:
    return f"[{', '.join(repr(x) if np.isfinite(x) else f'float({str(x)!r})' for x in row)}]"


def _result(told: Explanation) -> str:
    if told.result is not None:
        return number(told.result)
    return f"{number(told.below)} or {number(told.above)}"


def number(x: float) -> str:
    """Return a number as short as it can be written exactly."""
    return f"{x:.17g}" if float(f"{x:.9g}") != x else f"{x:.9g}"


def _line(told: Explanation) -> list[float]:
    """Return the numbers of the format next to x, in the units of x."""
    sides = {"floor": (told.below, -np.inf), "ceil": (told.above, np.inf)}
    found = {told.below, told.above}
    for rounding, (y, end) in sides.items():
        for _ in range(BESIDE):
            found.add(y := _next(told, y, rounding, end))
    return sorted(y for y in found if np.isfinite(y))


def _next(told: Explanation, y: float, rounding: str, end: float) -> float:
    if not np.isfinite(y) or not told.scale > 0:
        return y
    beyond = np.nextafter(np.array([y / told.scale]), end)
    return float(told.element.quantize(beyond, rounding)[0] * told.scale)


def code(told: Explanation, y: float) -> list[tuple[str, str]]:
    """Return the code of y, a number of the format, as (field, bits) from the highest bit down; nothing without one."""
    fields = [name for name, width in told.element.fields() if width]
    return list(zip(fields, told.code(y).split(), strict=False))


def flipped(told: Explanation, y: float, bit: int) -> float:
    """Return the number whose code differs from that of y in one bit, counted from the highest."""
    bits = told.code(y).replace(" ", "")
    codes = np.array([int(bits, 2) ^ (1 << (len(bits) - 1 - bit))], np.uint64)
    return float(told.element.from_codes(codes, np.dtype(np.float64))[0] * (told.scale or 1.0))


def dragged(format: str, place: float) -> float:
    """Return the number at a place from -1 to 1 of the slider: magnitudes grow by equal factors."""
    low, high = _reach(format)
    return float(np.sign(place) * low * (high / low) ** abs(place)) if place else 0.0


def place(format: str, x: float) -> float:
    """Return where a number is on the slider."""
    low, high = _reach(format)
    if not abs(x) > low:  # NaN has no place but zero's
        return 0.0
    return float(np.sign(x) * min(np.log(abs(x) / low) / np.log(high / low), 1.0))


def _reach(format: str) -> tuple[float, float]:
    """Return half the smallest number, and somewhat more than the largest, of a block with a scale of 8."""
    fmt = lp.format(format)
    wide = 8.0 if isinstance(fmt, lp.formats.Blocked) else 1.0
    return fmt.smallest / 2 or 2.0**-1074, min(fmt.max * 1.25 * wide, 1e308)
