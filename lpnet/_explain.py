"""Why a number was rounded as it was, in words: `print(lp.explain(0.3, "e4m3"))`."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import formats
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


@dataclass
class Explanation:
    """What rounding does to one number; `str()` of it says so in lines of at most 80 columns."""

    x: float
    below: float  # the neighbours: both are x where x is a number of the format, both the end where it is beyond
    above: float
    result: float | None  # None if chance decides
    fraction: float  # where x lies between its neighbours, from 0 to 1
    probability: float  # that stochastic rounding goes up
    lines: list[tuple[str, str]] = field(repr=False)

    def __str__(self) -> str:
        return "\n".join(f"{name:<11} {text}"[:80].rstrip() for name, text in self.lines)


def explain(
    x: Any, fmt: Format | str, rounding: str | Stochastic = "nearest", index: int | tuple[int, ...] | None = None
) -> Explanation:
    """Return how one number is rounded: its code bit by bit, its neighbours, the tie rule, the odds.

    Parameters: x, a float or an array; index, which element of the array (the others matter for formats in blocks).
    Raises ValueError if x has several elements and no index says which, IndexError if there is no such element.
    """
    fmt, rule = formats.format(fmt), mode(rounding)
    x = to_device(float_array(x, "explain"), "cpu")
    if index is None and x.size != 1:
        raise ValueError(f"explain: x has shape {x.shape}; index must say which element")
    at = (0,) * x.ndim if index is None else tuple(np.atleast_1d(index).tolist())
    if len(at) != x.ndim or not all(-n <= i < n for i, n in zip(at, x.shape, strict=True)):
        raise IndexError(f"explain: index {index} is no element of an array of shape {x.shape}")
    at = tuple(i % n for i, n in zip(at, x.shape, strict=True))

    random = isinstance(rule, Stochastic)
    below, above = (float(fmt.quantize(x, m)[at]) for m in ("floor", "ceil"))
    value, result = float(x[at]), None if random and below != above else float(fmt.quantize(x, rounding)[at])
    with quiet():
        fraction = float(np.float64(value - below) / (above - below)) if below < value < above else 0.0
    bits = rule.bits if isinstance(rule, Stochastic) else 16
    ups = min(max(math.ceil(fraction * 2**bits - 0.5), 0), 2**bits) if math.isfinite(fraction) else 0

    element, scale, lines = _block(x, fmt, at)

    def show(y: float) -> str:
        return f"{y:<24.17g} {_code(element, y, scale)}"

    name = f"stochastic, {bits} bits" if random else rounding
    head = [("", f"{fmt}, {name}"), ("x", f"{value:.17g} in {x.dtype}"), *lines]
    if result is not None:
        head.append(("becomes", show(result)))
    head.append(("bits", "  ".join(f"{part} {width}" for part, width in fmt.fields() if width)))
    body = _between(value, below, above, fraction, show)
    if below < value < above:
        body.append(("rule", RULES["stochastic" if random else str(rounding)]))
    if below < value < above and math.isfinite(above - below):
        odds = f"{2**bits - ups} : {ups} of {2**bits}, or {1 - ups / 2**bits:.4%} down, {ups / 2**bits:.4%} up"
        body.append(("stochastic", odds))
    return Explanation(value, below, above, result, fraction, ups / 2**bits, head + body)


def _between(value: float, below: float, above: float, fraction: float, show: Any) -> list[tuple[str, str]]:
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


def _block(x: np.ndarray, fmt: Format, at: tuple[int, ...]) -> tuple[Format, float, list[tuple[str, str]]]:
    """Return the format of the element at `at`, the scale of its block, and the lines that tell of the block."""
    if not isinstance(fmt, formats.Blocked):
        return fmt, 1.0, []
    try:
        with quiet():
            scales = fmt.scales(x)
    except NotImplementedError:  # a user's, which rounds by a `quantize` of its own
        return fmt, 1.0, []
    numbers = np.arange(scales.size).reshape(scales.shape)  # of the blocks
    owner = np.broadcast_to(fmt.expand(numbers, x.shape), x.shape)
    mine = owner == owner[at]
    scale = float(scales.reshape(-1)[owner[at]])
    magnitude = np.where(mine, np.where(np.isfinite(x), abs(x), np.inf), -1)
    first = np.unravel_index(np.argmax(magnitude), x.shape)
    setter = f"x[{', '.join(str(int(i)) for i in first)}] = {float(x[first]):.9g}" if x.ndim else f"x = {float(x):.9g}"
    exponent = f" = 2^{math.frexp(scale)[1] - 1}" if scale > 0 and math.frexp(scale)[0] == 0.5 else ""
    text = f"of {int(mine.sum())}, scale {scale:.9g}{exponent}, set by {setter}"
    return fmt.element, scale, [("block", text)]


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
