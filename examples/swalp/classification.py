"""Table 1's design on real images: SGD and SWA, in float and in block floating point of 8 bits and fewer.

By default a reduction that two processors finish in about an hour: small networks of the paper's two kinds, on 2,000
images of MNIST and 1,000 of Fashion-MNIST at half their width and height, for about 100 epochs. `paper("cifar10")` or
"cifar100" is the paper's own recipe at its full size, by its public code, of which four slips are not repeated: SGD-LP
is measured at the full budget of epochs, not where averaging starts; weights are rounded once a step; a resumed run
keeps its average; and the averaging phase has its own learning rate from its first step on. `paper("imagenet")` is
ResNet-18 on a folder of pictures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..precision import Precision
from ..recipes import swalp
from .drawing import legend, percent_ticks, points
from .experiment import Context, Result, Results, Task, task_name
from .images import IMAGENET, Training, by_seed, train
from .report import BySeed, Report, Table, Verdict, difference, spread, within

FORMATS: dict[str, Precision] = {  # Algorithm 2 rounds all numbers, Algorithm 1 the weights
    "float": Precision(),
    "8 bits": swalp(8),
    "8 bits, big block": swalp(8, big_block=True),
    "6 bits": swalp(6),
    "5 bits": swalp(5),
    "4 bits": swalp(4),
    "4 bits: weights": Precision(weight="bfp4"),  # this and the next two say what else rounding costs
    "4 bits: activations": Precision(activation="bfp4"),
    "4 bits: backward": Precision(error="bfp4", gradient="bfp4", momentum="bfp4"),
    # the "small block" of the public code, in effect
    "8 bits, public code": replace(swalp(8), activation="bfp8:tensor", error="bfp8:tensor"),
}
ROUNDING = (
    "Low precision: block floating point, rounded stochastically, an exponent a sample or output channel "
    "(small block), or one a tensor (big block); all numbers, weights, activations, errors, gradients and "
    "momentum (Algorithm 2), or of these only the weights (Algorithm 1), only the activations, or only the "
    'last three, "backward".'
)
PAPER = ("cifar10", "cifar100", IMAGENET)  # data sets of the paper's own recipe
PUBLISHED = {  # comparisons of Table 1: what has the lower error there, and what the higher; (format, method)
    "float: SWA below SGD": (("float", "swa"), ("float", "sgd")),
    "8 bits: SWALP below SGD-LP": (("8 bits", "swa"), ("8 bits", "sgd")),
    "big block: SWALP below SGD-LP": (("8 bits, big block", "swa"), ("8 bits, big block", "sgd")),
    "SGD in float below SGD-LP, 8 bits": (("float", "sgd"), ("8 bits", "sgd")),
    "SWA in float below SWALP, 8 bits": (("float", "swa"), ("8 bits", "swa")),
    "SWALP, 8 bits, below SGD in float": (("8 bits", "swa"), ("float", "sgd")),
}
HOW = ("float", "as trained")  # networks are evaluated: with float activations, or those of the training
BUDGETS = {"sgd": "after all epochs", "swa": "where averaging starts, as in the public code"}  # by SGD's run
EVALUATIONS = {"as trained": "SGD-LP as trained, SWALP in float, as the paper", "float": "both in float"}  # of SGD-LP


@dataclass(frozen=True)
class Classification:
    """Does averaging make up for what training in few bits loses, on images?"""

    name: ClassVar[str] = "classification"
    question: ClassVar[str] = "Table 1: SGD-LP and SWALP on images, from 8 bits to 4"
    source: ClassVar[str] = 'Yang et al., "SWALP", ICML 2019, section 5 and Table 1'

    networks: tuple[Training, ...] = (
        Training(
            "mnist",
            "small-vgg",
            epochs=108,
            start=72,
            lr=0.05,
            swa_lr=0.01,
            weight_decay=5e-4,
            batch=64,
            images=2000,
            pool=2,
        ),
        Training(
            "fashion_mnist",
            "small-preresnet",
            epochs=90,
            start=60,
            lr=0.1,
            swa_lr=0.02,
            weight_decay=3e-4,
            batch=32,
            images=1000,
            pool=2,
        ),
    )
    formats: tuple[str, ...] = tuple(FORMATS)[:-1]  # those that are trained in
    seeds: int = 4
    clear_as_trained: tuple[str, ...] = ("5 bits", "4 bits")  # in one of these SWALP is to be clearly better ...
    clear_in_float: tuple[str, ...] = ("5 bits", "4 bits", "4 bits: weights")  # ... than SGD-LP evaluated so

    @classmethod
    def quick(cls) -> Classification:
        """Return the experiment at a minute's size."""
        network = Training("digits", "small_cnn", epochs=6, start=4, lr=0.1, swa_lr=0.05, weight_decay=3e-4)
        formats = ("float", "8 bits", "4 bits")
        return cls((network,), formats, seeds=4, clear_as_trained=("4 bits",), clear_in_float=())

    @classmethod
    def paper(cls, data: str) -> Classification:
        """Return the paper's own recipe at its full size, on "cifar10", "cifar100" or "imagenet"."""
        if data == IMAGENET:
            return cls._imagenet()
        vgg = Training(
            data,
            "vgg16",
            epochs=300,
            start=200,
            lr=0.05,
            swa_lr=0.01,
            weight_decay=5e-4,
            crop=4,
            flip=True,
            checkpoints=True,
        )
        preresnet = replace(vgg, network="preresnet164", epochs=225, start=150, lr=0.1, weight_decay=3e-4)
        formats = ("float", "8 bits", "8 bits, big block", "8 bits, public code")
        return cls((vgg, preresnet), formats, seeds=3, clear_as_trained=("8 bits",), clear_in_float=())

    @classmethod
    def _imagenet(cls) -> Classification:
        """Return ResNet-18's: 90 epochs by He et al., "Deep residual learning", CVPR 2016, then 30 of averaging.

        Batches are of 256, the weight decay is 1e-4 and the rate falls to a tenth every 30 epochs. The public code has
        no ImageNet: that averaging goes on at the last rate, for a third as long, is chosen here.
        """
        resnet = Training(
            IMAGENET,
            "resnet18",
            epochs=120,
            start=90,
            lr=0.1,
            swa_lr=0.001,
            weight_decay=1e-4,
            batch=256,
            size=224,
            flip=True,
            steps=True,
            checkpoints=True,
        )
        return cls((resnet,), ("float", "8 bits"), seeds=3, clear_as_trained=("8 bits",), clear_in_float=())

    def data_sets(self) -> set[str]:
        """Return the images of all networks."""
        return {network.data for network in self.networks}

    def tasks(self) -> list[Task]:
        """Return two runs for each network, format and seed: SGD over the whole budget, and SWA."""
        return [
            Task(f"{task_name(s.network, label, method)}-{seed}", replace(s, precision=FORMATS[label]), seed)
            for network in self.networks
            for label in self.formats
            for method, s in (("sgd", network.sgd()), ("swa", network))
            for seed in range(self.seeds)
        ]

    def run(self, task: Task, context: Context) -> Result:
        """Return the test errors of one run."""
        return train(task.settings, task.seed, context)

    def errors(self, results: Results, network: str, label: str, method: str, *path: str) -> BySeed:
        """Return a test error of each seed: what `path` leads to in the runs of a method."""
        return by_seed(results, task_name(network, label, method), self.seeds, *path)

    def sgd(self, results: Results, network: str, label: str, how: str = "float") -> BySeed:
        """Return the test errors of SGD after all epochs, evaluated `how`."""
        return self.errors(results, network, label, "sgd", "first", how)

    def average(self, results: Results, network: str, label: str, how: str = "float") -> BySeed:
        """Return the test errors of the average, evaluated `how`."""
        return self.errors(results, network, label, "swa", "averages", "epoch", how)

    def report(self, results: Results) -> Report:
        """Return the test errors by network and format, the published comparisons, and the verdicts."""
        tables = [table for s in self.networks for table in self._tables(results, s.network)]
        verdicts = [v for s in self.networks for v in self._verdicts(results, s.network)]
        return Report([*tables, *(self._comparisons(results, run) for run in BUDGETS)], verdicts, self._notes())

    def _notes(self) -> list[str]:
        first = (
            f"Test error in %, mean ± standard deviation over {self.seeds} seeds. SGD spends all epochs under the "
            "paper's schedule stretched to them; averages are taken once an epoch."
        )
        networks = (
            f"{s.network}: {s.images_in_words}; batches of {s.batch}; {s.epochs} epochs, averaging from {s.start}; "
            f"lr {s.lr}, then {s.swa_lr}; weight decay {s.weight_decay:g}."
            for s in self.networks
        )
        return [first, *networks, ROUNDING]

    def _tables(self, results: Results, network: str) -> list[Table]:
        main, more = [], []
        for label in self.formats:
            errors = [f(results, network, label, how) for how in HOW for f in (self.sgd, self.average)]
            main.append([label, *map(spread, errors)])
            paths = [(phase, how) for phase in ("first", "last") for how in HOW]
            more.append([label, *(spread(self.errors(results, network, label, "swa", *path)) for path in paths)])
        title = f"{network}: evaluated with float activations (FP) and as trained (LP)."
        other = f"{network}: SWA's weights where averaging starts (the paper's SGD-LP) and at the end."
        return [
            Table(title, ["trained in", "SGD FP", "SWA FP", "SGD LP", "SWA LP"], main),
            Table(other, ["trained in", "start FP", "start LP", "end FP", "end LP"], more),
        ]

    def _comparisons(self, results: Results, run: str) -> Table:
        """Return the paper's comparisons with SGD as measured in the SGD or SWA runs."""

        def measured(network: str, label: str, method: str) -> BySeed:
            if method == "swa":
                return self.average(results, network, label)
            return self.errors(results, network, label, run, "first", "as trained")

        networks = [s.network for s in self.networks]
        rows = [
            [claim, *(_reading(*difference(measured(n, *lower), measured(n, *higher))) for n in networks)]
            for claim, (lower, higher) in PUBLISHED.items()
            if {lower[0], higher[0]} <= {*self.formats}
        ]
        title = (
            f"The paper's comparisons, SGD as trained {BUDGETS[run]}, SWA and SWALP in float: difference and standard "
            "error, paired by seed; an order holds, or is reversed, by over two of them."
        )
        return Table(title, ["published", *networks], rows)

    def _verdicts(self, results: Results, network: str) -> list[Verdict]:
        """Return the paper's comparison, and the same with float activations for SGD-LP too: of the weights alone."""
        gap, _ = difference(self.average(results, network, "8 bits"), self.average(results, network, "float"))
        found = [within(f"{network}, 8 bits: SWALP's error minus SWA's in float", gap, -math.inf, 1, "{:+.2f}")]
        clear = {"as trained": self.clear_as_trained, "float": self.clear_in_float}
        for how, words in EVALUATIONS.items():
            gap, error = self.gain(results, network, "8 bits", how)
            claim = f"SWALP's error minus SGD-LP's, {words}"
            band = "at most one standard error above 0"
            found.append(Verdict(f"{network}, 8 bits: {claim}", f"{gap:+.2f} ± {error:.2f}", band, gap <= error))
            gains = {label: self.gain(results, network, label, how) for label in clear[how]}
            found += [_any_clear(f"{network}: {claim}", gains)] if gains else []
        return found

    def gain(self, results: Results, network: str, label: str, how: str) -> tuple[float, float]:
        """Return the error of SWALP's average in float minus that of SGD-LP evaluated `how`, and its standard error."""
        return difference(self.average(results, network, label), self.sgd(results, network, label, how))

    def draw(self, figure: Any, results: Results) -> None:
        """Draw the errors of SGD and of the average by format, a panel a network."""
        panels = figure.subplots(1, len(self.networks), squeeze=False)[0]
        for axes, s in zip(panels, self.networks, strict=True):
            self._draw_network(axes, s.network, results)
            axes.set_xticks(range(len(self.formats)), self.formats, rotation=35, ha="right", fontsize=8)
            axes.set(ylabel="test error (%)", title=f"{s.network} on {s.data}", yscale="log")
            percent_ticks(axes.yaxis)
            axes.grid(alpha=0.3, axis="y")
            legend(axes)

    def _draw_network(self, axes: Any, network: str, results: Results) -> None:
        lines = (
            ("SGD, as trained", self.sgd, "as trained", "C7s"),
            ("SGD, float activations", self.sgd, "float", "C0o"),
            ("SWA, as trained", self.average, "as trained", "C1^"),
            ("SWA, float activations", self.average, "float", "C3o"),
        )
        for shift, (label, errors, how, style) in enumerate(lines):
            for i, name in enumerate(self.formats):
                at, values = [i + 0.12 * (shift - 1.5)], [errors(results, network, name, how)]
                points(axes, at, values, fmt=style, ms=5, label=label if i == 0 else None)


def _reading(gap: float, error: float) -> str:
    if math.isnan(gap):
        return "diverged"
    reading = "holds" if gap < -2 * error else "reversed" if gap > 2 * error else "level"
    return f"{gap:+.2f} ± {error:.2f}, {reading}"


def _any_clear(claim: str, gains: dict[str, tuple[float, float]]) -> Verdict:
    """Return the verdict that a gain at one of the formats is beyond chance."""
    text = ", ".join(f"{gap:+.2f} ± {error:.2f} at {label}" for label, (gap, error) in gains.items())
    band = "below 0 by over two standard errors" + " at one of them" * (len(gains) > 1)
    return Verdict(claim, text, band, any(gap < -2 * error for gap, error in gains.values()))
