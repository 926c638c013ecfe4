"""What papers of today train in, against float, part by part, and with SWALP on top.

Recipes round operands of products, or results; each is trained by SGD and by SWALP. Their claims are tested one part at
a time: NVFP4's on the recipe without the part, scale rules on MXFP4, and parts of a sum on a network of three layers,
since such sums take a step of Python a term.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from .. import recipes
from ..accumulator import Accumulator
from ..precision import Precision, Quantizer
from ..products import Operand, Products
from .drawing import legend, percent_ticks, points
from .experiment import Context, Result, Results, Task, task_name
from .images import Training, by_seed, train
from .report import BySeed, Report, Table, Verdict, below, difference, mean, shown, spread, within

MNIST = Training(
    "mnist",
    "small-vgg-bn",
    epochs=12,
    start=8,
    lr=0.1,
    swa_lr=0.02,
    weight_decay=3e-4,
    batch=32,
    images=1000,
    tested=4000,
    pool=2,
)
DIGITS = Training("digits", "small_cnn", epochs=4, start=3, lr=0.1, swa_lr=0.05, weight_decay=3e-4)
SUMS = replace(MNIST, network="mlp", epochs=6, start=6, images=300)

EVALUATIONS = {"as trained": "as trained", "float": "in float"}
EIGHT = ("mxfp8", "deepseek_v3", "fp8_delayed", "ibm8", "swalp", "bf16_kahan")  # bits, or 16
FOUR = ("nvfp4", "quartet", "luq")


def _nvfp4(**changes: Any) -> Callable[[], Precision]:
    """Return NVFP4 with other operands."""
    made = recipes.nvfp4()
    assert made.products is not None
    return lambda: replace(made, products=replace(made.products, **changes))


def _mxfp4(rule: str) -> Callable[[], Precision]:
    """Return MXFP4 with a scale rule, stochastic errors and float ends, as NVFP4 has them."""
    forward, errors = Operand(f"mxfp4_e2m1:{rule}"), Operand(f"mxfp4_e2m1:{rule}", "stochastic")
    products = Products(forward, forward, errors, forward, errors, forward)
    return lambda: replace(recipes.nvfp4(), products=products, name=f"mxfp4:{rule}")


def _sums(every: int) -> Callable[[], Precision]:
    """Return products in float32's range whose sums are cut off at 14 bits, parts of `every` added up in float32."""
    cut = Quantizer("e8m13", "toward_zero")
    return lambda: Precision(products=Products(accumulate=Accumulator(cut, every=every, outer="fp32")))


WHOLE = 1 << 20  # terms: no product has as many
STOCHASTIC = Operand("nvfp4", "stochastic")
LINES, BETTER = Operand("nvfp4"), Operand("nvfp4:4/6")
PARTS: dict[str, Callable[[], Precision]] = {
    "nvfp4, errors to nearest": _nvfp4(gy_input=LINES, gy_weight=Operand("nvfp4", "nearest", 16)),
    "nvfp4, x and W stochastic": _nvfp4(x=STOCHASTIC, W=Operand("nvfp4:16x16", "stochastic")),
    "nvfp4, blocks of W 1x16": _nvfp4(W=LINES, W_input=LINES),
    "nvfp4, not rotated": lambda: recipes.nvfp4(rotate=None),
    "nvfp4, first and last too": lambda: recipes.nvfp4(exact=()),
    "nvfp4, x by four over six": _nvfp4(x=BETTER),
    "mxfp4, scales by floor": _mxfp4("floor"),
    "mxfp4, scales by ceil": _mxfp4("ceil"),
}
ADDED: dict[str, Callable[[], Precision]] = {
    "sums in float": Precision,
    "sums cut off at 14 bits": _sums(WHOLE),
    "the same, parts of 128": _sums(128),
}
# Claims of papers: the first is better than the second.
CLAIMS = (
    ("stochastic errors help", "nvfp4", "nvfp4, errors to nearest"),
    ("a stochastic forward pass hurts", "nvfp4", "nvfp4, x and W stochastic"),
    ("square blocks of W help", "nvfp4", "nvfp4, blocks of W 1x16"),
    ("rotation helps", "nvfp4", "nvfp4, not rotated"),
    ("first and last layer in float help", "nvfp4", "nvfp4, first and last too"),
    ("four over six helps", "nvfp4, x by four over six", "nvfp4"),
    ("ceil is better than floor", "mxfp4, scales by ceil", "mxfp4, scales by floor"),
    ("parts of 128 help", "the same, parts of 128", "sums cut off at 14 bits"),
)


@dataclass(frozen=True)
class Recipes:
    """What does training in each recipe cost, what is each part of it worth, and what does SWALP gain?"""

    name: ClassVar[str] = "recipes"
    question: ClassVar[str] = "MXFP8, NVFP4 and other recipes, part by part, with SWALP"
    source: ClassVar[str] = "those of `lpnet recipes`; Cook et al., 2025, on four over six"

    training: Training = MNIST
    sums: Training | None = SUMS
    names: tuple[str, ...] = (*EIGHT, *FOUR)
    parts: tuple[str, ...] = tuple(PARTS)
    seeds: int = 5
    eight: float = 1  # points that a recipe of 8 or 16 bits is above float, at most
    four: float = 2  # the same of 4 bits

    @classmethod
    def quick(cls) -> Recipes:
        """Return the experiment at a size of seconds."""
        return cls(DIGITS, None, ("mxfp8", "nvfp4"), (), seeds=2, eight=3, four=5)

    def data_sets(self) -> set[str]:
        """Return the images."""
        return {self.training.data}

    def tasks(self) -> list[Task]:
        """Return a run for each recipe, method and seed; for a part, or a kind of sum, SGD alone."""
        trained = {
            **{(name, method): self._training(name, method) for name in self._all() for method in ("sgd", "swa")},
            **{(name, "sgd"): self._training(name, "sgd") for name in self.parts},
            **{(name, "sgd"): replace(self.sums, precision=make()) for name, make in ADDED.items() if self.sums},
        }
        return [
            Task(f"{task_name(*key)}-{seed}", training, seed)
            for seed in range(self.seeds)
            for key, training in trained.items()
        ]

    def _all(self) -> tuple[str, ...]:
        return ("float", *self.names)

    def _training(self, name: str, method: str) -> Training:
        training = self.training.sgd() if method == "sgd" else self.training
        if name == "float":
            return training
        precision = PARTS[name]() if name in PARTS else recipes.RECIPES[name]()
        return replace(training, precision=precision, loss_scale=getattr(precision, "loss_scale", 1.0))

    def run(self, task: Task, context: Context) -> Result:
        """Return the test errors of one run."""
        return train(task.settings, task.seed, context)

    def errors(self, results: Results, name: str, method: str = "sgd", how: str = "as trained") -> BySeed:
        """Return the test errors of SGD's last weights, or SWALP's average, of each seed."""
        path = ("first",) if method == "sgd" else ("averages", "epoch")
        return by_seed(results, task_name(name, method), self.seeds, *path, how)

    def report(self, results: Results) -> Report:
        """Return the errors of recipes and of their parts, and the verdicts."""
        t = self.training
        note = (
            f"Test error in %, mean ± standard deviation over {self.seeds} seeds: {t.network} on {t.images_in_words}; "
            f"{t.epochs} epochs, lr {t.lr}; SWALP averages from epoch {t.start} on, once an epoch, with lr {t.swa_lr}. "
            "Differences are paired by seed, with their standard error; parts and verdicts are evaluated as trained, "
            "unless float is said."
        )
        tables = [*(self._recipes(results, how) for how in EVALUATIONS), *self._parts(results)]
        return Report(tables, self._verdicts(results), [note])

    def _recipes(self, results: Results, how: str) -> Table:
        rows = []
        for name in self._all():
            sgd, swa = (self.errors(results, name, method, how) for method in ("sgd", "swa"))
            gap = "" if name == "float" else shown(difference(sgd, self.errors(results, "float")))
            rows.append([name, spread(sgd), gap, spread(swa), shown(difference(swa, sgd))])
        title = f"Recipes, evaluated {EVALUATIONS[how]}."
        return Table(title, ["recipe", "SGD", "above float", "SWALP", "above SGD"], rows)

    def _parts(self, results: Results) -> list[Table]:
        rows = [[name, spread(self.errors(results, name))] for name in self.parts]
        tables = [Table("Recipes with one part changed, by SGD.", ["recipe", "SGD"], rows)] if rows else []
        if self.sums is None:
            return tables
        t, added = self.sums, [[name, spread(self.errors(results, name))] for name in ADDED]
        title = f"How products are added up: {t.network}, {t.images} images, {t.epochs} epochs."
        return [*tables, Table(title, ["sums", "SGD"], added)]

    def _verdicts(self, results: Results) -> list[Verdict]:
        exact = mean(self.errors(results, "float"))
        found = []
        for claim, names, most in (("8 or 16 bits", EIGHT, self.eight), ("4 bits", FOUR, self.four)):
            worst = max(mean(self._whole(results, name)) for name in names if name in self.names) - exact
            found.append(within(f"{claim}: highest error of a recipe above float", worst, -math.inf, most, "{:+.2f}"))
        for claim, one, other in CLAIMS:
            known = {*self.parts, *(ADDED if self.sums else ())}
            if {one, other} & known:
                found.append(below(claim, difference(self._whole(results, one), self._whole(results, other))))
        if len(self.names) > 2:  # a mean over fewer says nothing
            found += [self._gained(results, how) for how in ("as trained", "float")]
        return found

    def _gained(self, results: Results, how: str) -> Verdict:
        """Return the verdict on SWALP: by seed, the mean over recipes is one figure."""
        means = [
            [statistics.mean(errors) for errors in zip(*by_name, strict=True)]
            for method in ("swa", "sgd")
            for by_name in [[self._whole(results, name, method, how) for name in self.names]]
        ]
        where = "" if how == "as trained" else ", both in float"
        return below(f"SWALP helps, mean over recipes{where}", difference(*means))

    def _whole(self, results: Results, name: str, method: str = "sgd", how: str = "as trained") -> list[float]:
        """Return the errors; a diverged run counts as wrong on 90 %."""
        return [90.0 if e is None else e for e in self.errors(results, name, method, how)]

    def draw(self, figure: Any, results: Results) -> None:
        """Draw the errors, a row a recipe; below them those with one part changed."""
        axes = figure.subplots()
        rows = [*self._all(), *self.parts]
        self._draw(axes, results, rows[: len(self._all())], 0, "swa", "C3o", "SWALP")
        self._draw(axes, results, rows[: len(self._all())], 0, "sgd", "C0s", "SGD")
        self._draw(axes, results, self.parts, len(self._all()), "sgd", "C0s", None)
        axes.axvline(mean(self.errors(results, "float")), color="0.6", lw=1, zorder=0)
        axes.set_yticks(range(len(rows)), rows)
        axes.invert_yaxis()
        axes.set(xscale="log", xlabel="test error (%)", title=f"{self.training.network} on {self.training.data}")
        percent_ticks(axes.xaxis)
        axes.grid(alpha=0.3, axis="x")
        legend(axes)

    def _draw(
        self, axes: Any, results: Results, names: Sequence[str], first: int, method: str, style: str, label: str | None
    ) -> None:
        places = [y + (0.15 if method == "swa" else -0.15) for y in range(first, first + len(names))]
        errors = [self.errors(results, name, method) for name in names]
        points(axes, places, errors, across=True, fmt=style, ms=4, label=label)
