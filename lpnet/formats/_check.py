"""What every number format must do, tried on any format, a user's own too: `check(fmt)`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..random import Stream
from ..rounding import MODES
from ._names import format
from ._samples import along_axis, samples
from .base import Format, bound, quiet
from .tiles import Blocked, Exponent

SYMMETRIC = ("nearest", "nearest_away", "toward_zero")  # modes in which Q(-x) = -Q(x)
REPEATS = 100  # stochastic roundings of a number; the standard deviation of their mean is 0.05 gaps or less


@dataclass
class CheckResult:
    """What `check` found right, as text."""

    format: Format
    lines: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join([f"{self.format}: all properties hold", *(f"  {line}" for line in self.lines)])


def check(fmt: Format | str, seed: int = 0) -> CheckResult:
    """Try the properties that make a number format on numbers near its own, near its ties and beyond its ends.

    Returns what was tried; raises AssertionError that names a property, the format and a counterexample.
    """
    fmt = format(fmt)
    result = CheckResult(fmt)
    tried = [list(samples(fmt, dtype, seed)) for dtype in (np.float32, np.float64)]
    for name, prop in PROPERTIES.items():
        finding = ""
        for arrays in tried:
            for x in arrays[:1] if prop in OF_THE_DTYPE else arrays:
                with quiet():  # a user's `quantize` need not think of it
                    finding = prop(fmt, x) or finding
        result.lines.append(f"{name}: {finding or 'yes'}")
    return result


def require(right: Any, name: str, fmt: Format, x: np.ndarray, y: np.ndarray, text: str = "") -> None:
    """Raise AssertionError with the first number for which `right` is False."""
    right = np.broadcast_to(right, x.shape)
    if not right.all():
        i = np.unravel_index(np.argmin(right), x.shape)
        got = y[i] if np.shape(y) == x.shape else y
        raise AssertionError(f"{fmt}: {name}: {x.dtype} x = {x[i]!r} became {got!r} {text}".rstrip())


def same(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return where two arrays are equal, the sign of zero included; NaN equals NaN."""
    return (np.isnan(a) & np.isnan(b)) | ((a == b) & (np.signbit(a) == np.signbit(b)))


def shape_and_dtype(fmt: Format, x: np.ndarray) -> str:
    """The result has the shape and dtype of x, x stays as it was, and views are rounded as their copies."""
    before = x.copy()
    wide = np.tile(x.reshape(-1), (3, 2))
    for view in (
        x,
        wide,
        wide[:, ::2],
        wide.T,
        wide[::-1, ::-1],
        wide[:, : 2 * x.size - 1],
        x[..., :0],
        wide[0, 0:0],
        np.asarray(x.flat[0]),
    ):
        if view.ndim < x.ndim and view.ndim:
            continue
        y = fmt.quantize(view)
        if (y.shape, y.dtype) != (view.shape, view.dtype):
            raise AssertionError(f"{fmt}: shape and dtype: {view.dtype} {view.shape} became {y.dtype} {y.shape}")
        require(same(y, fmt.quantize(np.array(view, order="C"))), "views are as their copies", fmt, view, y)
    require(same(x, before), "x stays as it was", fmt, before, x)
    return "kept, for empty, 0-d and ragged arrays and for views"


def representable(fmt: Format, x: np.ndarray) -> str:
    """Numbers of the format stay put in every mode: rounding is idempotent."""
    if not fmt.idempotent:
        return "not promised: rounding may change a block's scale"
    seen: set[bytes] = set()  # modes differ at few numbers
    for first in MODES:
        y = fmt.quantize(x, first, Stream(1))
        if y.tobytes() in seen or not np.isfinite(y).all():
            continue
        seen.add(y.tobytes())
        for mode in MODES:
            again = fmt.quantize(y, mode, Stream(2))
            require(same(again, y), f"a number of the format stays put ({first}, then {mode})", fmt, y, again)
    return f"stay put in all {len(MODES)} modes"


def neighbours(fmt: Format, x: np.ndarray) -> str:
    """Every mode gives the neighbour below or the one above, the nearest modes the nearer one."""
    low: np.ndarray = fmt.quantize(x, "floor")
    high: np.ndarray = fmt.quantize(x, "ceil")
    inside = (low <= x) & (x <= high)
    for mode in MODES:
        y = fmt.quantize(x, mode, Stream(3))
        text = f"({mode})"
        outside = (x < low) | (x > high) | ~np.isfinite(low) | ~np.isfinite(high)
        require(same(y, low) | same(y, high) | outside, "the result is one of the two neighbours", fmt, x, y, text)
        if mode.startswith("nearest"):
            with quiet():
                other = np.where(y == low, high, low).astype(np.float64)
                nearer = abs(y.astype(np.float64) - x) <= abs(other - x) * (1 + 1e-6) + slack(fmt, x)
            finite = np.isfinite(low) & np.isfinite(high)
            require(nearer | ~inside | ~finite, "nearest is the nearer neighbour", fmt, x, y, text)
    return "one of the two in all modes, the nearer one in the nearest modes"


def grid(fmt: Format, x: np.ndarray) -> str:
    """No known number lies between the two neighbours, and ties go where the mode says."""
    low, high = (fmt.quantize(x, mode).astype(np.float64) for mode in ("floor", "ceil"))
    values, wide, parity = numbers(fmt, x.dtype), x.astype(np.float64), None
    known = np.unique(np.concatenate([v[np.isfinite(v)] for v in (low.reshape(-1), high.reshape(-1), values)]))
    inside = np.isfinite(low) & np.isfinite(high) & (low <= wide) & (wide <= high)
    between = np.searchsorted(known, high, "left") > np.searchsorted(known, low, "right")
    require(~inside | ~between, "no number lies between the neighbours", fmt, x, low, "(floor)")
    if values.size:
        within = (values.min() <= wide) & (wide <= values.max())
        require(~within | inside, "a number within the ends has two neighbours", fmt, x, low, "(floor)")
    with quiet():
        tie = inside & (low < high) & (wide - low == high - wide) & (slack(fmt, x) == 0)
        even = np.remainder(np.stack([low, high]) / (high - low), 2)
    y = {mode: fmt.quantize(x, mode).astype(np.float64) for mode in MODES if mode.startswith("nearest")}
    require(~tie | (y["nearest_up"] == high), "a tie goes up", fmt, x, y["nearest_up"], "(nearest_up)")
    away = np.where(wide == 0, y["nearest_away"], np.where(wide > 0, high, low))
    require(~tie | (y["nearest_away"] == away), "a tie goes away from zero", fmt, x, y["nearest_away"])
    odd = tie & (np.where(y["nearest"] == low, even[0], even[1]) == 1)
    if values.size and odd.any():
        parity = fmt.to_codes(y["nearest"][odd].astype(x.dtype)) % 2
        odd[odd] = parity == 1
    require(~odd, "a tie goes to the even neighbour", fmt, x, y["nearest"], "(nearest)")
    return "no number between two neighbours; ties up, away and to even"


def slack(fmt: Format, x: np.ndarray) -> np.ndarray:
    """Return by how much numbers may be moved by division by the scales of blocks: not at all by powers of two."""
    powers = not isinstance(fmt, Blocked) or (isinstance(fmt.scale, Exponent) and not fmt.tensor and fmt.factor == 1)
    limits = np.finfo(x.dtype)
    return 0 * x if powers else 4 * (abs(x) * limits.eps + limits.smallest_subnormal)


def numbers(fmt: Format, dtype: Any) -> np.ndarray:
    """Return the numbers of all codes that the dtype holds, ascending: none if there are no codes or too many."""
    if isinstance(fmt, Blocked) or fmt.bits is None or fmt.bits > 16:
        return np.empty(0)
    try:
        with quiet():
            values = fmt.from_codes(np.arange(2**fmt.bits, dtype=np.uint64), np.dtype(np.float64))
            values = np.unique(values[np.isfinite(values)])
            return values[values.astype(dtype) == values]
    except NotImplementedError:
        return np.empty(0)


def ends(fmt: Format, x: np.ndarray) -> str:
    """Every code's number stays put and has its code, and `min` and `max` are the ends that saturation gives."""
    values = numbers(fmt, x.dtype).astype(x.dtype)
    if values.size:
        y = fmt.quantize(values)
        require(y == values, "the number of a code stays put", fmt, values, y)
        back = fmt.from_codes(fmt.to_codes(values), x.dtype)
        require(back == values, "a number has a code, which gives it back", fmt, values, back)
    if isinstance(fmt, Blocked):
        return "those of the element"
    with quiet():
        beyond = np.finfo(x.dtype).max * np.array([-1, 1], x.dtype)
        for end, rounding, named in ((0, "ceil", "min"), (1, "floor", "max")):
            y, value = fmt.quantize(beyond, rounding)[end], getattr(fmt, named)
            if np.isfinite(y) and y != beyond[end] and bound(value, x.dtype) == value:
                require(y == value, f"beyond the {named} is the {named}, {value:g}", fmt, beyond[end:][:1], y)
    return "min, max and the numbers of all codes"


def monotone(fmt: Format, x: np.ndarray) -> str:
    """x <= x' gives Q(x) <= Q(x'), within a block."""
    x = along_axis(fmt, np.sort(x.reshape(-1)))
    for mode in MODES:
        if mode != "stochastic":
            y = fmt.quantize(x, mode)
            rises = np.r_[True, ~(y.reshape(-1)[1:] < y.reshape(-1)[:-1])].reshape(x.shape)
            require(rises, f"monotone ({mode})", fmt, x, y, "less than a smaller number did")
    return "in every deterministic mode"


def symmetric(fmt: Format, x: np.ndarray) -> str:
    """Q(-x) = -Q(x) in the modes that know no direction, and floor mirrors ceil, but at the ends of lopsided grids."""
    if not fmt.mirrored:
        return "not promised: the numbers below zero are not those above"
    low, high = fmt.quantize(x, "floor"), fmt.quantize(x, "ceil")
    mirrored_low, mirrored_high = fmt.quantize(-x, "floor"), fmt.quantize(-x, "ceil")
    inside = (low <= x) & (x <= high) & (mirrored_low <= -x) & (-x <= mirrored_high)
    require((mirrored_low == -high) | ~inside, "floor mirrors ceil", fmt, x, mirrored_low)
    for mode in SYMMETRIC:
        y, mirrored = fmt.quantize(x, mode), fmt.quantize(-x, mode)
        require((mirrored == -y) | ~inside, f"Q(-x) = -Q(x) ({mode})", fmt, x, mirrored)
    return f"{', '.join(SYMMETRIC)}; floor mirrors ceil"


def unbiased(fmt: Format, x: np.ndarray) -> str:
    """The mean of many stochastic roundings is the number, where it has two finite neighbours."""
    low, high = (fmt.quantize(x, mode).astype(np.float64) for mode in ("floor", "ceil"))
    with quiet():
        gap = high - low
        inside = (low < x) & (x < high) & np.isfinite(gap)
        total = ((rounded(fmt, x) - low) / gap).sum(axis=0)
        share = (x - low) / gap
        sigma = np.sqrt(np.maximum(share * (1 - share), 1 / REPEATS) / REPEATS)
        off = abs(total / REPEATS - share)
    require(~inside | (off < 6 * sigma), "stochastic rounding is unbiased", fmt, x, total / REPEATS, "of a gap up")
    drift = float((total / REPEATS - share)[inside].sum())
    together = 6 * float(np.sqrt((share * (1 - share))[inside].sum() / REPEATS)) + 1 + 2.0**-16 * x.size
    if abs(drift) > together:
        raise AssertionError(
            f"{fmt}: stochastic rounding is unbiased: {int(inside.sum())} numbers of {x.dtype} went {drift:.3g} gaps "
            f"too far up in all, where chance explains {together:.3g}"
        )
    return f"the mean of {REPEATS} is within 6 standard deviations"


def rounded(fmt: Format, x: np.ndarray) -> np.ndarray:
    """Return REPEATS stochastic roundings of x, (REPEATS, *x.shape): in one call where each copy is rounded by itself.

    A user's class is called for each, as `rows_independent` may be the word of its parent, whose rules it has changed.
    """
    apart = fmt.rows_independent(x) if type(fmt).__module__.startswith(f"{__package__}.") else 0
    if apart and len(x) % apart == 0:
        return fmt.quantize(np.concatenate([x] * REPEATS), "stochastic", Stream()).reshape(REPEATS, *x.shape)
    return np.stack([fmt.quantize(x, "stochastic", Stream(i)) for i in range(REPEATS)])


def encoded(fmt: Format, x: np.ndarray) -> str:
    """Codes decode to the rounded numbers, to the bit."""
    for part in (x, x[..., : max(1, x.shape[-1] - 3)], x[..., :0]):
        try:
            y = fmt.encode(part)
        except NotImplementedError as error:
            return f"no: {error}"
        except ValueError as error:
            if np.isfinite(fmt.quantize(part)).all() and fmt.saturate:
                raise AssertionError(f"{fmt}: encode: {error}") from error
            continue
        require(same(y.decode(), fmt.quantize(part)), "encode and decode", fmt, part, y.decode())
        if y.decode().dtype != x.dtype or y.decode().shape != part.shape:
            raise AssertionError(f"{fmt}: encode and decode: {part.dtype} {part.shape} came back as another array")
    return "decoded codes equal rounded numbers"


def specials(fmt: Format, x: np.ndarray) -> str:
    """Zeros stay zeros (-0.0 where the format has it), NaN is NaN or an error, infinities keep their sign."""
    one, one_sided = along_axis(fmt, np.array([1, -1], x.dtype)), fmt.min > 0 or fmt.max < 0
    for mode in MODES:
        y = fmt.quantize(one * 0, mode)
        signs = np.signbit(one) & fmt.signed_zero
        no_zero = (fmt.quantize(one * 0, "floor") < 0) | one_sided
        require(((y == 0) | no_zero) & ((y != 0) | (np.signbit(y) == signs)), f"zeros ({mode})", fmt, one * 0, y)
        y = fmt.quantize(one * x.dtype.type("inf"), mode)
        require(np.isnan(y) | (np.sign(y) == np.sign(one)) | (y == 0) | one_sided, f"infinities ({mode})", fmt, one, y)
        try:
            y = fmt.quantize(one * x.dtype.type("nan"), mode)
        except ValueError:
            continue
        require(np.isnan(y), f"NaN stays NaN or is refused ({mode})", fmt, one, y)
    for name in ("min", "max", "smallest"):
        value = getattr(fmt, name)
        if isinstance(fmt, Blocked) or value > fmt.max or bound(value, x.dtype) != value:
            continue
        with quiet():
            y = fmt.quantize(np.asarray([value], x.dtype))
        require(y == value, f"the {name} is a number of the format", fmt, np.asarray([value]), y)
    return "zeros, infinities, NaN, the ends"


PROPERTIES: dict[str, Callable[[Format, np.ndarray], str]] = {
    "shape and dtype": shape_and_dtype,
    "numbers of the format": representable,
    "neighbours": neighbours,
    "grid": grid,
    "monotone": monotone,
    "sign symmetric": symmetric,
    "stochastic rounding": unbiased,
    "specials": specials,
    "ends": ends,
    "codes": encoded,
}
OF_THE_DTYPE = (specials, ends)  # these look at no number of x
