"""What rounding does over a training: a trace of every so many steps, kept, written to a file, drawn as a map."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import distributed
from .._trace import RoundingStats, trace
from ..files import atomic_write
from ..validate import integer
from .callbacks import Callback
from .log import Row

if TYPE_CHECKING:
    from .run import Run

History = list[tuple[int, dict[tuple[str, str], RoundingStats]]]  # of each step that was traced, by place and role


class TraceRounding(Callback):
    """Traces every `every`-th step, as `lp.trace` does: what rounding does at each layer and in the optimizer.

    `history` has the steps, for `plots.rounding_map`. With `out` they are in that file after each epoch, a line of JSON
    a step, as `read_history` reads them. A traced step takes about twice the time; no number changes.
    """

    def __init__(self, every: int = 100, out: str | os.PathLike[str] | None = None) -> None:
        self.every, self.out = integer("TraceRounding", "every", every, 1), None if out is None else Path(out)
        self.lines: list[str] = []  # text: a run copies the state of its callbacks at each step

    @property
    def history(self) -> History:
        """What was traced: (step, {(place, role): totals}) in their order."""
        return _history(self.lines)

    @contextlib.contextmanager
    def around_step(self, run: Run) -> Iterator[None]:
        """Trace the step if it is its turn."""
        if (run.step + 1) % self.every:
            yield
            return
        with trace(run.model, run.optimizer) as seen:
            yield
        sites = [{"place": p, "role": role, **dataclasses.asdict(stats)} for (p, role), stats in seen.stats.items()]
        self.lines.append(json.dumps({"step": run.step + 1, "sites": sites}))

    def on_epoch(self, run: Run, row: Row) -> None:
        """Write the file anew."""
        if self.out is not None and distributed.first():
            with atomic_write(self.out, "w") as file:
                file.writelines(f"{line}\n" for line in self.lines)

    def settings(self) -> dict[str, Any]:
        """Return how often it traces."""
        return {"every": self.every}


def read_history(path: str | os.PathLike[str]) -> History:
    """Return the history in a file of `TraceRounding`; raises ValueError for a damaged one."""
    try:
        return _history(Path(path).read_text(encoding="utf-8").splitlines())
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: damaged ({error})") from error


def _history(lines: Iterable[str]) -> History:
    return [(one["step"], dict(map(_site, one["sites"]))) for one in map(json.loads, lines)]


def _site(told: dict[str, Any]) -> tuple[tuple[str, str], RoundingStats]:
    return (told.pop("place"), told.pop("role")), RoundingStats(**told)
