"""What an experiment says: tables in Markdown, and a verdict on every claim by a band stated beforehand."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..tables import markdown

WIDTH = 79  # columns of a terminal
BySeed = Sequence[float | None]  # a figure of each seed; None of one that diverged


@dataclass(frozen=True)
class Verdict:
    """A claim, the figure that was measured for it, and the band it has to lie in."""

    claim: str
    measured: str
    band: str
    passed: bool

    def __str__(self) -> str:
        text = f"- {'PASS' if self.passed else 'FAIL'}  {self.claim}: {self.measured} ({self.band})"
        return textwrap.fill(text, WIDTH, subsequent_indent="  ")


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; the first column is on the left, figures are on the right."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        return "\n".join([textwrap.fill(self.title, WIDTH), "", markdown(self.header, self.rows)])


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


def mean(values: BySeed) -> float:
    """Return the mean over the seeds that did not diverge; NaN if all did."""
    kept = [v for v in values if v is not None]
    return statistics.mean(kept) if kept else math.nan


def spread(values: BySeed) -> str:
    """Return mean ± standard deviation and how many diverged, if any did."""
    kept = [v for v in values if v is not None]
    if not kept:
        return "diverged"
    text = f"{statistics.mean(kept):.2f} ± {statistics.stdev(kept) if len(kept) > 1 else math.nan:.2f}"
    return text if len(kept) == len(values) else f"{text} ({len(values) - len(kept)} diverged)"


def difference(a: BySeed, b: BySeed) -> tuple[float, float]:
    """Return the mean of a - b, seed by seed, and its standard error; NaN for fewer than two seeds that have both.

    Runs of one seed start from the same weights and see the data in the same order: what they share cancels.
    """
    gaps = [x - y for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    if len(gaps) < 2:
        return math.nan, math.nan
    return statistics.mean(gaps), statistics.stdev(gaps) / math.sqrt(len(gaps))


def shown(gap: tuple[float, float]) -> str:
    """Return a difference and its standard error as text."""
    return "{:+.2f} ± {:.2f}".format(*gap)


def below(claim: str, gap: tuple[float, float]) -> Verdict:
    """Return the verdict that a difference, given with its standard error, is clearly below 0."""
    mean, error = gap
    return Verdict(claim, shown(gap), "below 0 by over two standard errors", mean < -2 * error)
