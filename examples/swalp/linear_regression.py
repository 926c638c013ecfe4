"""Theorem 1 on linear regression: the average of rounded weights converges as 1/T, the weights themselves do not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..kernels import quantize
from .experiment import Context, Result, Results, Task
from .linear_problem import LinearProblem, averaged, problem, stationary
from .report import Report, Table, Verdict, within
from .sgd import Array, iterates, quantizer, slope, squared

METHODS = {"float": "SGD-FP", "stochastic": "SGD-LP", "nearest": "nearest"}
EVERY = 20  # steps from one measurement of the distance to the next: they are correlated
Row = dict[str, Any]  # {"t": steps, "average": squared distances by replica, "weights": their mean over time}


@dataclass(frozen=True)
class Descent:
    """SGD on the linear problem, some replicas at a time."""

    d: int  # weights
    n: int  # samples
    lr: float
    replicas: int
    warmup: int  # steps before the first that counts
    fl: int | None  # fraction bits of the weights; None: float
    rounding: str
    steps: int


@dataclass(frozen=True)
class Theory:
    """What is predicted for the settings of an experiment."""

    problem: LinearProblem
    exact: Array  # covariance of the weights in float, (d, d)
    rounded: dict[int, Array]  # the same by fraction bits

    def floor(self, fl: int) -> float:
        """Return the squared distance of weights of so many fraction bits."""
        return float(np.trace(self.rounded[fl]))


@dataclass(frozen=True)
class LinearRegression:
    """Does the average of rounded weights converge as 1/T, to a distance that the weights never reach?"""

    name: ClassVar[str] = "linear-regression"
    question: ClassVar[str] = "Theorem 1: SWALP converges as 1/T, SGD-LP stalls"
    source: ClassVar[str] = 'Yang et al., "SWALP", ICML 2019, section 4 and Theorem 1'

    d: int = 64  # weights
    n: int = 4096  # samples
    lr: float = 0.005
    replicas: int = 8
    fl: int = 6  # fraction bits of the weights
    steps: int = 1_000_000
    fit_from: int = 10_000  # the step from which exponents are fitted
    floor_fl: tuple[int, ...] = (3, 4, 5, 7, 8)  # other fraction bits, at which the floor is measured
    floor_steps: int = 200_000
    warmup: int = 4000

    @classmethod
    def quick(cls) -> LinearRegression:
        """Return the experiment at a minute's size."""
        return cls(
            d=16,
            n=1024,
            lr=0.01,
            replicas=96,
            fl=5,
            steps=10_000,
            fit_from=1000,
            floor_fl=(4, 6),
            floor_steps=4000,
            warmup=1500,
        )

    def data_sets(self) -> set[str]:
        """Return none: the samples are drawn."""
        return set()

    def tasks(self) -> list[Task]:
        """Return the runs: float, stochastic and nearest rounding, and shorter ones for the floors at other gaps."""
        runs: dict[str, tuple[int | None, str, int]] = {
            m: (None if m == "float" else self.fl, m, self.steps) for m in METHODS
        }
        runs |= {f"floor-{fl}": (fl, "stochastic", self.floor_steps) for fl in self.floor_fl}
        shared = (self.d, self.n, self.lr, self.replicas, self.warmup)
        return [Task(name, Descent(*shared, *own), seed) for seed, (name, own) in enumerate(runs.items())]

    def run(self, task: Task, context: Context) -> Result:
        """Return {"rows": a Row at each of the marks}."""
        return {"rows": descend(task.settings, task.seed)}

    def report(self, results: Results) -> Report:
        """Return the distances by T, the floors, and the verdicts."""
        theory = self.theory()
        floors = {fl: measured_floor(self._rows_of_floor(results, fl)) for fl in self._all_fl}
        note = (
            f"Linear regression, {self.d} weights, {self.n} samples, one a step, learning rate {self.lr}, weights in "
            f"fixed point with {self.fl} fraction bits, stochastically rounded; {self.replicas} replicas; T from "
            f"{self.warmup} steps after the start. Distances are squared, those of weights over time."
        )
        tables = [self._distances(results, theory), _floors(floors, theory)]
        return Report(tables, self._verdicts(results, floors, theory), [note])

    def theory(self) -> Theory:
        """Return what is predicted of the weights, by the formula of `stationary`."""
        p = problem(self.d, self.n)
        rounded = {fl: stationary(p, self.lr, 2.0**-fl)[0] for fl in self._all_fl}
        return Theory(p, stationary(p, self.lr, 0.0)[0], rounded)

    @property
    def _all_fl(self) -> list[int]:
        return sorted({self.fl, *self.floor_fl})

    def _rows_of_floor(self, results: Results, fl: int) -> list[Row]:
        return rows_of(results, "stochastic" if fl == self.fl else f"floor-{fl}")

    def _distances(self, results: Results, theory: Theory) -> Table:
        by = {name: {r["t"]: r for r in rows_of(results, name)} for name in METHODS}
        columns = (
            ("float", "weights"),
            ("float", "average"),
            ("stochastic", "weights"),
            ("stochastic", "average"),
            ("nearest", "average"),
        )
        rows = []
        for t in sorted(set().union(*by.values())):
            cells = [f"{np.mean(by[m][t][what]):.1e}" if t in by[m] else "diverged" for m, what in columns]
            cells.insert(4, f"{averaged(theory.problem, theory.rounded[self.fl], self.lr, t):.1e}")
            rows.append([f"{t:.0e}" if t == 10 ** round(math.log10(t)) else f"{t:,}", *cells])
        header = ["T", "SGD-FP", "SWA", "SGD-LP", "SWALP", "(theory)", "nearest, avg."]
        return Table("Squared distance to the optimum after T steps.", header, rows)

    def _verdicts(self, results: Results, floors: dict[int, float], theory: Theory) -> list[Verdict]:
        def exponent(method: str, what: str) -> float:
            return fitted(rows_of(results, method), what, self.fit_from)

        control = exponent("nearest", "average")
        off = [abs(measured / theory.floor(fl) - 1) for fl, measured in floors.items()]
        worst = max(off, key=lambda x: (math.isnan(x), x))
        falls = "(a) SWALP's squared distance falls as a power of T, exponent"
        fails = not -1.15 <= control <= -0.85 and not math.isnan(control)
        return [
            within(falls, exponent("stochastic", "average"), -1.15, -0.85, "{:.2f}"),
            within("(a) SWA's in float, exponent", exponent("float", "average"), -1.15, -0.85, "{:.2f}"),
            within("(a) SGD-LP stalls, exponent", exponent("stochastic", "weights"), -0.15, 0.15, "{:.2f}"),
            within("(b) SGD-LP's floor against the formula, largest difference", worst, -math.inf, 0.1, "{:.1%}"),
            Verdict(
                "(d) rounding to nearest fails (a), exponent of its average",
                f"{control:.2f}",
                "outside of -1.15 to -0.85",
                fails,
            ),
        ]

    def draw(self, figure: Any, results: Results) -> None:
        """Draw the distances against T, and the floors against the gap, both on logarithmic scales."""
        theory, (left, right) = self.theory(), figure.subplots(1, 2, width_ratios=(3, 2))
        self._draw_distances(left, results)
        self._draw_theory(left, theory)
        gaps = [2.0**-fl for fl in self._all_fl]
        right.plot(gaps, [theory.floor(fl) for fl in self._all_fl], "k--", lw=1, label="formula")
        measured = [measured_floor(self._rows_of_floor(results, fl)) for fl in self._all_fl]
        right.plot(gaps, measured, "C3o", label="SGD-LP, measured")
        right.axhline(np.trace(theory.exact), color="C0", lw=1, label="SGD-FP, formula")
        right.set(xscale="log", yscale="log", xlabel="gap of the weights", title="floor of SGD-LP")
        right.set_xscale("log", base=2)
        right.grid(alpha=0.3)
        right.legend()

    def _draw_distances(self, axes: Any, results: Results) -> None:
        lines = (
            ("SGD-FP", "float", "weights", "C0--"),
            ("SWA", "float", "average", "C0-"),
            ("SGD-LP", "stochastic", "weights", "C3--"),
            ("SWALP", "stochastic", "average", "C3-"),
            ("average, rounded to nearest", "nearest", "average", "C7-."),
        )
        for label, method, what, style in lines:
            rows = rows_of(results, method)
            axes.plot([r["t"] for r in rows], [np.mean(r[what]) for r in rows], style, marker="o", ms=3, label=label)

    def _draw_theory(self, axes: Any, theory: Theory) -> None:
        t, p = np.geomspace(100, self.steps, 50), theory.problem
        for S, label in ((theory.exact, "theory"), (theory.rounded[self.fl], None)):
            axes.plot(t, [averaged(p, S, self.lr, x) for x in t], "k:", lw=1, label=label)
        nearest = squared(quantize(p.optimum, f"fixed{self.fl + 2}.{self.fl}") - p.optimum)
        axes.axhline(nearest, color="k", lw=0.8, alpha=0.4, label="the optimum itself, rounded")
        title = f"linear regression, {self.fl} fraction bits"
        axes.set(xscale="log", yscale="log", xlabel="steps T", ylabel="squared distance to the optimum", title=title)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)


def descend(s: Descent, seed: int) -> list[Row]:
    """Return squared distances to the optimum at the marks: of the average, by replica, and of the weights.

    The distance of the weights is the mean over the time since the mark before, and all replicas.
    """
    p, start = problem(s.d, s.n), np.zeros((s.replicas, s.d))
    optimum, total, at = p.optimum, np.zeros_like(start), marks(s.steps)
    rows: list[Row] = []
    distances: list[float] = []
    rounded = quantizer(s.fl, s.rounding, seed)
    for step, w in iterates(p, start, s.lr, rounded, s.warmup, s.steps, seed):
        total += w
        if step % EVERY == 0:
            distances.append(float(squared(w - optimum).mean()))
        if step in at:
            average = squared(total / step - optimum).tolist()
            rows.append({"t": step, "average": average, "weights": float(np.mean(distances))})
            distances = []
    return rows


def marks(steps: int) -> set[int]:
    """Return the steps at which is measured: from 100, two a factor of ten, and the last."""
    return {round(10 ** (k / 2)) for k in range(4, 13)} & set(range(steps)) | {steps}


def rows_of(results: Results, name: str) -> list[Row]:
    """Return the rows of a run; none where it diverged."""
    return list(results[name].get("rows", []))


def measured_floor(rows: list[Row]) -> float:
    """Return the mean squared distance of the weights over the run, each row for the steps it stands for."""
    if not rows:
        return math.nan
    return float(np.average([r["weights"] for r in rows], weights=np.diff([0, *(r["t"] for r in rows)])))


def fitted(rows: list[Row], what: str, start: int) -> float:
    """Return the exponent of T of the average's or the weights' squared distance, from step `start` on; NaN of none."""
    rows = [r for r in rows if r["t"] >= start]
    return slope([r["t"] for r in rows], [float(np.mean(r[what])) for r in rows]) if len(rows) > 1 else math.nan


def _floors(floors: dict[int, float], theory: Theory) -> Table:
    rows = [
        [str(fl), f"{measured:.3e}", f"{theory.floor(fl):.3e}", f"{measured / theory.floor(fl) - 1:+.1%}"]
        for fl, measured in floors.items()
    ]
    noise = float(np.trace(theory.exact))
    title = f"Floor of SGD-LP by fraction bits (in float, the gradients' noise alone: {noise:.2e})."
    return Table(title, ["bits", "measured", "formula", "difference"], rows)
