"""One training step, number by number: which updates move a weight, which are swallowed, and why."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import tables
from ._explain import explain
from ._trace import Trace, trace
from .backend import to_device
from .formats import Blocked, Format
from .nn import Module
from .optim import Optimizer
from .optim.optimizer import step_hooks
from .rounding import Stochastic

EDGES = range(-6, 2)  # of the histogram: powers of two of |update| / gap; the outer bins are open


@dataclasses.dataclass
class Update:
    """What one step did to one parameter. All arrays have its shape, in host memory.

    With an accumulator, `before`, `wanted` and `after` are of the accumulator: it is what collects the updates.
    """

    name: str
    before: np.ndarray
    gradient: np.ndarray  # as the optimizer rounded it
    wanted: np.ndarray  # the new weights before they were rounded
    after: np.ndarray
    quantizer: Any = None  # what rounded them; None: nothing did
    compensated: bool = False  # whether what rounding took is added to the next update

    @property
    def format(self) -> Format | None:
        """The format of what collects the updates, None for float or a function without one."""
        fmt = getattr(self.quantizer, "format", None)
        return fmt if isinstance(fmt, Format) else None

    @property
    def moved(self) -> int:
        """How many numbers are others than before."""
        return int((self.after != self.before).sum())

    @property
    def swallowed(self) -> int:
        """How many should have moved and did not."""
        return int(((self.wanted != self.before) & (self.after == self.before)).sum())

    @property
    def overshot(self) -> int:
        """How many moved more than twice as far as they should."""
        return int((abs(self.after - self.before) > 2 * abs(self.wanted - self.before)).sum())

    @property
    def ratios(self) -> np.ndarray:
        """|update| / gap of every number that should move: below 1/2, nearest rounding swallows it. Empty for float."""
        if self.format is None:
            return np.empty(0)
        update = abs(self.wanted - self.before).astype(np.float64)
        try:
            gap = np.broadcast_to(self.format.spacing(self.wanted), update.shape)
        except NotImplementedError:  # a user's format that rounds by a `quantize` of its own
            return np.empty(0)
        usable = (update > 0) & (gap > 0)
        return update[usable] / gap[usable]

    @property
    def verdict(self) -> str:
        """One word where something is wrong, explained in `WORDS`; empty where nothing is."""
        ratios, wish = self.ratios, int((self.wanted != self.before).sum())
        if not np.isfinite(self.wanted).all():
            return "NaN"
        if not self.gradient.any():
            return "no grad"
        if self.format is not None and not isinstance(self.format, Blocked) and self._clipped() > 0.01:
            return "clipped"
        if wish and self.swallowed > 0.9 * wish and not (self.compensated or _random(self.quantizer)):
            return "stuck"
        return "noise" if len(ratios) and np.median(ratios) < 2.0**-6 else ""

    def _clipped(self) -> float:
        fmt = self.format
        return 0.0 if fmt is None else float(((self.wanted > fmt.max) | (self.wanted < fmt.min)).mean())

    def histogram(self) -> str:
        """Return bars for |update| / gap from 2^-6 and less to 2 and more, a power of two each."""
        ratios = self.ratios
        powers = np.clip(np.floor(np.log2(ratios)), EDGES[0], EDGES[-1]) if len(ratios) else ratios
        return tables.bars([int((powers == edge).sum()) for edge in EDGES])

    def row(self) -> list[str]:
        """Return the cells of this parameter's row of the table."""
        n, ratios = self.after.size, self.ratios
        median = f"{np.median(ratios):.2g}" if len(ratios) else "-"
        return [
            self.name,
            f"{n:,}",
            tables.percent(self.moved, n),
            tables.percent(self.swallowed, n),
            tables.percent(self.overshot, n),
            median,
            self.histogram(),
            self.verdict,
        ]


HEAD = ["parameter", "numbers", "moved", "swallowed", "overshot", "upd/gap", "<2^-6..2", ""]
WORDS = {
    "stuck": "nearest rounding swallows an update below half a gap: round stochastically, or keep it in an accumulator "
    "or with compensate=True",
    "noise": "the gap is more than 64 times the update: weights move by chance, right in the mean; more bits, a larger "
    "learning rate or SWALP's average help",
    "clipped": "over 1 % want to go beyond the format's ends: more integer bits",
    "no grad": "the gradient is 0 everywhere: the errors underflow (lp.optim.LossScaler), or nothing depends on it",
    "NaN": "numbers that are not finite: a smaller learning rate",
}


def _random(quantizer: Any) -> bool:
    rounding = getattr(quantizer, "rounding", None)
    return rounding == "stochastic" or isinstance(rounding, Stochastic)


class Watch:
    """What `watch` saw; `print` it. `updates` has an `Update` for each parameter of the last step, by name."""

    def __init__(self, seen: Trace) -> None:
        self.updates: dict[str, Update] = {}
        self.trace = seen

    def __str__(self) -> str:
        if not self.updates:
            return "no step was taken: optimizer.step() must run in the block, after backward()"
        rows = [update.row() for update in self.updates.values()]
        return "\n".join([tables.folded(HEAD, rows), *self.notes(), "", str(self.trace)])

    def notes(self) -> list[str]:
        """Return a sentence for each word that says what is wrong."""
        words = dict.fromkeys(update.verdict for update in self.updates.values())
        return [tables.fill(f"{word}: {WORDS[word]}") for word in words if word]

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        if not self.updates:
            return tables.preformatted(str(self))
        rows = [update.row() for update in self.updates.values()]
        notes = tables.preformatted("\n".join(self.notes())) if self.notes() else ""
        return tables.html(HEAD, rows, "parameters") + notes + self.trace._repr_html_()

    def update(self, name: str) -> Update:
        """Return the update of a parameter; raises KeyError with the names there are."""
        if name not in self.updates:
            raise KeyError(f"watch: no parameter {name!r} was updated, only {', '.join(self.updates)}")
        return self.updates[name]

    def story(self, name: str, index: int | tuple[int, ...]) -> str:
        """Return what happened to one weight, on a number line as wide as the terminal, of at most 80 columns."""
        return _story(self.update(name), tuple(np.atleast_1d(index).tolist()))


def _story(update: Update, at: tuple[int, ...]) -> str:
    before, gradient, wanted, after = (
        float(a[at]) for a in (update.before, update.gradient, update.wanted, update.after)
    )
    name = f"{update.name}[{', '.join(map(str, at))}]"
    if update.format is None:
        return f"{name} in float\nbefore      {before:.9g}\ngradient    {gradient:.9g}\nafter       {after:.9g}"
    rounding = update.quantizer.rounding
    told = explain(update.wanted, update.format, rounding, at)
    what = "as it was" if after == before else f"moved by {after - before:+.4g}"
    lines = [
        f"{name} in {update.format}, {rounding}",
        f"before      {before:.9g}",
        f"gradient    {gradient:.9g}",
        f"wanted      {wanted:.9g}, an update of {wanted - before:+.4g}",
        *_number_line(before, told.below, wanted, told.above, after),
    ]
    if told.below < wanted < told.above:
        p = told.probability if _random(update.quantizer) else None
        lines.append(
            f"odds        {1 - p:.2%} to {told.below:.6g}, {p:.2%} to {told.above:.6g}"
            if p is not None
            else f"rule        {rounding}: {after:.6g}, whatever chance says"
        )
    return "\n".join(tables.fill(line, " " * 12) for line in [*lines, f"after       {after:.9g}, {what}"])


def _number_line(before: float, below: float, wanted: float, above: float, after: float) -> list[str]:
    """Return a line from the lowest to the highest of the numbers, the format's as bars, and who is where under it."""
    low, high = min(before, below, after), max(before, above, after)
    if not (math.isfinite(high - low) and high > low):
        return []

    last = tables.columns() - 16

    def place(x: float) -> int:
        return round(last * (x - low) / (high - low))

    line = ["-"] * (last + 1)
    for x in (before, below, above, after):
        line[place(x)] = "|"
    line[place(wanted)] = "x"
    marks = [" "] * (last + 1)
    for mark, x in (("w", wanted), ("b", before), ("a", after)):
        marks[place(x)] = "*" if mark == "a" and after == before else mark
    key = "b before, a after, * both, x wanted, | numbers of the format"
    return [
        f"            {low:<{last // 2}.6g}{high:>{last + 1 - last // 2}.6g}",
        f"            {''.join(line)}",
        f"            {''.join(marks)}".rstrip(),
        f"            {key}",
    ]


@contextlib.contextmanager
def watch(model: Module, optimizer: Optimizer) -> Iterator[Watch]:
    """Record within this block what a training step does to every parameter, and rounding to every layer.

    So it is used::

        with lp.watch(model, optimizer) as step:
            loss(model(x), y).backward()
            optimizer.step()
        print(step)                         # the tables
        print(step.story("0.weight", (0, 0, 1, 1)))
        lp.plots.weights(step.update("0.weight").after, "0.weight")

    moved counts the numbers that changed, swallowed those that should have and did not, overshot those that went more
    than twice as far as they should; upd/gap is the median of `|update| / gap` of the format, with its histogram. Of
    several steps in the block the tables have the last update, and all rounding of layers. Results do not change.
    """
    names = {id(p): name for name, p in model.named_parameters()}
    with trace(model) as layers:
        seen = Watch(layers)

        def observe(which: Optimizer, i: int, before: Any, gradient: Any, wanted: Any) -> None:
            if which is not optimizer:
                return
            p, precision = which.params[i], which.precision_of(i)
            name = names.get(id(p), f"parameter {i}")
            held = which.state[i].get("accumulator")
            quantizer = precision.weight if held is None else precision.accumulator
            after = p.data if held is None else held
            before, gradient, wanted, after = (to_device(a, "cpu") for a in (before, gradient, wanted, after))
            seen.updates[name] = Update(
                name, before, gradient, wanted, after, quantizer, "compensation" in which.state[i]
            )

        step_hooks.append(observe)
        try:
            yield seen
        finally:
            step_hooks.remove(observe)
