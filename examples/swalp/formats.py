"""One small network in every kind of format, rounded to nearest and stochastically, with and without SWALP.

Every number is rounded: weights, activations, errors, gradients and momentum; no wider copy of the weights is kept, but
in QPyTorch's recipe. Where a format's range is short the loss is scaled up, and gradients scaled down again before they
are rounded.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..precision import Precision, Quantizer
from ..recipes import ibm8
from .drawing import legend, percent_ticks, points
from .experiment import Context, Result, Results, Task, task_name
from .images import Training, by_seed, train
from .report import BySeed, Report, Table, Verdict, below, difference, mean, spread, within

MODES = ("stochastic", "nearest")
MNIST = Training(
    "mnist", "small_cnn", epochs=48, start=32, lr=0.1, swa_lr=0.02, weight_decay=3e-4, batch=32, images=1000, pool=2
)
DIGITS = Training("digits", "small_cnn", epochs=6, start=4, lr=0.1, swa_lr=0.05, weight_decay=3e-4)
EVALUATIONS = {"float": "with float activations", "as trained": "as trained"}
FEW = 5  # formats: a mean over fewer says nothing


@dataclass(frozen=True)
class Kind:
    """A kind of format, and how a network is trained in it."""

    precision: Callable[[str], Precision]  # of a rounding mode
    loss_scale: float = 1
    modes: tuple[str, ...] = MODES  # of rounding
    eight: bool = False  # whether it has 8 bits


def _in(forward: str, backward: str | None = None) -> Callable[[str], Precision]:
    """Return what trains in one format, or with errors, gradients and momentum in another."""
    return _by_role(forward, forward, *[backward or forward] * 3)


def _by_role(*formats: str) -> Callable[[str], Precision]:
    return lambda mode: Precision(*(Quantizer(fmt, mode) for fmt in formats))


KINDS = {
    "float": Kind(lambda _: Precision(), modes=("exact",)),
    # These hold the usual sizes of each role's numbers; errors are of the scaled loss.
    "fixed, 8 bits": Kind(_by_role("fixed8.7", "fixed8.3", "fixed8.6", "fixed8.9", "fixed8.7"), 64, eight=True),
    "block, 8 bits": Kind(_in("bfp8"), eight=True),
    "block, 4 bits": Kind(_in("bfp4")),
    "fp8 e4m3 / e5m2": Kind(_in("e4m3", "e5m2"), 1024, eight=True),
    "MXINT8": Kind(_in("mxint8"), eight=True),
    "MXFP8 e4m3 / e5m2": Kind(_in("mxfp8_e4m3", "mxfp8_e5m2"), eight=True),
    "MXFP6 e2m3 / e3m2": Kind(_in("mxfp6_e2m3", "mxfp6_e3m2")),
    "MXFP4": Kind(_in("mxfp4_e2m1")),
    "NVFP4": Kind(_in("nvfp4")),
    "QPyTorch IBM8": Kind(lambda _: ibm8(), 1000, modes=("nearest",)),
}


@dataclass(frozen=True)
class Formats:
    """Which formats does a network train in, and what do stochastic rounding and averaging gain in each?"""

    name: ClassVar[str] = "formats"
    question: ClassVar[str] = "one network in fixed, block, fp8, MX and fp4 formats"
    source: ClassVar[str] = 'Yang et al., "SWALP", ICML 2019; Gupta et al., ICML 2015, on stochastic rounding'

    training: Training = MNIST
    kinds: tuple[str, ...] = tuple(KINDS)
    seeds: int = 3

    @classmethod
    def quick(cls) -> Formats:
        """Return the experiment at a minute's size."""
        return cls(DIGITS, ("float", "block, 8 bits", "block, 4 bits"), seeds=2)

    def data_sets(self) -> set[str]:
        """Return the images."""
        return {self.training.data}

    def tasks(self) -> list[Task]:
        """Return two runs, SGD and SWALP, for each kind of format, rounding and seed."""
        return [
            Task(f"{task_name(kind, mode, method)}-{seed}", self._training(kind, mode, method), seed)
            for kind in self.kinds
            for mode in KINDS[kind].modes
            for method in ("sgd", "swa")
            for seed in range(self.seeds)
        ]

    def _training(self, kind: str, mode: str, method: str) -> Training:
        training = self.training.sgd() if method == "sgd" else self.training
        return replace(training, precision=KINDS[kind].precision(mode), loss_scale=KINDS[kind].loss_scale)

    def run(self, task: Task, context: Context) -> Result:
        """Return the test errors of one run."""
        return train(task.settings, task.seed, context)

    def errors(self, results: Results, kind: str, mode: str, method: str, how: str = "float") -> BySeed:
        """Return the test errors of SGD's last weights, or SWALP's average, of each seed."""
        path = ("first",) if method == "sgd" else ("averages", "epoch")
        return by_seed(results, task_name(kind, mode, method), self.seeds, *path, how)

    def report(self, results: Results) -> Report:
        """Return the test errors by format and rounding, and the verdicts."""
        t = self.training
        note = (
            f"Test error in %, mean ± standard deviation over {self.seeds} seeds: {t.network} on {t.images_in_words}; "
            f"{t.epochs} epochs, lr {t.lr}; SWALP averages from epoch {t.start} on, once an epoch, with lr "
            f"{t.swa_lr}. Every number is rounded; only QPyTorch's recipe keeps a wider copy of the weights (e6m9, "
            "stochastic)."
        )
        scaled = [f"{kind} {KINDS[kind].loss_scale:g}" for kind in self.kinds if KINDS[kind].loss_scale != 1]
        scales = f"Loss scale: {', '.join(scaled) or 'none'}; all others 1."
        return Report([self._table(results, how) for how in EVALUATIONS], self._verdicts(results), [note, scales])

    def _table(self, results: Results, how: str) -> Table:
        rows = []
        for kind in self.kinds:
            row = [kind]
            for mode in MODES:
                own = mode if mode in KINDS[kind].modes else "exact" if "exact" in KINDS[kind].modes else None
                row += [spread(self.errors(results, kind, own, m, how)) if own else "" for m in ("sgd", "swa")]
            rows.append(row)
        header = ["format", "SGD, stoch.", "SWA, stoch.", "SGD, nearest", "SWA, nearest"]
        return Table(f"Evaluated {EVALUATIONS[how]}; by rounding, stochastic or to nearest.", header, rows)

    def _verdicts(self, results: Results) -> list[Verdict]:
        exact = mean(self.errors(results, "float", "exact", "swa"))
        eight = [kind for kind in self.kinds if KINDS[kind].eight]
        worst = max(mean(self._whole(results, kind, "stochastic", "swa")) for kind in eight) - exact
        claim = "8-bit formats, stochastic, SWALP: highest error above SWA in float"
        found = [within(claim, worst, -math.inf, 2, "{:+.2f}")]
        rounded = [kind for kind in self.kinds if KINDS[kind].modes == MODES]
        if len(rounded) < FEW:
            return found
        nearest = [self._gap(results, kind, ("stochastic", "swa"), ("nearest", "swa")) for kind in rounded]
        average = [self._gap(results, kind, ("stochastic", "swa"), ("stochastic", "sgd")) for kind in rounded]
        return [
            *found,
            below("SWALP: stochastic minus nearest, mean over formats", _mean(nearest)),
            below("stochastic: SWALP minus SGD-LP, mean over formats", _mean(average)),
        ]

    def _whole(self, results: Results, kind: str, mode: str, method: str) -> list[float]:
        """Return the errors with float activations; a diverged run counts as wrong on 90 %."""
        return [90.0 if e is None else e for e in self.errors(results, kind, mode, method)]

    def _gap(self, results: Results, kind: str, a: tuple[str, str], b: tuple[str, str]) -> tuple[float, float]:
        """Return the difference of two sides' errors and its standard error."""
        return difference(self._whole(results, kind, *a), self._whole(results, kind, *b))

    def draw(self, figure: Any, results: Results) -> None:
        """Draw the errors with float activations, a row a format."""
        axes = figure.subplots()
        lines = (
            ("stochastic", "swa", "C3o", "stochastic, SWALP"),
            ("stochastic", "sgd", "C1s", "stochastic, SGD-LP"),
            ("nearest", "swa", "C0o", "nearest, SWALP"),
            ("nearest", "sgd", "C9s", "nearest, SGD-LP"),
            ("exact", "swa", "ko", "float, SWA"),
            ("exact", "sgd", "ks", "float, SGD"),
        )
        for i, (mode, method, style, label) in enumerate(lines):
            kinds = {y + 0.12 * (i % 4 - 1.5): k for y, k in enumerate(self.kinds) if mode in KINDS[k].modes}
            errors = [self.errors(results, kind, mode, method) for kind in kinds.values()]
            points(axes, list(kinds), errors, across=True, fmt=style, ms=4, label=label)
        self._finish(axes)

    def _finish(self, axes: Any) -> None:
        axes.set_yticks(range(len(self.kinds)), self.kinds)
        axes.invert_yaxis()
        title = f"{self.training.network} on {self.training.data}"
        axes.set(xscale="log", xlabel="test error (%), float activations", title=title)
        percent_ticks(axes.xaxis)
        axes.grid(alpha=0.3, axis="x")
        legend(axes)


def _mean(gaps: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the mean of differences, and its standard error from theirs."""
    return statistics.mean(gap for gap, _ in gaps), math.sqrt(sum(e**2 for _, e in gaps)) / len(gaps)
