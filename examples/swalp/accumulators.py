"""What sums of few bits lose: one product of K terms in several accumulators, beside the theory of its rounding error.

Two kinds of sums: of random sign, as those of weights and activations mostly are, which wander, and of one sign, as
squared norms are, which grow until terms are too small beside them to count.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .experiment import Context, Result, Results, Task, task_name
from .report import Report, Table, Verdict, within
from .summation import Summation

ACCUMULATORS = {
    "14 bits": Summation("e8m13"),
    "14 bits, parts of 128": Summation("e8m13", every=128),
    "14 bits, truncated": Summation("e8m13", "toward_zero"),
    "14 bits, truncated, parts of 128": Summation("e8m13", "toward_zero", 128),
    "fp16": Summation("fp16"),
    "fp16, chunks of 64": Summation("fp16", every=64, outer="fp16"),
    "e6m9": Summation("e6m9"),
    "e6m9, chunks of 64": Summation("e6m9", every=64, outer="e6m9"),
    "bf16": Summation("bf16"),
    "bf16, chunks of 64": Summation("bf16", every=64, outer="bf16"),
    "bf16, stochastic": Summation("bf16", "stochastic"),
}
STYLES = {  # of those that are drawn
    "bf16": "C0o",
    "bf16, stochastic": "C1s",
    "bf16, chunks of 64": "C2^",
    "14 bits, truncated": "C3o",
    "14 bits, truncated, parts of 128": "C3^",
    "14 bits": "C4o",
    "14 bits, parts of 128": "C4^",
}


@dataclass(frozen=True)
class Sums:
    """Many sums of K terms for each K, in one accumulator."""

    summation: Summation
    terms: tuple[int, ...]
    replicas: int


@dataclass(frozen=True)
class Accumulators:
    """How does the error of a product grow with its length, and what do partial sums save?"""

    name: ClassVar[str] = "accumulators"
    question: ClassVar[str] = "the error of products that are added up in few bits"
    source: ClassVar[str] = "Wang et al., NeurIPS 2018, section 3.1; DeepSeek-V3, arXiv 2412.19437, section 3.3.2"

    terms: tuple[int, ...] = (256, 1024, 4096, 16_384)  # K, multiples of all parts
    replicas: int = 2000
    at: int = 4096  # the K at which parts are compared
    saved: float = 4  # times that parts of 128 divide the error, at least
    lost: float = 0.75  # of a sum of one sign in bf16 at the largest K, at least

    @classmethod
    def quick(cls) -> Accumulators:
        """Return the experiment at a size of seconds."""
        return cls(terms=(128, 512), replicas=800, at=512, saved=1.5, lost=0.05)

    def data_sets(self) -> set[str]:
        """Return none: the terms are drawn."""
        return set()

    def tasks(self) -> list[Task]:
        """Return a run for each accumulator, all of the same numbers."""
        return [Task(task_name(name), Sums(s, self.terms, self.replicas), 0) for name, s in ACCUMULATORS.items()]

    def run(self, task: Task, context: Context) -> Result:
        """Return the rms "error" of sums of random sign, and the "sum" of one sign, by K.

        The first as a share of the rms sum, the other of the exact sum.
        """
        return measure(task.settings, task.seed)

    def report(self, results: Results) -> Report:
        """Return errors and sums by K, measured and predicted, and the verdicts."""
        note = (
            f"Products of K pairs of normal numbers, {self.replicas} of each K, as lp.Accumulator adds them up: "
            "rounded after each term to nearest, stochastically, or towards zero (truncated). Parts and chunks are "
            "partial sums; parts are added up in fp32, chunks in the same format. 14 bits is e8m13."
        )
        header = ["accumulator", *(f"{k:,}" for k in self.terms)]
        signs = Table(
            "Random signs: rms error as a share of the rms product by K, and measured over theory.",
            header,
            [[name, *self._errors(results, name)] for name in ACCUMULATORS],
        )
        squares = Table(
            "One sign, sums of squares: what is left of the sum by K, and theory.",
            header,
            [[name, *self._left(results, name)] for name in ACCUMULATORS],
        )
        return Report([signs, squares], self._verdicts(results), [note])

    def _errors(self, results: Results, name: str) -> list[str]:
        pairs = zip(measured(results, name, "error", self.terms), ratios(results, name, self.terms), strict=True)
        return [f"{error:.1e} ({ratio:.2f})" for error, ratio in pairs]

    def _left(self, results: Results, name: str) -> list[str]:
        theory = ACCUMULATORS[name].sum(self.terms)
        pairs = zip(measured(results, name, "sum", self.terms), theory, self.terms, strict=True)
        return [f"{found:.3f} ({total / k:.3f})" for found, total, k in pairs]

    def _verdicts(self, results: Results) -> list[Verdict]:
        every = [ratio for name in ACCUMULATORS for ratio in ratios(results, name, self.terms)]
        low, high = np.min(every), np.max(every)  # NaN if any is
        last = f"K = {self.terms[-1]:,}"
        theory = [abs(gap) for name in ACCUMULATORS for gap in self._gaps(results, name)]
        bf16 = 1 - measured(results, "bf16", "sum", self.terms)[-1]
        fair = measured(results, "bf16, stochastic", "sum", self.terms)[-1] - 1
        return [
            within("random signs: lowest error over theory's", low, 0.85, 1.15, "{:.2f}"),
            within("random signs: highest error over theory's", high, 0.85, 1.15, "{:.2f}"),
            *(self._saving(results, *case) for case in (("", self.saved), (", truncated", 2 * self.saved))),
            within(f"one sign, bf16, {last}: share of the sum that is lost", bf16, self.lost, 1, "{:.1%}"),
            within("one sign: largest difference to theory's share", float(np.max(theory)), 0, 0.02, "{:.1%}"),
            within(f"one sign, bf16, {last}: error with stochastic rounding", fair, -0.01, 0.01, "{:+.1%}"),
        ]

    def _gaps(self, results: Results, name: str) -> list[float]:
        found, theory = measured(results, name, "sum", self.terms), ACCUMULATORS[name].sum(self.terms)
        return [share - total / k for share, total, k in zip(found, theory, self.terms, strict=True)]

    def _saving(self, results: Results, how: str, least: float) -> Verdict:
        """Return the verdict on the error without parts over that with parts of 128."""
        place = self.terms.index(self.at)
        whole, parts = (
            measured(results, f"14 bits{how}{more}", "error", self.terms)[place] for more in ("", ", parts of 128")
        )
        claim = f"14 bits{how}, K = {self.at:,}: parts of 128 divide the error by"
        return within(claim, whole / parts, least, math.inf, "{:.1f}")

    def draw(self, figure: Any, results: Results) -> None:
        """Draw the errors of random sums, and what is left of sums of one sign, against K: points on theory's lines."""
        left, right = figure.subplots(1, 2)
        ks = sorted({128 * 2**i for i in range(20) if 128 * 2**i <= self.terms[-1]} | set(self.terms))
        for name, style in STYLES.items():
            s, color = ACCUMULATORS[name], style[:2]
            line = "--" if s.every else "-"
            left.plot(ks, np.array(s.error(tuple(ks))) / np.sqrt(ks), line, color=color, lw=1)
            left.plot(self.terms, measured(results, name, "error", self.terms), style, label=name)
            right.plot(ks, np.array(s.sum(tuple(ks))) / ks, line, color=color, lw=1)
            right.plot(self.terms, measured(results, name, "sum", self.terms), style)
        left.set(xscale="log", yscale="log", ylabel="rms error / rms product", title="random signs")
        right.set(xscale="log", ylabel="sum / exact sum", ylim=(0, 1.05), title="one sign: squares")
        for axes in (left, right):
            axes.set_xscale("log", base=2)
            axes.set_xlabel("terms K (lines: theory)")
            axes.grid(alpha=0.3)
        right.legend(*left.get_legend_handles_labels(), loc="lower left", fontsize=9)


def measure(s: Sums, seed: int) -> Result:
    """Return the rms error of sums of random sign, and the share that is left of sums of one sign, by K."""
    found: Result = {"error": [], "sum": []}
    for k in s.terms:
        rng = np.random.Generator(np.random.Philox(key=seed))
        a, b = rng.standard_normal((2, s.replicas, k), np.float32)
        accumulator = s.summation.accumulator(seed)
        error = dots(a, b, accumulator.matmul) - dots(a, b)
        found["error"].append(float(np.sqrt(np.mean(error**2) / k)))
        found["sum"].append(float(dots(a, a, accumulator.matmul).sum() / dots(a, a).sum()))
    return found


def dots(a: Any, b: Any, matmul: Any = np.matmul) -> Any:
    """Return the products of the rows (R, K) of a and b, each by itself, (R,) float64."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    return matmul(a[:, None, :], b[:, :, None])[:, 0, 0]


def measured(results: Results, name: str, what: str, terms: tuple[int, ...]) -> list[float]:
    """Return the figures of an accumulator by K; NaN where the run diverged."""
    return list(results[task_name(name)].get(what, [math.nan] * len(terms)))


def ratios(results: Results, name: str, terms: tuple[int, ...]) -> list[float]:
    """Return the rms error over theory's, by K."""
    theory = ACCUMULATORS[name].error(terms)
    found = measured(results, name, "error", terms)
    return [error * math.sqrt(k) / rms for error, k, rms in zip(found, terms, theory, strict=True)]
