"""What a sweep found: runs, rows, and a table of means and standard deviations."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import Any

from .. import tables
from .grid import Call, key


@dataclass(frozen=True)
class Run:
    """One call of a sweep's function, and what became of it."""

    call: Call  # its arguments: the point and the seed
    result: Any = None  # what the function returned, as JSON gives it back
    error: str = ""  # "ValueError: no such format"; empty where there is none
    traceback: str = ""  # of the error
    seconds: float = 0.0

    @property
    def point(self) -> dict[str, Any]:
        """The arguments without the seed."""
        return {name: value for name, value in self.call.items() if name != "seed"}

    @property
    def seed(self) -> int:
        """The seed among the arguments."""
        return int(self.call["seed"])

    @property
    def figures(self) -> dict[str, Any]:
        """The result by name, without those that repeat an argument; one that is no dictionary is named "result"."""
        if self.error:
            return {}
        named = self.result if isinstance(self.result, dict) else {"result": self.result}
        return {name: value for name, value in named.items() if name not in self.call}

    def __str__(self) -> str:
        return ", ".join(f"{name}={_text(value)}" for name, value in self.call.items())


@dataclass(frozen=True, repr=False)
class Sweep:
    """What a sweep found; it prints as a table of means and standard deviations over the seeds."""

    runs: list[Run]  # in the order of the grid, a point's seeds together

    @property
    def rows(self) -> list[dict[str, Any]]:
        """A flat dictionary for each run that gave a result: its point, its seed, its figures."""
        return [{**run.call, **run.figures} for run in self.runs if not run.error]

    @property
    def failed(self) -> list[Run]:
        """The runs that ended with an error."""
        return [run for run in self.runs if run.error]

    def raise_first_error(self) -> None:
        """Raise RuntimeError that names the first run that failed, if one did; its cause is the traceback."""
        for run in self.failed[:1]:
            text = f"sweep: {len(self.failed)} of {len(self.runs)} runs failed; {run}: {run.error}"
            raise RuntimeError(text) from _Traceback(run.traceback)

    def __str__(self) -> str:
        """Return what all points share, a row for each point, and the errors."""
        shared, left, head, rows = self._table()
        table = tables.markdown(head, rows, left)
        return "\n".join([*([f"{shared}\n"] if shared else []), table, *self._errors()])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        shared, _, head, rows = self._table()
        return tables.html(head, rows, shared) + (tables.preformatted("\n".join(self._errors())) if self.failed else "")

    def _table(self) -> tuple[str, int, list[str], list[list[str]]]:
        """Return what all points share, how many columns tell a point apart, the head, and a row for each point."""
        points: dict[str, list[Run]] = {}
        for run in self.runs:
            points.setdefault(key(run.point), []).append(run)
        shared, varied = _axes([runs[0].point for runs in points.values()])
        figures = list(dict.fromkeys(n for run in self.runs for n, x in run.figures.items() if _is_number(x)))
        rows = [_row(runs, varied, figures) for runs in points.values()]
        return shared, len(varied), [*varied, "runs", *figures], rows

    def _errors(self) -> list[str]:
        return [f"{run}: {run.error}" for run in self.failed]


def _axes(points: list[dict[str, Any]]) -> tuple[str, list[str]]:
    """Return the settings that several points share, as text, and the names of the others."""
    names = dict.fromkeys(name for point in points for name in point)
    shared = [name for name in names if len({key(point.get(name)) for point in points}) == 1 < len(points)]
    return ", ".join(f"{n}={_text(points[0][n])}" for n in shared), [n for n in names if n not in shared]


def _row(runs: list[Run], names: list[str], figures: list[str]) -> list[str]:
    """Return the settings of a point, how many of its runs gave a result, and a summary of each figure."""
    found = [run.figures for run in runs if not run.error]
    columns = ([f[name] for f in found if _is_number(f.get(name))] for name in figures)
    return [*(_text(runs[0].point.get(name, "")) for name in names), str(len(found)), *map(_summary, columns)]


class _Traceback(Exception):  # it carries the text from another process
    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def _summary(values: list[float]) -> str:
    """Return mean ± standard deviation; of one value that alone."""
    if len(values) < 2:
        return f"{values[0]:.4g}" if values else ""
    deviation = statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan
    return f"{statistics.fmean(values):.4g} ± {deviation:.2g}"


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)
