"""SGLDLP: Langevin samples of a Gaussian, with weights on a grid.

One step of Langevin dynamics on U(w) = w^2 / 2 is w <- w - lr w + sqrt(2 lr) z with normal z, and its samples have
variance 2 / (2 - lr). Rounding a step stochastically adds D = gap^2 G(r), with r the step's deviation in gaps and G the
mean of f (1 - f) over its fractions f: the variance becomes (2 lr + D) / (lr (2 - lr)), which grows without end as lr
falls. The variance-corrected quantizer makes the noise and the rounding at once, of variance 2 lr together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, ClassVar

import numpy as np

from ..formats import format
from ..precision import Quantizer
from ..random import Stream
from .experiment import Context, Result, Results, Task, task_name
from .report import Report, Table, Verdict, within
from .sgd import Array

METHODS = {"float": "SGLD", "rounded": "SGLDLP-L", "corrected": "VC SGLDLP-L"}
STYLES = {"float": "C7s", "rounded": "C3o", "corrected": "C0^"}
Step = Callable[[Array], Array]


@dataclass(frozen=True)
class Chains:
    """Many chains of one method and step size."""

    method: str
    lr: float
    fmt: str
    chains: int
    times: int  # 1 / lr steps, which is what a chain takes to forget: so often samples are taken, and before the first


@dataclass(frozen=True)
class Langevin:
    """Does the spread of Langevin samples grow as the step shrinks, where weights are rounded?"""

    name: ClassVar[str] = "langevin"
    question: ClassVar[str] = "Langevin samples of a Gaussian with rounded weights"
    source: ClassVar[str] = 'Zhang et al., "Low-precision stochastic gradient Langevin dynamics", ICML 2022'

    fmt: str = "fixed9.3"
    lrs: tuple[float, ...] = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5)
    chains: int = 4000
    times: int = 5
    tolerance: float = 0.05  # of variances against the formula
    wider: float = 3  # times that rounded samples spread at the smallest step, at least
    nearer: float = 20  # times that corrected ones are nearer to the target then, at least

    @classmethod
    def quick(cls) -> Langevin:
        """Return the experiment at a size of seconds."""
        return cls(lrs=(1e-1, 1e-2, 2e-3), wider=1.2, nearer=5)

    def data_sets(self) -> set[str]:
        """Return none: the target is a formula."""
        return set()

    def tasks(self) -> list[Task]:
        """Return a run for each method and step size, small steps first."""
        return [
            Task(task_name(method, f"{lr:g}"), Chains(method, lr, self.fmt, self.chains, self.times), seed)
            for seed, lr in enumerate(reversed(self.lrs))
            for method in METHODS
        ]

    def run(self, task: Task, context: Context) -> Result:
        """Return the "variance" of the samples, their "distance" to the target, and how many are where."""
        return sample(task.settings, task.seed)

    def report(self, results: Results) -> Report:
        """Return spreads and distances by step size, and the verdicts."""
        note = (
            f"Samples of a standard normal distribution by Langevin dynamics with exact gradients: {self.chains} "
            f"chains at {self.times} times, 1 / step steps apart; weights in {self.fmt}, of gap {gap_of(self.fmt):g}. "
            "SGLDLP-L rounds each step stochastically, VC SGLDLP-L with the variance-corrected quantizer."
        )
        tables = [self._spreads(results), self._distances(results)]
        return Report(tables, self._verdicts(results), [note])

    def _spreads(self, results: Results) -> Table:
        rows = []
        for lr in self.lrs:
            cells = [
                f"{self.spread(results, m, lr):.3f} ({math.sqrt(variance(m, lr, gap_of(self.fmt))):.3f})"
                for m in METHODS
            ]
            rows.append([f"{lr:g}", *cells])
        title = "Standard deviation of the samples by step size, and that of the formula; the target has 1."
        return Table(title, ["step", *METHODS.values()], rows)

    def _distances(self, results: Results) -> Table:
        rows = [[f"{lr:g}", *(f"{self.found(results, m, lr, 'distance'):.3f}" for m in METHODS)] for lr in self.lrs]
        title = "2-Wasserstein distance of the samples to the target, of which the gap alone makes at least "
        return Table(title + f"{gap_of(self.fmt) / math.sqrt(12):.3f}.", ["step", *METHODS.values()], rows)

    def found(self, results: Results, method: str, lr: float, what: str) -> float:
        """Return a figure of the samples; NaN where they diverged."""
        return float(results[task_name(method, f"{lr:g}")].get(what, math.nan))

    def spread(self, results: Results, method: str, lr: float) -> float:
        """Return the standard deviation of the samples."""
        return math.sqrt(self.found(results, method, lr, "variance"))

    def _verdicts(self, results: Results) -> list[Verdict]:
        small = min(self.lrs)
        wide = self.spread(results, "rounded", small)
        wider = [self.spread(results, "rounded", lr) / math.sqrt(2 / (2 - lr)) for lr in sorted(self.lrs)]
        growth = np.min(np.divide(wider[:-1], wider[1:]))  # over SGLD's spread, which large steps widen
        off = [self.spread(results, "corrected", lr) / math.sqrt(2 / (2 - lr)) - 1 for lr in self.lrs]
        near = self.found(results, "rounded", small, "distance") / self.found(results, "corrected", small, "distance")
        return [
            *(self._against_formula(results, method) for method in METHODS),
            within(f"step {small:g}: spread of SGLDLP-L, the target's being 1", wide, self.wider, math.inf, "{:.2f}"),
            within("it grows from a step to the next smaller one, at least by", float(growth), 1, math.inf, "{:.3f}"),
            within("VC SGLDLP-L: largest difference of its spread to SGLD's", largest(off), 0, 0.03, "{:.1%}"),
            within(f"step {small:g}: VC SGLDLP-L is nearer to the target by", near, self.nearer, math.inf, "{:.0f}"),
        ]

    def _against_formula(self, results: Results, method: str) -> Verdict:
        gap = gap_of(self.fmt)
        off = [self.found(results, method, lr, "variance") / variance(method, lr, gap) - 1 for lr in self.lrs]
        claim = f"{METHODS[method]}: variance against the formula, largest difference"
        return within(claim, largest(off), 0, self.tolerance, "{:.1%}")

    def draw(self, figure: Any, results: Results) -> None:
        """Draw the spread against the step size, and how samples of the smallest step are distributed."""
        left, right = figure.subplots(1, 2)
        small, gap = min(self.lrs), gap_of(self.fmt)
        lrs = np.geomspace(small, max(self.lrs), 60)
        for method, label in METHODS.items():
            color = STYLES[method][:2]
            left.plot(lrs, [math.sqrt(variance(method, lr, gap)) for lr in lrs], color=color, lw=1)
            found = [self.spread(results, method, lr) for lr in self.lrs]
            left.plot(self.lrs, found, STYLES[method], label=label)
            counts = np.array(results[task_name(method, f"{small:g}")].get("counts", [math.nan]))
            at = gap * (np.arange(len(counts)) - len(counts) // 2)
            if method != "float":
                right.plot(at, counts / counts.sum() / gap, color=color, drawstyle="steps-mid", label=label)
        right.plot(x := np.linspace(-12, 12, 400), np.exp(-x * x / 2) / math.sqrt(2 * math.pi), "k:", label="target")
        left.set(xscale="log", xlabel="step (lines: formula)", ylabel="standard deviation", title="spread")
        right.set(xlabel="w", ylabel="density", title=f"samples at step {small:g}", xlim=(-12, 12))
        for axes in (left, right):
            axes.grid(alpha=0.3)
            axes.legend()


def sample(s: Chains, seed: int) -> Result:
    """Return what the chains' samples are, pooled over chains and times."""
    rng = np.random.Generator(np.random.Philox(key=seed))
    step, every = stepper(s, rng), math.ceil(1 / s.lr)
    w, kept = rng.standard_normal(s.chains), []
    w = w if s.method == "float" else np.round(w / gap_of(s.fmt)) * gap_of(s.fmt)
    for t in range(1, 2 * s.times * every + 1):
        w = step(w)
        if t > s.times * every and t % every == 0:
            kept.append(w)
    return described(np.concatenate(kept), gap_of(s.fmt))


def stepper(s: Chains, rng: np.random.Generator) -> Step:
    """Return one step of the method."""
    lr, noise = s.lr, math.sqrt(2 * s.lr)
    if s.method == "corrected":
        gap = gap_of(s.fmt)
        return lambda w: variance_corrected(w - lr * w, 2 * lr, gap, rng)
    rounded = Quantizer(s.fmt, "stochastic", Stream(int(rng.integers(2**32)))) if s.method == "rounded" else Array.copy
    return lambda w: rounded(w - lr * w + noise * rng.standard_normal(w.shape))


def variance_corrected(mean: Array, variance: float, gap: float, rng: np.random.Generator) -> Array:
    """Return numbers of the grid with this mean and variance, or the least variance that the grid has for the mean.

    A large variance is made of normal noise for all but (gap / 2)^2 of it, a small one of stochastic rounding and, if
    that leaves some, of a step of a gap up or down. Source: Zhang et al., ICML 2022, on VC SGLDLP-L.
    """
    rest = gap * gap / 4
    if variance > rest:
        x = mean + math.sqrt(variance - rest) * rng.standard_normal(mean.shape)
        near = np.rint(x / gap) * gap
        return near + _three(x - near, rest, gap, rng)
    low = np.floor(mean / gap) * gap
    up = (mean - low) / gap
    left = np.maximum(variance - up * (1 - up) * gap * gap, 0)
    return low + gap * (rng.random(mean.shape) < up) + _three(np.zeros_like(mean), left, gap, rng)


def _three(mean: Array, variance: Any, gap: float, rng: np.random.Generator) -> Array:
    """Return -gap, 0 or gap, of this mean and variance."""
    square, u = variance + mean * mean, rng.random(mean.shape)
    up, down = (square + mean * gap) / (2 * gap * gap), (square - mean * gap) / (2 * gap * gap)
    return gap * ((u < up).astype(float) - (u > 1 - down))


def described(w: Array, gap: float) -> Result:
    """Return mean square, distance to the normal distribution by quantiles, and counts by grid point of -16 to 16."""
    n, cut = len(w), NormalDist()
    quantiles = np.array([cut.inv_cdf((i + 0.5) / n) for i in range(n)])
    half = round(16 / gap)
    counts = np.bincount(np.clip(np.rint(w / gap).astype(int) + half, 0, 2 * half), minlength=2 * half + 1)
    distance = float(np.sqrt(np.mean((np.sort(w) - quantiles) ** 2)))
    return {"variance": float(np.mean(w * w)), "distance": distance, "counts": counts.tolist()}


def variance(method: str, lr: float, gap: float) -> float:
    """Return the stationary variance of a method's samples.

    Of the rounded ones it is the fixed point of the formula above, as r depends on it a little.
    """
    float_variance = 2 / (2 - lr)
    if method != "rounded":
        return float_variance
    S = float_variance
    for _ in range(50):
        r = math.sqrt(2 * lr + lr * lr * S) / gap
        S = (2 * lr + gap * gap * mean_rounding_variance(r)) / (lr * (2 - lr))
    return S


def mean_rounding_variance(r: float) -> float:
    """Return the mean of f (1 - f) over fractions f of normal numbers of deviation r: 1/6 for large r."""
    k = np.arange(1, 2 + math.ceil(3 / r))
    return float(1 / 6 - np.sum(np.exp(-2 * (np.pi * k * r) ** 2) / (np.pi * k) ** 2))


def largest(values: Sequence[float]) -> float:
    """Return the largest size, NaN if there is one."""
    return float(np.max(np.abs(values)))


def gap_of(fmt: str) -> float:
    """Return the gap of a fixed-point format."""
    return float(format(fmt).spacing(np.ones(())))
