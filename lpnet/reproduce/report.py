"""What an experiment says: tables in Markdown, and a verdict on every claim by a band stated beforehand."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

WIDTH = 79  # columns of a terminal


@dataclass(frozen=True)
class Verdict:
    """A claim, the figure that was measured for it, and the band it has to lie in."""

    claim: str
    measured: str
    band: str
    passed: bool

    def __str__(self) -> str:
        text = f"{'PASS' if self.passed else 'FAIL'}  {self.claim}: {self.measured} ({self.band})"
        return textwrap.fill(text, WIDTH, subsequent_indent=" " * 6)


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; the first column is on the left, figures are on the right."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        widths = [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]
        rule = [f"{'-' * (widths[0] + 2)}", *(f"{'-' * (w + 1)}:" for w in widths[1:])]
        lines = ["| " + " | ".join(self._cells(row, widths)) + " |" for row in (self.header, *self.rows)]
        lines.insert(1, "|" + "|".join(rule) + "|")
        return "\n".join([textwrap.fill(self.title, WIDTH), "", *lines])

    @staticmethod
    def _cells(row: Sequence[str], widths: list[int]) -> list[str]:
        return [cell.rjust(w) if i else cell.ljust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))]


@dataclass(frozen=True)
class Report:
    """Everything an experiment found."""

    tables: list[Table]
    verdicts: list[Verdict]
    notes: list[str] = field(default_factory=list)  # what was measured, and on what

    @property
    def passed(self) -> bool:
        """Whether every figure lies in its band."""
        return all(v.passed for v in self.verdicts)

    def __str__(self) -> str:
        notes = [textwrap.fill(note, WIDTH) for note in self.notes]
        return "\n\n".join([*notes, *map(str, self.tables), "\n".join(map(str, self.verdicts))]) + "\n"

    def state(self) -> list[dict[str, Any]]:
        """Return the verdicts as JSON takes them."""
        return [asdict(v) for v in self.verdicts]


def within(claim: str, value: float, low: float, high: float, text: str = "{:.3g}", unit: str = "") -> Verdict:
    """Return the verdict that `value`, shown as `text`, lies between `low` and `high`."""
    band = f"band {text.format(low)} to {text.format(high)}{unit}"
    if low == -math.inf:
        band = f"at most {text.format(high)}{unit}"
    elif high == math.inf:
        band = f"at least {text.format(low)}{unit}"
    return Verdict(claim, text.format(value) + unit, band, low <= value <= high)  # NaN lies in no band


def spread(values: Iterable[float]) -> str:
    """Return mean ± standard deviation, or "diverged" of no values at all."""
    values = list(values)
    if not values:
        return "diverged"
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values) if len(values) > 1 else math.nan:.2f}"


def legend(axes: Any) -> None:
    """Draw a legend of what was drawn, if anything was."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)


def difference(a: Sequence[float], b: Sequence[float]) -> tuple[float, float]:
    """Return mean(a) - mean(b) and its standard error; NaN where a side has fewer than two values.

    The samples are taken as independent, each with its own variance (Welch).
    """
    if min(len(a), len(b)) < 2:
        return math.nan, math.nan
    error = math.sqrt(statistics.variance(a) / len(a) + statistics.variance(b) / len(b))
    return statistics.mean(a) - statistics.mean(b), error
