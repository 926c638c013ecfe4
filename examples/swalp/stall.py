"""The gradient beside the rounding noise: does training in 4 bits stall where their ratio falls below sqrt(3)?

Gradient descent on all images at once, with a penalty on the weights, so that there is no noise but that of rounding
and the loss has an end. All six operands of a layer's products are in NVFP4, and weights in float, as in the paper. The
noise is what a step's gradient has beside the exact one of the same weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..data import DataLoader
from ..functions import cross_entropy
from ..models import mlp
from ..nn import Module, lower
from ..optim import SGD, SWALP
from ..precision import EXACT, Precision
from ..products import Operand, Products
from ..random import fork_rng, manual_seed
from .drawing import legend
from .experiment import Context, Result, Results, Task, task_name
from .images import read
from .report import Report, Table, Verdict, within
from .sgd import Array

NEAR, FAIR = Operand("nvfp4"), Operand("nvfp4", "stochastic")
KINDS = {
    "float": Precision(),
    # nearest forward, stochastic in both products of the backward pass
    "4 bits": Precision(products=Products(NEAR, NEAR, FAIR, NEAR, FAIR, FAIR)),
    "4 bits, all stochastic": Precision(products=Products.uniform("nvfp4", "stochastic")),
}
COLORS = dict(zip(KINDS, ("0.4", "C0", "C3"), strict=True))
LIMIT = math.sqrt(3)
FIGURES = ("gradient", "noise", "loss", "average gradient", "average loss")


@dataclass(frozen=True)
class Descent:
    """Gradient descent in one precision, and an average of its weights."""

    precision: Precision
    images: int
    hidden: int
    lr: float
    penalty: float
    steps: int
    start: int  # step after which weights are averaged, every one
    marks: int  # steps at which is measured


@dataclass(frozen=True)
class Stall:
    """Does training stall where the gradient is smaller than sqrt(3) times the rounding noise?"""

    name: ClassVar[str] = "stall"
    question: ClassVar[str] = "gradient over rounding noise: below sqrt(3), what goes on?"
    source: ClassVar[str] = 'Chmiel et al., "FP4 all the way", 2025 (arXiv 2505.19115), on the threshold of sqrt(3)'

    images: int = 256
    hidden: int = 32
    lr: float = 0.2
    penalty: float = 0.02
    steps: int = 3000
    start: int = 1500
    marks: int = 60
    seeds: int = 3
    whole: bool = True  # whether there are steps enough below sqrt(3) to judge what goes on there

    @classmethod
    def quick(cls) -> Stall:
        """Return the experiment at a size of seconds."""
        return cls(steps=100, start=60, marks=15, seeds=2, whole=False)

    def data_sets(self) -> set[str]:
        """Return the images, which the package brings."""
        return {"digits"}

    def tasks(self) -> list[Task]:
        """Return a run for each precision and seed."""
        size = (self.images, self.hidden, self.lr, self.penalty, self.steps, self.start, self.marks)
        return [
            Task(task_name(kind, seed), Descent(KINDS[kind], *size), seed)
            for kind in reversed(KINDS)
            for seed in range(self.seeds)
        ]

    def run(self, task: Task, context: Context) -> Result:
        """Return the FIGURES at the marks: norms of gradients and noise, and penalized losses."""
        return descend(task.settings, task.seed)

    def report(self, results: Results) -> Report:
        """Return the figures at some marks, and the verdicts."""
        note = (
            f"Gradient descent on the first {self.images} training images of digits at once: 64-{self.hidden}-10, lr "
            f"{self.lr}, penalty {self.penalty}, {self.steps} steps, {self.seeds} seeds; SWALP averages every step "
            f"from {self.start} on. 4 bits: operands in NVFP4, forward to nearest, backward stochastic; weights in "
            "float. Norms are root mean squares over seeds, losses their means; both of the exact penalized loss."
        )
        return Report([self._table(results, kind) for kind in KINDS], self._verdicts(results), [note])

    def _table(self, results: Results, kind: str) -> Table:
        found, rows = {name: self.figure(results, kind, name) for name in FIGURES}, []
        steps = self.marked()
        for i in np.unique(np.linspace(0, len(steps) - 1, 10).astype(int)):
            g, q, loss, mean_g, mean_loss = (found[name][i] for name in FIGURES)
            average = [f"{mean_g:.3f}", f"{mean_loss:.4f}"] if steps[i] > self.start else ["", ""]
            noise = ["", ""] if kind == "float" else [f"{q:.3f}", f"{g / q:.2f}"]
            rows.append([f"{steps[i]:,}", f"{g:.3f}", *noise, f"{loss:.4f}", *average])
        header = ["step", "gradient", "noise", "ratio", "loss", "SWALP's gradient", "its loss"]
        return Table(
            f"{kind.capitalize()}: norms of gradient and rounding noise, their ratio, and losses.", header, rows
        )

    def marked(self) -> list[int]:
        """Return the steps at which is measured."""
        return marks(self.steps, self.marks)

    def figure(self, results: Results, kind: str, name: str) -> Array:
        """Return a figure at the marks, over seeds: mean loss, root mean square of norms; NaN if one diverged."""
        missing = [math.nan] * len(self.marked())
        values = np.array([results[task_name(kind, seed)].get(name, missing) for seed in range(self.seeds)])
        return values.mean(0) if "loss" in name else np.sqrt(np.mean(values**2, 0))

    def ratio(self, results: Results, kind: str) -> Array:
        """Return the norm of the gradient over that of the noise, at the marks."""
        return self.figure(results, kind, "gradient") / self.figure(results, kind, "noise")

    def late(self, results: Results, kind: str, name: str) -> float:
        """Return a figure over the last fifth of the steps."""
        values = self.figure(results, kind, name)[np.array(self.marked()) > 0.8 * self.steps]
        return float(values.mean() if "loss" in name else np.sqrt(np.mean(values**2)))

    def _verdicts(self, results: Results) -> list[Verdict]:
        ratio = self.ratio(results, "4 bits")
        end = self.late(results, "4 bits", "gradient") / self.late(results, "4 bits", "noise")
        slower = self.late(results, "4 bits", "gradient") / self.late(results, "float", "gradient")
        found = [
            within("4 bits: gradient over noise at the first step", float(ratio[0]), LIMIT, math.inf, "{:.2f}"),
            within("4 bits: in the last fifth of the steps", end, 0, LIMIT, "{:.2f}"),
            within("4 bits: the gradient then, over that of float", slower, 2, math.inf, "{:.1f}"),
        ]
        return [*found, *self._goes_on(results)] if self.whole else found

    def _goes_on(self, results: Results) -> list[Verdict]:
        """Return the verdicts on what happens below sqrt(3), of losses above the one that float ends with."""
        below = self.crossing(results, "4 bits")
        loss, end = self.figure(results, "4 bits", "loss"), self.late(results, "float", "loss")
        left = (self.late(results, "4 bits", "loss") - end) / (loss[below] - end)
        claim = "4 bits stall: of the loss above float's end at the first ratio below sqrt(3), is left"
        found = [within(claim, float(left), 0.5, math.inf, "{:.1%}")]
        for kind in list(KINDS)[1:]:
            gradient, mine = (self.late(results, kind, f"{what}gradient") for what in ("", "average "))
            more, less = (self.late(results, kind, f"{what}loss") - end for what in ("", "average "))
            found.append(
                within(f"{kind}: SWALP's gradient over that of the weights", mine / gradient, 0, 0.5, "{:.2f}")
            )
            found.append(within(f"{kind}: SWALP's loss above float's end over theirs", less / more, 0, 1, "{:.2f}"))
        return found

    def crossing(self, results: Results, kind: str) -> int:
        """Return the first mark with a ratio below sqrt(3)."""
        return int(np.argmax(self.ratio(results, kind) < LIMIT))

    def draw(self, figure: Any, results: Results) -> None:
        """Draw the ratio with sqrt(3), the norms of the gradients, and the losses above float's end."""
        left, middle, right = figure.subplots(1, 3)
        steps = np.array(self.marked())
        end = self.late(results, "float", "loss")
        averaged = steps > self.start
        for kind, color in COLORS.items():
            middle.plot(steps, self.figure(results, kind, "gradient"), color=color, lw=1, label=kind)
            right.plot(steps, self.figure(results, kind, "loss") - end, color=color, lw=1)
            if kind == "float":
                continue
            left.plot(steps, self.ratio(results, kind), color=color, label=kind)
            for axes, name, above in ((middle, "average gradient", 0), (right, "average loss", end)):
                values = self.figure(results, kind, name)[averaged] - above
                axes.plot(steps[averaged], values, "--", color=color, lw=2, label=f"SWALP, {kind}")
        left.axhline(LIMIT, color="k", ls=":", label="sqrt(3)")
        left.set(title="gradient / rounding noise")
        middle.set(title="norm of the gradient")
        right.set(title="loss above float's end")
        for axes in (left, middle, right):
            axes.set(xscale="log", yscale="log", xlabel="step")
            axes.grid(alpha=0.3)
        legend(left)
        legend(middle)


def descend(s: Descent, seed: int) -> Result:
    """Return the FIGURES at the marks."""
    manual_seed(seed)
    train, _ = read("digits", None)
    ((x, labels),) = DataLoader(train[: s.images], s.images)
    model = mlp(64, len(train.classes), (s.hidden,))
    optimizer = SGD(model.parameters(), s.lr, weight_decay=s.penalty)
    swalp, at = SWALP(model, optimizer, s.start, 1), set(marks(s.steps, s.marks))
    found: Result = {name: [] for name in FIGURES}
    for step in range(1, s.steps + 1):
        exact = figures(model, x, labels, s.penalty) if step in at else None
        g = gradient(model, x, labels, s.precision)
        if exact is not None:
            noise = np.linalg.norm(g + s.penalty * flat(model) - exact[0])
            mean, loss = figures(swalp.averaged, x, labels, s.penalty)
            values: tuple[Any, ...] = (np.linalg.norm(exact[0]), noise, exact[1], np.linalg.norm(mean), loss)
            for name, value in zip(FIGURES, values, strict=True):
                found[name].append(float(value))
        optimizer.step()
        swalp.step()
    if not np.isfinite(flat(model)).all():
        raise FloatingPointError(f"the weights are not finite after {s.steps} steps with a learning rate of {s.lr}")
    return found


def gradient(model: Module, x: Any, labels: Any, precision: Precision) -> Array:
    """Return the gradient of the loss as computed in a precision, without the penalty; each parameter holds its own."""
    lower(model, precision)
    loss = cross_entropy(model(x), labels)
    for p in model.parameters():
        p.grad = None
    loss.backward()
    return np.concatenate([np.ravel(p.grad) for p in model.parameters()]).astype(np.float64)  # type: ignore[arg-type]


def figures(model: Module, x: Any, labels: Any, penalty: float) -> tuple[Array, float]:
    """Return the exact gradient of the penalized loss, and that loss."""
    with fork_rng():
        g = gradient(model, x, labels, EXACT)
        loss = float(cross_entropy(model(x), labels).data)
    w = flat(model)
    return g + penalty * w, loss + penalty / 2 * float(w @ w)


def flat(model: Module) -> Array:
    """Return all weights, (n,) float64."""
    return np.concatenate([p.data.ravel() for p in model.parameters()]).astype(np.float64)


def marks(steps: int, n: int) -> list[int]:
    """Return about n steps, evenly on a logarithmic scale and up to the last."""
    return sorted({round(step) for step in np.geomspace(1, steps, n)})
