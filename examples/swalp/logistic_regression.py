"""Theorem 2 on logistic regression: half the bits reduce SWALP's noise ball as far as all bits reduce SGD-LP's.

With a learning rate proportional to the gap of the weights' grid, the squared distance of SGD-LP to the optimum is
proportional to the gap, and that of the average to its square: what is left of it is no noise but a bias, as the
objective is not quadratic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..kernels import quantize
from .experiment import Context, Result, Results, Task
from .logistic_problem import LogisticProblem, problem
from .report import Report, Table, Verdict, within
from .sgd import Array, iterates, quantizer, slope, squared

CLASSES = {"binary": (3, 8), "10 classes": tuple(range(10))}
EVERY = 25  # steps between measurements of the covariance: successive weights are nearly the same
ABOVE = 5  # bits before the point, sign included: no weight comes near


@dataclass(frozen=True)
class Case:
    """One problem, and how long it is run at each number of fraction bits."""

    classes: str  # one of CLASSES
    fl: tuple[int, ...]
    samples: int
    replicas: int
    steps: int

    def task(self, fl: int, rounded: bool) -> str:
        """Return the name of the run at one number of fraction bits."""
        return f"{self.classes.replace(' ', '-')}-{fl}-{'rounded' if rounded else 'float'}"


@dataclass(frozen=True)
class Descent:
    """SGD on a logistic problem from its rounded optimum, some replicas at a time."""

    data: str
    classes: tuple[int, ...]
    samples: int
    components: int
    penalty: float
    lr: float
    fl: int  # fraction bits of the starting point, and, where rounded, of the weights
    rounded: bool
    replicas: int
    warmup: int  # steps before the first that counts
    steps: int


@dataclass(frozen=True)
class LogisticRegression:
    """Does a bit more halve SGD-LP's squared distance and quarter that of the average?"""

    name: ClassVar[str] = "logistic-regression"
    question: ClassVar[str] = "Theorem 2: half the bits shrink the noise ball as far"
    source: ClassVar[str] = 'Yang et al., "SWALP", ICML 2019, section 4 and Theorem 2'

    data: str = "mnist"
    lr_by_gap: float = 0.5  # the learning rate, in gaps of the weights' grid
    penalty: float = 0.02  # of |w|^2 / 2
    components: int = 10  # principal ones of the images
    ratios: tuple[int, ...] = (3, 4, 5)  # fraction bits whose neighbours' distances are compared
    warmup: int = 20_000
    cases: tuple[Case, ...] = (
        Case("binary", (2, 3, 4, 5, 6), samples=1000, replicas=32, steps=1_000_000),
        Case("10 classes", (2, 3, 4, 5, 6), samples=2000, replicas=16, steps=300_000),
    )

    @classmethod
    def quick(cls) -> LogisticRegression:
        """Return the experiment at a minute's size."""
        binary = Case("binary", (2, 3, 4), samples=300, replicas=240, steps=4000)
        ten = Case("10 classes", (2, 3), samples=1000, replicas=96, steps=2000)
        return cls(data="digits", ratios=(2, 3, 4), warmup=2000, cases=(binary, ten))

    def data_sets(self) -> set[str]:
        """Return the images that are classified."""
        return {self.data}

    def tasks(self) -> list[Task]:
        """Return a run for each problem, number of fraction bits, and with and without rounding."""
        return [
            Task(case.task(fl, rounded), self._descent(case, fl, rounded), 10 * fl + rounded)
            for case in self.cases
            for fl in case.fl
            for rounded in (True, False)
        ]

    def _descent(self, case: Case, fl: int, rounded: bool) -> Descent:
        return Descent(
            self.data,
            CLASSES[case.classes],
            case.samples,
            self.components,
            self.penalty,
            lr=self.lr_by_gap * 2.0**-fl,
            fl=fl,
            rounded=rounded,
            replicas=case.replicas,
            warmup=self.warmup,
            steps=case.steps,
        )

    def run(self, task: Task, context: Context) -> Result:
        """Return squared distances: of the weights, the mean over time; of the average, by its parts bias and noise."""
        return descend(task.settings, task.seed, context.data_dir)

    def report(self, results: Results) -> Report:
        """Return the distances by fraction bits, and the verdicts."""
        runs = "; ".join(
            f"{case.classes}: the first {case.samples} images, {case.replicas} replicas, {case.steps:,} steps"
            for case in self.cases
        )
        note = (
            f"Logistic regression on {self.data}, {self.components} whitened principal components and a constant, "
            f"penalty {self.penalty}, one sample a step, lr {self.lr_by_gap} times the weights' gap. "
            f"{runs}. SWALP's figure is its squared bias: the distance of an average without end."
        )
        verdicts = [v for case in self.cases for v in self._verdicts(case, results)]
        return Report([_table(case, results) for case in self.cases], verdicts, [note])

    def _verdicts(self, case: Case, results: Results) -> list[Verdict]:
        """Band (c) bit by bit, and the exponents of the gap over all bits."""
        found = []
        pairs = [fl for fl in case.fl if {fl, fl + 1} <= {*self.ratios} & {*case.fl}]
        for who, what, power, tolerance in (("SGD-LP", "weights", 1, 0.2), ("SWALP", "bias", 2, 0.25)):
            d2 = dict(zip(case.fl, series(case, results, what), strict=True))
            low, high = 2**power * (1 - tolerance), 2**power * (1 + tolerance)
            for fl in pairs:
                claim = f"(c) {case.classes}, {who}: bit {fl + 1} divides the squared distance by"
                found.append(within(claim, d2[fl] / d2[fl + 1], low, high, "{:.2f}"))
            fit = slope([2.0**-fl for fl in case.fl], list(d2.values())) if min(d2.values()) > 0 else math.nan
            claim = f"{case.classes}, {who}: exponent of the gap, all bits"
            found.append(within(claim, fit, power * 0.8, power * 1.2, "{:.2f}"))
        return found

    def draw(self, figure: Any, results: Results) -> None:
        """Draw the squared distances against fraction bits, and at one distance the bits that both need."""
        panels = figure.subplots(1, len(self.cases), squeeze=False)[0]
        for axes, case in zip(panels, self.cases, strict=True):
            _draw_case(axes, case, results)


def descend(s: Descent, seed: int, data_dir: Path | None) -> Result:
    """Return the figures of one run."""
    p = problem(s.data, s.classes, s.samples, s.components, s.penalty, data_dir)
    start = np.tile(quantize(p.optimum, f"fixed{s.fl + ABOVE}.{s.fl}"), (s.replicas, 1))
    total, moment, count = np.zeros_like(start), np.zeros((p.size, p.size)), 0
    rounded = quantizer(s.fl if s.rounded else None, "stochastic", seed, ABOVE)
    for step, w in iterates(p, start, s.lr, rounded, s.warmup, s.steps, seed):
        total += w
        if step % EVERY == 0:
            away = w - p.optimum
            moment, count = moment + away.T @ away, count + len(w)
    return _measure(p, total / s.steps, moment / count, w)


def _measure(p: LogisticProblem, average: Array, moment: Array, last: Array) -> Result:
    away = average - p.optimum  # (R, d)
    predicted, bias = p.bias(moment), away.mean(axis=0)
    size, error = squared_mean(away)
    return {
        "weights": float(np.trace(moment)),
        "average": float(squared(away).mean()),
        "bias": size,
        "error": error,
        "predicted": float(squared(predicted)),
        "highest": float(abs(last).max()),
        "cosine": float(bias @ predicted / np.linalg.norm(bias) / np.linalg.norm(predicted)),
        "gradients": [float(np.mean([np.linalg.norm(p.mean_gradient(w)) for w in ws])) for ws in (last, average)],
    }


def squared_mean(x: Array) -> tuple[float, float]:
    """Return an unbiased estimate of |E x|^2 from independent rows x (R, d), and its standard error (jackknife)."""
    R, total, sizes = len(x), x.sum(axis=0), squared(x)

    def estimate(total: Array, sizes: Array, R: int) -> Array:
        return (squared(total) - sizes) / (R * (R - 1))

    without = estimate(total - x, sizes.sum() - sizes, R - 1)
    error = math.sqrt((R - 1) * float(np.var(without)))
    return float(estimate(total, sizes.sum(), R)), error


def series(case: Case, results: Results, what: str, rounded: bool = True) -> list[float]:
    """Return one figure by fraction bits; NaN where the run diverged."""
    return [results[case.task(fl, rounded)].get(what, math.nan) for fl in case.fl]


def _table(case: Case, results: Results) -> Table:
    columns = [series(case, results, what) for what in ("weights", "bias", "error", "predicted")]
    columns.append(series(case, results, "bias", rounded=False))
    ratios = [["", *(f"{a / b:.2f}" for a, b in pairwise(c))] for c in columns[:2]]
    rows = [
        [str(fl), f"{w:.2e}", ratios[0][i], f"{b:.2e} ± {e:.0e}", ratios[1][i], f"{q:.2e}", f"{f:.2e}"]
        for i, (fl, w, b, e, q, f) in enumerate(zip(case.fl, *columns, strict=True))
    ]
    name = f"{case.classes[0].upper()}{case.classes[1:]}"
    title = f"{name}: squared distance to the optimum, and how many times a bit more divides it."
    return Table(title, ["bits", "SGD-LP", "a bit", "SWALP", "a bit", "theory", "SWA, float"], rows)


def _draw_case(axes: Any, case: Case, results: Results) -> None:
    lp, swalp, theory, error = (
        np.array(series(case, results, what)) for what in ("weights", "bias", "predicted", "error")
    )
    axes.plot(case.fl, lp, "C3o--", label="SGD-LP")
    axes.errorbar(case.fl, swalp, 2 * error, fmt="C3o-", label="SWALP (bias; ± 2 standard errors)")
    axes.plot(case.fl, theory, "k:", label="SWALP, theory")
    axes.plot(case.fl, series(case, results, "bias", rounded=False), "C0-", lw=1, label="SWA in float")
    _draw_half(axes, case.fl, lp, swalp)
    axes.set(yscale="log", xlabel="fraction bits of the weights", ylabel="squared distance to the optimum")
    axes.set_title(case.classes)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)


def _draw_half(axes: Any, bits: tuple[int, ...], lp: Array, swalp: Array) -> None:
    """Draw an arrow from SWALP at some bits to the bits that SGD-LP, continued by its trend, needs for the same."""
    if not (min(lp) > 0 and min(swalp) > 0):  # diverged, or lost in noise
        return
    trend = np.polyfit(bits, np.log(lp), 1)
    at = 1
    needed = (np.log(swalp[at]) - trend[1]) / trend[0]
    axes.plot([bits[-1], needed], np.exp(np.polyval(trend, [bits[-1], needed])), "C3--", lw=0.8, alpha=0.6)
    axes.annotate("", (needed, swalp[at]), (bits[at], swalp[at]), arrowprops={"arrowstyle": "->", "color": "0.3"})
    text = f"{bits[at]} bits do what takes SGD-LP {needed:.1f}"
    axes.text((bits[at] + needed) / 2, swalp[at] * 1.15, text, ha="center", fontsize=8)
