"""4-bit weights on a CPU: float masters that are rounded in every pass, beside weights that are kept in 4 bits.

The design is that of arXiv 2603.13931: a VGG with BatchNorm, whose weights are rounded to nearest in every forward pass
to 15 levels, with one scale a tensor, max|W| / 7; their float masters take the gradients as they are (straight
through), and after each step become 3 tanh(W / 3). Activations and errors are in float there, so SGD-LP and SWALP have
rounded weights alone, too (Algorithm 1), and without masters; beside them is Algorithm 2, which rounds all numbers. All
are trained by SGD with momentum, where the paper takes AdamW with clipped gradients.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..formats import FixedPoint
from ..pertensor import PerTensor
from ..precision import Precision, Quantizer
from ..products import Products
from ..recipes import swalp
from .drawing import legend, percent_ticks, points
from .experiment import Context, Result, Results, Task, task_name
from .images import Training, by_seed, train
from .report import BySeed, Report, Table, Verdict, difference, spread
from .sgd import Array


@dataclass(frozen=True)
class SoftClip:
    """Bounds weights of convolutions and linear layers smoothly: w <- bound tanh(w / bound)."""

    bound: float

    def __call__(self, w: Array) -> Array:
        """Return the bounded weights; biases as they are."""
        return self.bound * np.tanh(w / self.bound) if w.ndim > 1 else w


LEVELS = PerTensor(FixedPoint(4, 0, symmetric=True))  # -7 to 7, times max|W| / 7
ROUNDED = Products(W=LEVELS, W_input=LEVELS)
KINDS = {
    "float": Precision(),
    "masters": Precision(products=ROUNDED, weight=SoftClip(3.0)),
    "masters, no tanh": Precision(products=ROUNDED),
    "weights": Precision(weight=Quantizer("bfp4")),
    "weights, nearest": Precision(weight=Quantizer("bfp4", "nearest")),
    "all numbers": swalp(4),
}
AVERAGED = ("float", "masters", "weights", "all numbers")  # kinds of which SWA has a run of its own
METHODS = {"sgd": "SGD", "swa": "SWA"}
CLAIMS = (  # what is below what; by so many points at most it may be above, None: below by two standard errors
    ("masters minus float, SGD", ("masters", "sgd"), ("float", "sgd"), 0.5),
    ("masters, SGD: with tanh minus without", ("masters", "sgd"), ("masters, no tanh", "sgd"), None),
    ("weights: SWALP minus SGD-LP", ("weights", "swa"), ("weights", "sgd"), None),
    ("all numbers: SWALP minus SGD-LP", ("all numbers", "swa"), ("all numbers", "sgd"), None),
    ("SGD-LP, weights: stochastic minus nearest", ("weights", "sgd"), ("weights, nearest", "sgd"), None),
    ("weights, SWALP, minus masters, SGD", ("weights", "swa"), ("masters", "sgd"), 1.0),
    ("all numbers, SWALP, minus float, SWA", ("all numbers", "swa"), ("float", "swa"), 2.0),
)
CLOTHES = Training(
    "fashion_mnist",
    "small-vgg8",
    epochs=18,
    start=12,
    lr=0.05,
    swa_lr=0.02,
    weight_decay=5e-4,
    images=1000,
    pool=2,
)
DIGITS = Training("digits", "small-vgg8", epochs=6, start=4, lr=0.05, swa_lr=0.02, weight_decay=5e-4, images=500)


@dataclass(frozen=True)
class FourBits:
    """What do float masters gain over weights that are kept in 4 bits, and what does averaging?"""

    name: ClassVar[str] = "four-bits"
    question: ClassVar[str] = "4-bit weights: float masters, SGD-LP and SWALP"
    source: ClassVar[str] = 'Tathe, "True 4-bit quantized CNN training on CPU", 2026 (arXiv 2603.13931)'

    training: Training = CLOTHES
    kinds: tuple[str, ...] = tuple(KINDS)
    seeds: int = 5
    claims: tuple[str, ...] = tuple(claim for claim, *_ in CLAIMS)  # that so many runs can tell

    @classmethod
    def quick(cls) -> FourBits:
        """Return the experiment at a size of seconds."""
        claims = ("SGD-LP, weights: stochastic minus nearest",)
        return cls(DIGITS, ("weights", "weights, nearest"), 2, claims)

    def data_sets(self) -> set[str]:
        """Return the images."""
        return {self.training.data}

    def tasks(self) -> list[Task]:
        """Return two runs, SGD and SWA, for each kind and seed."""
        return [
            Task(f"{task_name(kind, method)}-{seed}", self._training(kind, method), seed)
            for kind in reversed(self.kinds)
            for method in METHODS
            if method == "sgd" or kind in AVERAGED
            for seed in range(self.seeds)
        ]

    def _training(self, kind: str, method: str) -> Training:
        training = self.training.sgd() if method == "sgd" else self.training
        return replace(training, precision=KINDS[kind])

    def run(self, task: Task, context: Context) -> Result:
        """Return the test errors of one run."""
        return train(task.settings, task.seed, context)

    def errors(self, results: Results, kind: str, method: str) -> BySeed:
        """Return the test errors of SGD's last weights as trained, or of SWA's average, of each seed.

        The average of masters is rounded as they are, that of 4-bit weights is in float, with float activations.
        """
        how = "as trained" if method == "sgd" or kind.startswith("masters") else "float"
        path = ("first",) if method == "sgd" else ("averages", "epoch")
        return by_seed(results, task_name(kind, method), self.seeds, *path, how)

    def report(self, results: Results) -> Report:
        """Return the test errors, and the verdicts."""
        t = self.training
        note = (
            f"Test error in %, mean ± standard deviation over {self.seeds} seeds: {t.network} on {t.images_in_words}; "
            f"SGD, {t.epochs} epochs, lr {t.lr}; SWA averages from epoch {t.start} on, once an epoch, with lr "
            f"{t.swa_lr}. Masters: float weights, rounded to 15 values in every pass. Weights: bfp4, no masters, "
            "stochastically rounded after every step. All numbers: activations, errors, gradients and momentum, too."
        )
        title = "Weights in 4 bits: SGD as trained; averages of masters in 4 bits, others in float."
        rows = [[kind, *(self._cell(results, kind, method) for method in METHODS)] for kind in self.kinds]
        return Report([Table(title, ["4 bits", *METHODS.values()], rows)], self._verdicts(results), [note])

    def _cell(self, results: Results, kind: str, method: str) -> str:
        return spread(self.errors(results, kind, method)) if method == "sgd" or kind in AVERAGED else ""

    def _verdicts(self, results: Results) -> list[Verdict]:
        return [
            _verdict(claim, *difference(self.errors(results, *a), self.errors(results, *b)), most)
            for claim, a, b, most in CLAIMS
            if claim in self.claims
        ]

    def draw(self, figure: Any, results: Results) -> None:
        """Draw the errors, a row a kind."""
        axes = figure.subplots()
        for method, style, shift, label in (("sgd", "C1s", -0.1, "SGD"), ("swa", "C3o", 0.1, "SWA, SWALP")):
            kinds = {y + shift: k for y, k in enumerate(self.kinds) if method == "sgd" or k in AVERAGED}
            errors = [self.errors(results, kind, method) for kind in kinds.values()]
            points(axes, list(kinds), errors, across=True, fmt=style, ms=6, label=label)
        axes.set_yticks(range(len(self.kinds)), self.kinds)
        axes.invert_yaxis()
        axes.set(
            xscale="log", xlabel="test error (%)", title=f"{self.training.network} on {self.training.data}, 4 bits"
        )
        percent_ticks(axes.xaxis)
        axes.grid(alpha=0.3, axis="x")
        legend(axes)


def _verdict(claim: str, gap: float, error: float, most: float | None) -> Verdict:
    """Return the verdict that a difference is below 0 by over two standard errors, or at most so much to two."""
    figure = f"{gap:+.2f} ± {error:.2f}"
    if most is None:
        return Verdict(claim, figure, "below 0 by over two standard errors", gap < -2 * error)
    return Verdict(claim, figure, f"at most {most:+.1f}, to two standard errors", gap <= most + 2 * error)
