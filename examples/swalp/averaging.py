"""How often to average, and in which precision to keep the average.

On linear regression, where the optimum is known, and on images. One training carries all averages at once, as none is
fed back into it: they differ by nothing else. A fixed-point average has a floor of its own: late in training a new
weight moves it by less than its gap, stochastic rounding then makes it wander with a variance of (gap / 2) E|w - E w|
a weight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..precision import Quantizer
from ..random import Stream
from ..recipes import swalp
from .drawing import points
from .experiment import Context, Result, Results, Task
from .images import Average, Training, by_seed, train
from .linear_problem import averaged, problem, stationary
from .report import BySeed, Report, Table, Verdict, difference, mean, spread, within
from .sgd import Array, iterates, quantizer, squared

MODES = ("stochastic", "nearest")
MNIST = Training("mnist", "small_cnn", epochs=24, start=16, lr=0.1, swa_lr=0.05, weight_decay=3e-4, images=2000, pool=2)
DIGITS = Training("digits", "small_cnn", epochs=6, start=4, lr=0.1, swa_lr=0.05, weight_decay=3e-4)


@dataclass(frozen=True)
class Descent:
    """SGD-LP on the linear problem, of which averages are kept in several precisions."""

    d: int = 64  # weights
    n: int = 4096  # samples
    lr: float = 0.005
    replicas: int = 8
    fl: int = 6  # fraction bits of the weights
    warmup: int = 4000  # steps before the first that counts
    cycle: int = 100  # steps from one average to the next
    steps: int = 500_000
    average_fl: tuple[int, ...] = (6, 8, 10, 12)  # fraction bits of the averages


@dataclass(frozen=True)
class Averaging:
    """How often is enough, and how many bits are?"""

    name: ClassVar[str] = "averaging"
    question: ClassVar[str] = "how often to average, in how many bits"
    source: ClassVar[str] = 'Yang et al., "SWALP", ICML 2019, section 5'

    linear: Descent = Descent()
    images: Training = MNIST
    weight_bits: int = 8  # of block floating point
    seeds: int = 3
    cycles: tuple[tuple[str, int], ...] = (
        ("step", 1),
        ("4 steps", 4),
        ("epoch", 16),
        ("2 epochs", 32),
        ("4 epochs", 64),
    )
    bits: tuple[int, ...] = (12, 10, 8, 7, 6, 5, 4)  # of the averages, from many to few
    far: float = 10  # times that the average of the fewest bits is further from the optimum than that in float

    @classmethod
    def quick(cls) -> Averaging:
        """Return the experiment at a minute's size."""
        linear = Descent(
            d=16,
            n=1024,
            lr=0.01,
            replicas=24,
            warmup=2000,
            cycle=20,
            steps=20_000,
            average_fl=(6, 10),
        )
        return cls(linear, DIGITS, cycles=(("step", 1), ("epoch", 11)), bits=(12, 8, 4), far=5)

    def data_sets(self) -> set[str]:
        """Return the images."""
        return {self.images.data}

    def tasks(self) -> list[Task]:
        """Return one run of linear regression, and one on images for each seed."""
        averages = [Average(f"every {name}", steps) for name, steps in self.cycles]
        averages += [Average(f"{b} bits, {mode}", None, f"bfp{b}", mode) for b in self.bits for mode in MODES]
        images = replace(self.images, precision=swalp(self.weight_bits), averages=tuple(averages))
        return [Task("linear", self.linear, 0), *(Task(f"images-{s}", images, s) for s in range(self.seeds))]

    def run(self, task: Task, context: Context) -> Result:
        """Return the squared distances of all averages, or their test errors."""
        if isinstance(task.settings, Descent):
            return descend(task.settings, task.seed)
        return train(task.settings, task.seed, context)

    def report(self, results: Results) -> Report:
        """Return distances and test errors of all averages, and the verdicts."""
        t, i = self.linear, self.images
        note = (
            f"Linear regression as in linear-regression ({t.d} weights with {t.fl} fraction bits, "
            f"{t.replicas} replicas), averaged every {t.cycle} steps, {t.steps:,} steps. Images: "
            f"{i.network} on {i.images_in_words}, trained in bfp{self.weight_bits}, "
            f"{i.epochs} epochs, averaged from {i.start}; test error in %, float activations, mean ± standard "
            f"deviation over {self.seeds} seeds."
        )
        tables = [self._linear_table(results), self._cycle_table(results), self._bits_table(results)]
        return Report(tables, [*self._linear_verdicts(results), *self._image_verdicts(results)], [note])

    def last(self, results: Results) -> BySeed:
        """Return the test errors of the last weights."""
        return by_seed(results, "images", self.seeds, "last", "float")

    def average(self, results: Results, name: str) -> BySeed:
        """Return the test errors of an average."""
        return by_seed(results, "images", self.seeds, "averages", name, "float")

    def _linear_table(self, results: Results) -> Table:
        rows = [["float", f"{distance(results, 'float'):.1e}", "", ""]]
        for fl in reversed(self.linear.average_fl):
            measured = (f"{distance(results, f'{fl} bits, {mode}'):.1e}" for mode in MODES)
            rows.append([f"{fl} fraction bits", *measured, f"{floor(self.linear, fl):.1e}"])
        title = "Linear regression: squared distance of the average to the optimum, by the precision it is kept in."
        return Table(title, ["average kept in", "stochastic", "nearest", "formula (stoch.)"], rows)

    def _cycle_table(self, results: Results) -> Table:
        rows = [["none: the last weights", spread(self.last(results))]]
        rows += [[f"every {cycle}", spread(self.average(results, f"every {cycle}"))] for cycle, _ in self.cycles]
        return Table("Images: test error by how often is averaged, in float.", ["average", "test error"], rows)

    def _bits_table(self, results: Results) -> Table:
        rows = [["float", spread(self.average(results, "every epoch")), ""]]
        rows += [
            [f"{b} bits", *(spread(self.average(results, f"{b} bits, {mode}")) for mode in MODES)] for b in self.bits
        ]
        title = "Images: test error by the precision of the average, taken once an epoch, block floating point."
        return Table(title, ["average kept in", *MODES], rows)

    def _linear_verdicts(self, results: Results) -> list[Verdict]:
        found = []
        for fl in self.linear.average_fl[:2]:  # with more bits little but the noise of the average in float is left
            measured = distance(results, f"{fl} bits, stochastic") / floor(self.linear, fl)
            claim = f"linear regression, average in {fl} fraction bits: distance over the formula"
            found.append(within(claim, measured, 0.75, 1.25, "{:.2f}"))
        low = self.linear.average_fl[0]
        for mode in MODES:
            times = distance(results, f"{low} bits, {mode}") / distance(results, "float")
            claim = f"linear regression: {low} fraction bits, {mode}, times the distance of float"
            found.append(within(claim, times, self.far, math.inf, "{:.0f}"))
        return found

    def _image_verdicts(self, results: Results) -> list[Verdict]:
        """Averages of one training are compared seed by seed."""
        last, epoch = self.last(results), self.average(results, "every epoch")
        every_step = self.average(results, "every step")
        many, few = (self.average(results, f"{bits} bits, stochastic") for bits in (self.bits[0], self.bits[-1]))
        return [
            _at_most("images: error of the average once an epoch minus the last weights'", epoch, last, 0.0),
            _at_most("images: once an epoch minus every step", epoch, every_step, 0.5),
            _at_most(f"images: average in {self.bits[0]} bits minus in float", many, epoch, 0.2),
            _at_most(f"images: average in float minus in {self.bits[-1]} bits", epoch, few, 0.0),
        ]

    def draw(self, figure: Any, results: Results) -> None:
        """Draw distances and test errors against the bits of the average, and test errors against the cycle."""
        left, middle, right = figure.subplots(1, 3)
        self._draw_linear(left, results)
        self._draw_cycles(middle, results)
        for mode, style in zip(MODES, ("C3o-", "C0s-"), strict=True):
            errors = [self.average(results, f"{b} bits, {mode}") for b in self.bits]
            points(right, self.bits, errors, fmt=style, label=mode)
        right.axhline(mean(self.last(results)), color="0.5", lw=1, label="last weights")
        right.axhline(mean(self.average(results, "every epoch")), color="k", ls=":", lw=1, label="float")
        right.set(xlabel="bits of the average", ylabel="test error (%)", title="images: precision")
        for axes in (left, middle, right):
            axes.grid(alpha=0.3)
            axes.legend(fontsize=8)

    def _draw_linear(self, axes: Any, results: Results) -> None:
        bits = self.linear.average_fl
        for mode, style in zip(MODES, ("C3o-", "C0s-"), strict=True):
            axes.plot(bits, [distance(results, f"{fl} bits, {mode}") for fl in bits], style, label=mode)
        axes.plot(bits, [floor(self.linear, fl) for fl in bits], "k:", label="formula, stochastic")
        axes.axhline(distance(results, "float"), color="0.5", lw=1, label="float")
        axes.set(yscale="log", xlabel="fraction bits of the average", ylabel="squared distance to the optimum")
        axes.set_title("linear regression")

    def _draw_cycles(self, axes: Any, results: Results) -> None:
        errors = [self.average(results, f"every {cycle}") for cycle, _ in self.cycles]
        points(axes, range(len(errors)), errors, fmt="C3o-", label="SWALP")
        axes.set_xticks(range(len(errors)), [cycle.replace(" ", "\n") for cycle, _ in self.cycles], fontsize=8)
        axes.axhline(mean(self.last(results)), color="0.5", lw=1, label="last weights")
        axes.set(xlabel="averaged every", ylabel="test error (%)", title="images: cycle")


def descend(s: Descent, seed: int) -> Result:
    """Return the squared distances of the averages by name, and of the last weights."""
    p, start = problem(s.d, s.n), np.zeros((s.replicas, s.d))
    optimum, rounded = p.optimum, quantizer(s.fl, "stochastic", seed)
    averages = {name: RunningMean(round) for name, round in _quantizers(s).items()}
    for step, w in iterates(p, start, s.lr, rounded, s.warmup, s.steps, seed):
        if step % s.cycle == 0:
            for average in averages.values():
                average.add(w)
    distances = {name: float(squared(average.mean - optimum).mean()) for name, average in averages.items()}
    return {"distances": distances, "weights": float(squared(w - optimum).mean())}


def _quantizers(s: Descent) -> dict[str, Quantizer | None]:
    formats = {
        f"{fl} bits, {mode}": Quantizer(f"fixed{fl + 2}.{fl}", mode, Stream(100 + fl))
        for fl in s.average_fl
        for mode in MODES
    }
    return {"float": None, **formats}


class RunningMean:
    """A mean of arrays, rounded after each is taken in."""

    def __init__(self, round: Quantizer | None) -> None:
        self.round, self.n = round, 0
        self.mean: Array = np.zeros(())

    def add(self, w: Array) -> None:
        """Take in an array."""
        self.n += 1
        mean = self.mean + (w - self.mean) / self.n
        self.mean = mean if self.round is None else self.round(mean)


def floor(s: Descent, fl: int) -> float:
    """Return the squared distance that a stochastically rounded average of linear regression comes down to.

    That of the average in float, and for each weight (gap / 2) E|w - E w|, of a normal w with its stationary variance.
    """
    p = problem(s.d, s.n)
    S, _ = stationary(p, s.lr, 2.0**-s.fl)
    away = np.sqrt(2 / math.pi * np.diag(S)).sum()
    return 2.0**-fl / 2 * float(away) + averaged(p, S, s.lr, s.steps)


def distance(results: Results, name: str) -> float:
    """Return the squared distance of an average of linear regression to the optimum; NaN if it diverged."""
    return float(results["linear"].get("distances", {}).get(name, math.nan))


def _at_most(claim: str, a: BySeed, b: BySeed, limit: float) -> Verdict:
    gap, error = difference(a, b)
    band = f"at most {limit:.1f}, to two standard errors"
    return Verdict(claim, f"{gap:+.2f} ± {error:.2f}", band, gap <= limit + 2 * error)
