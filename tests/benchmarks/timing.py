"""Two functions timed in turn, so that what else the machine does meets both alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

PAUSE = 0.02  # seconds between the sides: threads of the one stop spinning before the other begins


@dataclass(frozen=True)
class Comparison:
    """Seconds a call of either side, round by round."""

    ours: list[float]
    theirs: list[float]

    @property
    def ratios(self) -> list[float]:
        """How many times as long as ours theirs took, round by round, in order of size."""
        return sorted(b / a for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def medians(self) -> tuple[float, float]:
        """Seconds a call, ours and theirs."""
        return statistics.median(self.ours), statistics.median(self.theirs)

    def row(self, *names: str) -> str:
        """Return a line of a Markdown table: names, median milliseconds of both, median ratio and its range."""
        ours, theirs = (1e3 * seconds for seconds in self.medians)
        ratios = self.ratios
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}..{ratios[-1]:.2f})"
        return f"| {' | '.join(names)} | {ours:.4g} | {theirs:.4g} | {spread} |"


def compare(
    ours: Callable[[], object], theirs: Callable[[], object], rounds: int = 5, least: float = 0.2
) -> Comparison:
    """Run both in turn, each for at least `least` seconds a round, after one call to warm up."""
    ours(), theirs()
    pairs = [(_time(ours, least), _time(theirs, least)) for _ in range(rounds)]
    return Comparison(*map(list, zip(*pairs, strict=True)))


def median(function: Callable[[], object], rounds: int = 5, least: float = 0.2) -> float:
    """Return the median of seconds a call, after one call to warm up."""
    function()
    return statistics.median(_time(function, least) for _ in range(rounds))


def _time(function: Callable[[], object], least: float) -> float:
    """Return seconds a call."""
    time.sleep(PAUSE)
    calls, start = 0, time.perf_counter()
    while True:
        function()
        calls += 1
        if (passed := time.perf_counter() - start) >= least:
            return passed / calls
