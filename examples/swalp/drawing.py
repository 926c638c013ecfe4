"""What the pictures of several experiments have in common."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from .report import BySeed

_PERCENT = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 22, 27, 33, 40, 50, 70, 90)


def points(axes: Any, x: Sequence[float], values: Sequence[BySeed], *, across: bool = False, **style: Any) -> None:
    """Draw means and standard deviations at x (across: figures from left to right), where there are two values."""
    kept = [(at, v) for at, seeds in zip(x, values, strict=True) if len(v := [s for s in seeds if s is not None]) > 1]
    if kept:
        at, mean, bars = zip(*((at, statistics.mean(v), statistics.stdev(v)) for at, v in kept), strict=True)
        places = (mean, at) if across else (at, mean)
        axes.errorbar(*places, **{"xerr" if across else "yerr": bars}, capsize=2, **style)


def percent_ticks(axis: Any) -> None:
    """Label a logarithmic axis of test errors by whole numbers."""
    low, high = axis.get_view_interval()
    ticks = [x for x in _PERCENT if low <= x <= high]
    axis.set_ticks(ticks, labels=[str(x) for x in ticks])
    axis.set_ticks([], minor=True)


def legend(axes: Any) -> None:
    """Draw a legend of what was drawn, if anything was."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)
