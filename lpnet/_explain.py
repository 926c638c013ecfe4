"""Why numbers were rounded as they were, in words: `print(lp.explain(0.3, "e4m3"))`."""

from __future__ import annotations

import contextlib
import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

from . import formats, tables
from .backend import to_device
from .formats.base import Format, float_array, quiet
from .rounding import Stochastic, mode

RULES = {
    "nearest": "the nearer neighbour; a tie goes to the even one",
    "nearest_away": "the nearer neighbour; a tie goes away from zero",
    "nearest_up": "the nearer neighbour; a tie goes up",
    "toward_zero": "the neighbour on the side of zero; there are no ties",
    "floor": "the neighbour below; there are no ties",
    "ceil": "the neighbour above; there are no ties",
    "stochastic": "either neighbour, the nearer one more often; there are no ties",
}


Line = tuple[str, str]  # what is told, and it
Place = tuple[int, ...]  # of a number in an array


@dataclass(repr=False)
class Explanation:
    """What rounding does to one number; `str()` of it says so in lines of at most 80 columns."""

    x: float
    below: float  # the neighbours: both are x where x is a number of the format, both the end where it is beyond
    above: float
    result: float | None  # None if chance decides
    fraction: float  # where x lies between its neighbours, from 0 to 1; an infinity counts as what would come next
    probability: float  # that stochastic rounding goes up
    lines: list[Line]
    element: Format  # of a single number: the format itself, but for formats in blocks
    scale: float  # of the block, 1 where there are none
    block: Explanations  # of all numbers that share the scale

    def code(self, y: float) -> str:
        """Return the code of y, a number of the format, in bits, a space between fields; nothing where it has none."""
        return _code(self.element, y, self.scale)

    def __str__(self) -> str:
        return _text(self.lines)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return tables.preformatted(str(self))


class Explanations:
    """What rounding does to several numbers of an array: `print` it for a table of each block.

    `told[1, 2]` is the `Explanation` of the number there.
    """

    def __init__(self, ways: _Ways, places: np.ndarray) -> None:
        self._ways, self._places = ways, places  # (N, axes of the array)

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int | Place) -> Explanation:
        return _explanation(self._ways, _place(self._ways.x.shape, index))

    def __str__(self) -> str:
        parts = ["\n".join([_text(lines), _table(rows)]).strip() for lines, rows in self._blocks()]
        return "\n\n".join([_text([self._ways.title]), *parts, *self._rest()])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        parts = [tables.html(HEAD, rows, _text(lines)) for lines, rows in self._blocks()]
        return "".join([tables.preformatted(_text([self._ways.title])), *parts, *self._rest()])

    def _blocks(self) -> Iterator[tuple[list[Line], list[list[str]]]]:
        """Yield what is to be said of each block, and the rows of its numbers."""
        blocks: dict[int, list[Place]] = {}
        for at in map(tuple, self._places[:MOST].tolist()):
            blocks.setdefault(int(self._ways.owner[at]), []).append(at)
        for places in blocks.values():
            yield _block_lines(self._ways, places[0]), [_row(self[at], at) for at in places]

    def _rest(self) -> list[str]:
        more = len(self) - MOST
        return [f"and {more:,} more numbers; with index=... one of them is explained"] if more > 0 else []


HEAD = ["number", "x", "below", "above", "up", "becomes", "code"]
MOST = 128  # rows that are shown: four blocks of 32


def _row(told: Explanation, at: Place) -> list[str]:
    name = f"[{', '.join(map(str, at))}]"
    up = f"{told.probability:.1%}" if told.below < told.above else "-"
    fate = ["by chance", ""] if told.result is None else [f"{told.result:.6g}", told.code(told.result)]
    return [name, f"{told.x:.6g}", f"{told.below:.6g}", f"{told.above:.6g}", up, *fate]


def _table(rows: list[list[str]]) -> str:
    """Return the rows, without their codes where these would make them wider than the terminal."""
    whole = tables.text(HEAD, rows)
    narrow = len(whole.splitlines()[0]) <= tables.columns()
    return whole if narrow else tables.folded(HEAD[:-1], [row[:-1] for row in rows])


def _text(lines: list[Line]) -> str:
    """Return lines of at most 80 columns, what is told to the left; long ones go on below themselves."""
    told = []
    for name, text in lines:
        first, *more = textwrap.wrap(text, tables.columns() - 12, break_on_hyphens=False) or [""]
        told += [f"{name:<11} {first}".rstrip(), *(f"{'':11} {line}".rstrip() for line in more)]
    return "\n".join(told)


@overload
def explain(x: Any, fmt: Format | str, rounding: str | Stochastic = ..., index: None = None) -> Any: ...
@overload
def explain(x: Any, fmt: Format | str, rounding: str | Stochastic = ..., *, index: int | Place) -> Explanation: ...
@overload
def explain(x: Any, fmt: Format | str, rounding: str | Stochastic, index: int | Place) -> Explanation: ...
def explain(
    x: Any, fmt: Format | str, rounding: str | Stochastic = "nearest", index: int | Place | None = None
) -> Explanation | Explanations:
    """Return how a number, or every number of an array, is rounded: its code, its neighbours, the tie rule, the odds.

    Parameters: x, a float or an array; index, the one element to explain (the others matter for formats in blocks;
    what comes back has those of its block as `block`). Raises ValueError for an array without numbers, IndexError if
    there is no such element.
    """
    x = to_device(float_array(x, "explain"), "cpu")
    if not x.size:
        raise ValueError(f"explain: x has shape {x.shape}, there is no number in it")
    ways = _Ways(x, formats.format(fmt), rounding)
    if index is None and x.size > 1:
        return Explanations(ways, np.argwhere(np.ones(x.shape, bool)))
    return _explanation(ways, (0,) * x.ndim if index is None else _place(x.shape, index))


def _place(shape: tuple[int, ...], index: int | Place) -> Place:
    """Return the index of an element with an entry for each axis, counted from the front."""
    at = tuple(np.atleast_1d(index).tolist())
    if len(at) != len(shape) or not all(-n <= i < n for i, n in zip(at, shape, strict=True)):
        raise IndexError(f"explain: index {index} is no element of an array of shape {shape}")
    return tuple(i % n for i, n in zip(at, shape, strict=True))


class _Ways:
    """An array, what rounding can make of it, and the blocks it is cut into."""

    def __init__(self, x: np.ndarray, fmt: Format, rounding: str | Stochastic) -> None:
        rule = mode(rounding)
        self.x, self.fmt, self.random = x, fmt, isinstance(rule, Stochastic)
        self.bits = rule.bits if isinstance(rule, Stochastic) else 16
        self.rounding = "stochastic" if self.random else str(rounding)
        self.below, self.above = (fmt.quantize(x, side) for side in ("floor", "ceil"))
        self.result = None if self.random else fmt.quantize(x, rounding)
        self.scales, self.owner = _cut(x, fmt)

    @property
    def title(self) -> Line:
        return "", f"{self.fmt}, {f'stochastic, {self.bits} bits' if self.random else self.rounding}"

    @property
    def blocked(self) -> bool:
        return self.scales.size > 0

    def places(self, at: Place) -> np.ndarray:
        """Return the places of the numbers that share the scale of the one at `at`."""
        return np.argwhere(self.owner == self.owner[at]) if self.blocked else np.array([at], int).reshape(1, -1)


def _cut(x: np.ndarray, fmt: Format) -> tuple[np.ndarray, np.ndarray]:
    """Return the scale of each block, none where there are no blocks, and the number of each element's block."""
    if isinstance(fmt, formats.Blocked):
        with quiet(), contextlib.suppress(NotImplementedError):  # a user's, which rounds by a `quantize` of its own
            scales = fmt.scales(x)
            numbers = np.arange(scales.size).reshape(scales.shape)
            return scales.reshape(-1), np.broadcast_to(fmt.expand(numbers, x.shape), x.shape)
    return np.empty(0), np.zeros(x.shape, int)


def _explanation(ways: _Ways, at: Place) -> Explanation:
    """Return what is to be said of one number."""
    value, below, above = (float(a[at]) for a in (ways.x, ways.below, ways.above))
    alike = below == above or (math.isnan(below) and math.isnan(above))
    result = float(ways.result[at]) if ways.result is not None else below if alike else None
    n = 2**ways.bits
    element = ways.fmt.element if isinstance(ways.fmt, formats.Blocked) and ways.blocked else ways.fmt
    scale = float(ways.scales[ways.owner[at]]) if ways.blocked else 1.0
    fraction = _fraction(value, below, above, element, scale) if below < value < above else 0.0
    ups = min(max(math.ceil(fraction * n - 0.5), 0), n)

    def show(y: float) -> str:
        return f"{y:<24.17g} {_code(element, y, scale)}"

    lines = [ways.title, ("x", f"{value:.17g} in {ways.x.dtype}"), *_block_lines(ways, at)]
    if result is not None:
        lines.append(("becomes", show(result)))
    lines.append(("bits", "  ".join(f"{part} {width}" for part, width in ways.fmt.fields() if width)))
    if math.isnan(scale) and not math.isnan(value):
        lines.append(("", "a number of the block is not finite: all of it become NaN"))
    else:
        lines += _between(value, below, above, fraction, show)
    if below < value < above:
        lines.append(("rule", RULES[ways.rounding]))
        lines.append(("stochastic", f"{n - ups} : {ups} of {n}, or {1 - ups / n:.4%} down, {ups / n:.4%} up"))
    block = Explanations(ways, ways.places(at))
    return Explanation(value, below, above, result, fraction, ups / n, lines, element, scale, block)


def _fraction(value: float, below: float, above: float, element: Format, scale: float) -> float:
    """Return where a number lies between its neighbours; an infinity counts as the number that would come next."""
    with contextlib.suppress(NotImplementedError):  # a user's, which rounds by a `quantize` of its own
        if math.isinf(above):
            above = below + float(element.spacing(np.array([below / scale])).flat[0]) * scale
        elif math.isinf(below):
            below = above - float(element.spacing(np.array([-above / scale])).flat[0]) * scale
    return min(max((value - below) / (above - below), 0.0), 1.0)


def _between(value: float, below: float, above: float, fraction: float, show: Any) -> list[Line]:
    """Return the lines on the neighbours and the way between them."""
    if not below < value < above:
        beyond = "NaN has no neighbours" if math.isnan(value) else "x is beyond the ends of the format"
        return [("", "x is a number of the format: it stays, in every mode" if value == below == above else beyond)]
    sides = [("below", show(below)), ("above", show(above))]
    if not math.isfinite(above - below):
        return [*sides, ("", "beyond the largest number; whether it overflows is judged after rounding")]
    mark = min(int(fraction * 40), 39)
    picture = "|" + "-" * mark + "x" + "-" * (39 - mark) + "|"
    where = "a tie" if fraction == 0.5 else f"{fraction:.6g} of the gap"
    return [*sides, ("gap", f"{above - below:.17g}"), ("", f"{picture} {where}")]


def _block_lines(ways: _Ways, at: Place) -> list[Line]:
    """Return the line that tells of the block of a number: how large it is, its scale, and which number set it."""
    if not ways.blocked:
        return []
    x, mine, scale = ways.x, ways.owner == ways.owner[at], float(ways.scales[ways.owner[at]])
    first = np.unravel_index(np.argmax(np.where(mine, np.where(np.isfinite(x), abs(x), np.inf), -1)), x.shape)
    setter = f"x[{', '.join(str(int(i)) for i in first)}] = {float(x[first]):.9g}" if x.ndim else f"x = {float(x):.9g}"
    exponent = f" = 2^{math.frexp(scale)[1] - 1}" if scale > 0 and math.frexp(scale)[0] == 0.5 else ""
    return [("block", f"of {int(mine.sum())}, scale {scale:.9g}{exponent}, set by {setter}")]


def _code(element: Format, y: float, scale: float) -> str:
    """Return the code of y in bits, a space between fields; nothing where there is none."""
    try:
        with quiet():
            unit = element.quantize(np.array([y / scale if scale else 0.0]))
        code = int(element.to_codes(unit)[0])
    except (NotImplementedError, ValueError):
        return ""
    bits, parts = f"{code:0{element.bits}b}", []
    for _, width in element.fields():
        parts.append(bits[:width])
        bits = bits[width:]
    return " ".join(part for part in parts if part)
