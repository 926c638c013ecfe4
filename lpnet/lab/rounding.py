"""The tab Rounding: many copies of a weight take small updates under one format and one rounding."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import lpnet as lp

from .fields import ROUNDINGS, Field, format_name, maybe_format, one_of, real, whole
from .program import arguments, fingerprint, program
from .work import Worker

if TYPE_CHECKING:
    from lpnet._watch import Update

FIELDS = (
    Field("format", "Format of the weight", "bf16", format_name),
    Field("rounding", "Rounding", "stochastic", one_of(ROUNDINGS), ROUNDINGS),
    Field("accumulator", "Format of an accumulator", "", maybe_format, hint="wider, takes the updates; or none"),
    Field("start", "Weight at the start", "1", real(-1e6, 1e6)),
    Field("update", "Update, each step", "0.0001", real(-1e3, 1e3)),
    Field("steps", "Steps", "1000", whole(1, 10_000)),
    Field("copies", "Copies", "2000", whole(1, 10_000)),
    Field("seed", "Seed", "0", whole(0, 2**32)),
)
PATHS, POINTS, BARS = 8, 240, 400  # copies that are drawn, points of a line, bars of a histogram


def weights(
    format: str, rounding: str, accumulator: str | None, start: float, update: float, steps: int, copies: int, seed: int
) -> Iterator[tuple[np.ndarray, Any]]:
    """Yield after each step the weight of every copy, (copies, 1), and what `lp.watch` saw of the step."""
    lp.manual_seed(seed)
    layer = lp.nn.Linear(1, copies, bias=False)  # an output channel each: formats in blocks give each its own scale
    layer.weight.data = np.full((copies, 1), start)
    precision = lp.Precision(
        weight=lp.Quantizer(format, rounding), accumulator=accumulator and lp.Quantizer(accumulator, rounding)
    )
    optimizer = lp.optim.SGD(layer.parameters(), lr=abs(update), precision=precision)
    layer.weight.grad = np.full((copies, 1), -np.sign(update))
    with lp.watch(layer, optimizer) as seen:
        for _ in range(steps):
            optimizer.step()
            yield layer.weight.data, seen.update("weight")


MAIN = """settings = dict({settings})
wished = swallowed = 0
for w, update in weights(**settings):
    wished += update.wanted.size
    swallowed += update.swallowed
print(f"mean {{w.mean():.9g}}, spread {{w.std():.3g}}, swallowed {{swallowed / wished:.2%}}")
print("fingerprint", hashlib.sha256(w.tobytes()).hexdigest()[:16])
"""


def python(settings: dict[str, Any]) -> str:
    """Return the program that does the same."""
    main = MAIN.format(settings=arguments(settings))
    imports = "import hashlib\nfrom collections.abc import Iterator\nfrom typing import Any\n\n"
    return program(weights, main=main, imports=imports)


@dataclass
class Frame:
    """What the tab shows after a step."""

    step: int
    steps: int
    exact: list[list[float]]  # [step, weight] of a weight that is not rounded
    mean: list[list[float]]
    low: list[list[float]]  # mean less spread
    high: list[list[float]]
    paths: list[list[list[float]]]  # of single copies
    bars: list[list[float]]  # [weight, copies]
    table: list[list[str]]
    fingerprint: str


class Record:
    """Collects what frames show."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.start, self.update, self.steps = (settings[name] for name in ("start", "update", "steps"))
        self.gap = float(np.max(lp.format(settings["format"]).spacing(np.array([[self.start]]))))
        self.every = -(-self.steps // POINTS)
        self.points: list[list[float]] = []  # step, mean, spread, and the weights of the copies that are drawn
        self.wished = self.swallowed = self.overshot = 0

    def add(self, step: int, w: np.ndarray, update: Update) -> None:
        """Take in a step."""
        self.wished += update.wanted.size
        self.swallowed += update.swallowed
        self.overshot += update.overshot
        if step % self.every == 0 or step in (1, self.steps):
            self.points.append([step, float(w.mean()), float(w.std()), *w[:PATHS, 0].tolist()])

    def frame(self, step: int, w: np.ndarray) -> Frame:
        """Return what is to be shown."""
        values, counts = np.unique(w, return_counts=True)
        if len(values) > BARS:
            counts, edges = np.histogram(w, BARS)
            values = (edges[:-1] + edges[1:]) / 2
        exact = [[0, self.start], [step, self.start + step * self.update]]
        mean, low, high = ([[p[0], p[1] + sign * p[2]] for p in self.points] for sign in (0, -1, 1))
        paths = [[[p[0], p[3 + i]] for p in self.points] for i in range(min(PATHS, len(w)))]
        bars = np.stack([values, counts], 1).tolist()
        return Frame(step, self.steps, exact, mean, low, high, paths, bars, self.table(step, w), fingerprint(w))

    def table(self, step: int, w: np.ndarray) -> list[list[str]]:
        """Return the rows of the table."""
        exact, mean, spread = self.start + step * self.update, float(w.mean()), float(w.std())
        return [
            ["exact sum", f"{exact:.9g}"],
            ["mean of the copies", f"{mean:.9g}"],
            ["off by, in gaps", f"{(mean - exact) / self.gap:+.3f}" if self.gap else "-"],
            ["spread, in gaps", f"{spread / self.gap:.3f}" if self.gap else "-"],
            ["gap at the start", f"{self.gap:.6g}"],
            ["updates swallowed", f"{self.swallowed / self.wished:.2%}"],
            ["updates overshot", f"{self.overshot / self.wished:.2%}"],
        ]


def job(worker: Worker, settings: dict[str, Any]) -> None:
    """Take the steps, showing frames."""
    record = Record(settings)
    for step, (w, update) in enumerate(weights(**settings), 1):
        record.add(step, w, update)
        if worker.due() or step == record.steps:
            worker.show(record.frame(step, w))
        if step < record.steps:
            worker.between()
