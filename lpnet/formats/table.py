"""Any list of numbers as a format: posits, NF4, a codebook."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..backend import Array, get_array_module
from ..random import Stream
from ..rounding import Stochastic, mode, round
from ..validate import check_fields, integer
from .base import REGISTERED, Format, float_array, quiet


@dataclass(frozen=True)
class Table(Format):
    """The numbers of a list, in ascending order; the code of a number is its place in the list, from `first` on.

    Ties go to the number of an even code, numbers beyond the ends become the ends, NaN stays NaN and has a code, the
    one before the first, if there is one to spare. Raises ValueError for fewer than two numbers, more than 2^16,
    numbers out of order, or beyond those of float32.
    """

    values: tuple[float, ...]
    name: str
    first: int = 0  # code of the lowest number, below 0 in two's complement

    def __post_init__(self) -> None:
        values = np.asarray(self.values, np.float64).reshape(-1)
        if not 2 <= values.size <= 2**16:
            raise ValueError(f"Table: values must be 2 to {2**16} numbers, got {values.size}")
        if not (abs(values) <= np.finfo(np.float32).max).all():
            raise ValueError("Table: values must be finite numbers of float32's range, got others")
        if not (np.diff(values) > 0).all():
            raise ValueError("Table: values must ascend, each once; got some out of order")
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"Table: name must be a text, got {self.name!r}")
        check_fields(self, first=(-(2**16), 2**16))
        object.__setattr__(self, "values", tuple((values + 0.0).tolist()))

    @property
    def bits(self) -> int:
        """Bits of a number's place."""
        return (len(self.values) - 1).bit_length()

    @property
    def has_nan(self) -> bool:
        """Whether there is a code to spare."""
        return len(self.values) < 2**self.bits

    @property
    def max(self) -> float:
        """The largest number."""
        return self.values[-1]

    @property
    def min(self) -> float:
        """The lowest number."""
        return self.values[0]

    @property
    def smallest(self) -> float:
        """The smallest number above zero; 0 if there is none."""
        return next((value for value in self.values if value > 0), 0.0)

    @property
    def mirrored(self) -> bool:
        """Whether the numbers below zero are those above, and at even places if those are."""
        return len(self.values) % 2 == 1 and self.values == tuple(0.0 - value for value in self.values[::-1])

    def neighbours(self, x: Array) -> tuple[Array, Array, Array]:
        """Return the place of the number below x or equal, and the numbers below and above; the ends beyond them."""
        xp = get_array_module(x)
        values = xp.asarray(np.asarray(self.values, x.dtype))
        last = len(self.values) - 1
        low = xp.clip(xp.searchsorted(values, x, side="right") - 1, 0, last)
        return low, values[low], values[xp.clip(xp.searchsorted(values, x, side="left"), 0, last)]

    def rows_independent(self, x: Array) -> bool:
        """Return True: every element is rounded by itself."""
        return True

    def spacing(self, x: Array) -> Array:
        """Return the gap between the neighbours of each element; beyond the ends, and on a number, that beside it."""
        xp, gaps = get_array_module(x), np.diff(np.asarray(self.values, x.dtype))
        return xp.asarray(gaps)[xp.clip(self.neighbours(x)[0], 0, len(gaps) - 1)]

    def rule(self, x: Array, rounding: str | Stochastic = "nearest", stream: Stream | None = None) -> Array:
        """Return one of the two neighbours of each element of `x`."""
        xp, x = get_array_module(x), float_array(x, self)
        mode(rounding)  # an unknown one is refused
        place, low, high = self.neighbours(x)
        with quiet():
            down, up = x.astype(np.float64) - low, high.astype(np.float64) - x
            if isinstance(rounding, Stochastic) or rounding == "stochastic":
                between = xp.asarray(xp.where(high > low, down / (high.astype(np.float64) - low), 0.0))
                higher = round(between, rounding, stream) > 0
            else:
                odd = (place + self.first) % 2 == 1
                tie = {"nearest": odd, "nearest_away": x > 0, "nearest_up": True}.get(rounding, False)
                nearer = (down > up) | ((down == up) & tie)
                inward = xp.where((low < 0) & (high > 0), nearer, x < 0)  # without a zero neither is on its side
                higher = {"floor": False, "ceil": True, "toward_zero": inward}.get(rounding, nearer)
            return xp.asarray(xp.where(xp.isnan(x), x, xp.where(higher, high, low)))

    def to_codes(self, y: np.ndarray) -> np.ndarray:
        """Return the codes of numbers of the table; ValueError for others."""
        place, low, _ = self.neighbours(np.asarray(y))
        nan = np.isnan(y) & self.has_nan
        if not ((low == y) | nan).all():
            raise ValueError(f"{self}: x holds NaN or numbers beside the table, which have no code in this format")
        return (np.where(nan, -1, place) + self.first).astype(np.uint64) & np.uint64(2**self.bits - 1)

    def from_codes(self, codes: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return the numbers of codes; NaN for one without a number."""
        padded = np.full(2**self.bits, math.nan)
        padded[: len(self.values)] = self.values
        return padded[(codes.astype(np.int64) - self.first) % 2**self.bits].astype(dtype)

    def __str__(self) -> str:
        return self.name if REGISTERED.get(self.name, table(self.name)) == self else repr(self)


@functools.cache
def table(name: str) -> Table | None:
    """Return the table that a name means: nf4, dynamic8, posit8.1, log8.3; None for another name."""
    if name in LISTS:
        return Table(tuple(sorted(LISTS[name]())), name)
    match = re.fullmatch(r"(posit|log)(\d+)\.(\d+)", name)
    if match is None:
        return None
    family, bits, part = match[1], int(match[2]), int(match[3])
    integer(family, "bits", bits, 3, 16)
    integer(family, "exponent bits" if family == "posit" else "fraction bits", part, 0, 3)
    half = 2 ** (bits - 1)
    above = posits(bits, part) if family == "posit" else [2.0 ** (n / 2**part) for n in range(1 - half // 2, half // 2)]
    return Table((*(-y for y in above[::-1]), 0.0, *above), name, -len(above))


def posits(bits: int, es: int) -> list[float]:
    """Return the numbers of posit<bits, es> above zero, ascending: those of the codes 1, 2, ... (posit standard, 2022).

    As a Table they are rounded by distance; the standard rounds codes, and nothing to zero.
    """
    found = []
    for code in range(1, 2 ** (bits - 1)):
        text = f"{code:0{bits - 1}b}"
        run = len(text) - len(text.lstrip(text[0]))  # of equal bits: the regime
        rest = text[run + 1 :]
        power = (run - 1 if text[0] == "1" else -run) * 2**es + int("0" + rest[:es].ljust(es, "0"), 2)
        found.append(2.0**power * (1 + int("0" + rest[es:], 2) / 2 ** len(rest[es:])))
    return found


def dynamic(signed: bool) -> list[float]:
    """Return the dynamic 8-bit numbers of Dettmers et al., "8-bit optimizers via block-wise quantization", 2022.

    Each power of ten from 1e-6 to 1 has twice as many numbers as that below, in the middle of equal parts of a decade.
    """
    found = [0.0, 1.0]
    for decade in range(7):
        count = 2 ** (decade + (not signed))
        edges = np.linspace(0.1, 1, count + 1)
        middles = 10.0 ** (decade - 6) * (edges[:-1] + edges[1:]) / 2
        found += [*middles.tolist(), *((-middles).tolist() if signed else [])]
    return found


LISTS: dict[str, Callable[[], Sequence[float]]] = {
    # Quantiles of a Gaussian: Dettmers et al., "QLoRA", 2023, appendix E
    "nf4": lambda: (
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ),
    "dynamic8": lambda: dynamic(signed=True),
    "dynamic8u": lambda: dynamic(signed=False),  # for what is never negative
}
PRESETS = (*LISTS, "posit8.0", "posit8.1", "posit8.2", "log8.3")
TABLES: dict[str, Table] = {name: preset for name in PRESETS if (preset := table(name))}
