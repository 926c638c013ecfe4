"""Table 1's design on real images: SGD and SWA, in float and in block floating point of 8 bits and fewer.

By default a reduction that two processors finish in about an hour: small networks of the paper's two kinds, on 2,000
images of MNIST and 1,000 of Fashion-MNIST at half their width and height, for about 100 epochs. `paper="cifar10"` or
"cifar100" is the paper's own recipe at its full size. Source: Yang et al., "SWALP", ICML 2019, section 5 and Table 1,
and its public code, of which four slips are not repeated: SGD-LP is measured at the full budget of epochs, not where
averaging starts; weights are rounded once a step; a resumed run keeps its average; and the averaging phase has its own
learning rate from its first step on.
"""

from __future__ import annotations

import math
from functools import reduce
from operator import getitem
from typing import Any

from .grid import Here, Results, Task
from .images import described, train, uniform
from .report import BySeed, Report, Table, Verdict, difference, legend, percent_ticks, points, spread, within

SUMMARY = "Table 1: SGD-LP and SWALP on images, from 8 bits to 4"
FOUR = ["bfp4", "stochastic"]
FORMATS = {  # Algorithm 2 rounds all numbers, Algorithm 1 the weights; the last two say what else rounding costs
    "float": {}, "8 bits": uniform("bfp8"), "8 bits, big block": uniform("bfp8:tensor"), "6 bits": uniform("bfp6"),
    "5 bits": uniform("bfp5"), "4 bits": uniform("bfp4"), "4 bits: weights": {"weight": FOUR},
    "4 bits: activations": {"activation": FOUR},
    "4 bits: backward": {"error": FOUR, "gradient": FOUR, "momentum": FOUR},
}  # fmt: skip
CODE = uniform("bfp8", activation="bfp8:tensor", error="bfp8:tensor")  # the public code's "small block", in effect
VGG = {"lr": 0.05, "swa_lr": 0.01, "weight_decay": 5e-4}
PRERESNET = {"lr": 0.1, "swa_lr": 0.01, "weight_decay": 3e-4}
ROUNDING = ("Low precision: block floating point, rounded stochastically, an exponent a sample or output channel "
            "(small block), or one a tensor (big block); all numbers, weights, activations, errors, gradients and "
            "momentum (Algorithm 2), or of these only the weights (Algorithm 1), only the activations, or only the "
            "last three, \"backward\".")


def settings(quick: bool, paper: str | None = None) -> dict[str, Any]:
    """Return what the experiment is run with; paper, "cifar10" or "cifar100", for the paper's recipe.

    "clear": for each evaluation of SGD-LP the formats in one of which SWALP is to be clearly better.
    """
    if paper is not None:
        formats = _chosen("float", "8 bits", "8 bits, big block") | {"8 bits, public code": CODE}
        networks = {"vgg16": {**VGG, "epochs": 300, "start": 200},
                    "preresnet164": {**PRERESNET, "epochs": 225, "start": 150}}  # fmt: skip
        return {"data": paper, "batch": 128, "momentum": 0.9, "crop": 4, "flip": True, "seeds": 3, "checkpoints": True,
                "formats": formats, "networks": networks, "clear": {"as trained": ["8 bits"]}}  # fmt: skip
    shared = {"momentum": 0.9, "crop": 1, "flip": False}
    if quick:
        network = {**PRERESNET, "swa_lr": 0.05, "epochs": 12, "start": 8}
        return {**shared, "data": "digits", "batch": 128, "seeds": 8, "formats": _chosen("float", "8 bits", "4 bits"),
                "networks": {"small_cnn": network}, "clear": {"as trained": ["4 bits"]}}  # fmt: skip
    vgg = {**VGG, "data": "mnist", "images": 2000, "batch": 64, "epochs": 108, "start": 72}
    preresnet = {**PRERESNET, "swa_lr": 0.02, "data": "fashion_mnist", "images": 1000, "batch": 32, "epochs": 90,
                 "start": 60}  # fmt: skip
    clear = {"as trained": ["5 bits", "4 bits"], "float": ["5 bits", "4 bits", "4 bits: weights"]}
    return {**shared, "pool": 2, "seeds": 4, "formats": FORMATS, "clear": clear,
            "networks": {"small-vgg": vgg, "small-preresnet": preresnet}}  # fmt: skip


def _chosen(*names: str) -> dict[str, dict[str, list[str]]]:
    return {name: FORMATS[name] for name in names}


def tasks(s: dict[str, Any]) -> list[Task]:
    """Return two runs for each network, format and seed: SGD over the whole budget, and SWA."""
    shared = {k: v for k, v in s.items() if k not in ("experiment", "networks", "formats", "seeds", "clear")}
    return [
        Task(_name(network, label, method, seed), {
            **shared, **recipe, "network": network, "precision": precision, "seed": seed,
            "start": recipe["epochs" if method == "sgd" else "start"], "averages": {"epoch": [None, None, "nearest"]},
        }, recipe["epochs"])
        for network, recipe in s["networks"].items() for label, precision in s["formats"].items()
        for method in ("sgd", "swa") for seed in range(s["seeds"])
    ]  # fmt: skip


def _name(network: str, label: str, method: str, seed: int) -> str:
    return f"{network}-{label.replace(',', '').replace(':', '').replace(' ', '-')}-{method}-{seed}"


def run(t: dict[str, Any], here: Here) -> dict[str, Any]:
    """Return the test errors of one run."""
    return train(t, here)


# What is reported.


def errors(s: dict[str, Any], results: Results, network: str, label: str, method: str, how: str, *path: str) -> BySeed:
    """Return a test error of each seed: of what `path` leads to, evaluated `how`."""
    runs = [results[_name(network, label, method, seed)] for seed in range(s["seeds"])]
    return [None if "diverged" in run else reduce(getitem, (*path, how), run) for run in runs]


def _sgd(s: dict[str, Any], results: Results, network: str, label: str, how: str = "float") -> BySeed:
    return errors(s, results, network, label, "sgd", how, "first")


def _average(s: dict[str, Any], results: Results, network: str, label: str, how: str = "float") -> BySeed:
    return errors(s, results, network, label, "swa", how, "averages", "epoch")


def report(s: dict[str, Any], results: Results) -> Report:
    """Return the test errors by network and format, the published comparisons, and the verdicts."""
    tables = [table for network in s["networks"] for table in _tables(s, results, network)]
    verdicts = [v for network in s["networks"] for v in _verdicts(s, results, network)]
    return Report([*tables, *(_comparisons(s, results, run) for run in BUDGETS)], verdicts, [*_notes(s), ROUNDING])


def _notes(s: dict[str, Any]) -> list[str]:
    notes = [f"Test error in %, mean ± standard deviation over {s['seeds']} seeds. SGD spends all epochs under the "
             "paper's schedule stretched to them; averages are taken once an epoch."]  # fmt: skip
    for network, recipe in s["networks"].items():
        r = {**s, **recipe}
        notes.append(f"{network}: {described(r)}; batches of {r['batch']}; {r['epochs']} epochs, averaging from "
                     f"{r['start']}; lr {r['lr']}, then {r['swa_lr']}; "
                     f"weight decay {r['weight_decay']:g}.")  # fmt: skip
    return notes


def _tables(s: dict[str, Any], results: Results, network: str) -> list[Table]:
    main, more = [], []
    for label in s["formats"]:
        main.append([label, *(spread(f(s, results, network, label, how)) for how in ("float", "as trained")
                              for f in (_sgd, _average))])  # fmt: skip
        more.append([label, *(spread(errors(s, results, network, label, "swa", how, phase))
                              for phase in ("first", "last") for how in ("float", "as trained"))])  # fmt: skip
    titles = ["evaluated with float activations (FP) and as trained (LP)",
              "SWA's weights where averaging starts (the paper's SGD-LP) and at the end"]  # fmt: skip
    columns = ["SGD FP", "SWA FP", "SGD LP", "SWA LP"], ["start FP", "start LP", "end FP", "end LP"]
    return [Table(f"{network}: {title}.", ["trained in", *header], rows)
            for title, header, rows in zip(titles, columns, (main, more), strict=True)]  # fmt: skip


PUBLISHED = {  # comparisons of Table 1: what has the lower error there, and what the higher; (format, method)
    "float: SWA below SGD": (("float", "swa"), ("float", "sgd")),
    "8 bits: SWALP below SGD-LP": (("8 bits", "swa"), ("8 bits", "sgd")),
    "big block: SWALP below SGD-LP": (("8 bits, big block", "swa"), ("8 bits, big block", "sgd")),
    "SGD in float below SGD-LP, 8 bits": (("float", "sgd"), ("8 bits", "sgd")),
    "SWA in float below SWALP, 8 bits": (("float", "swa"), ("8 bits", "swa")),
    "SWALP, 8 bits, below SGD in float": (("8 bits", "swa"), ("float", "sgd")),
}


BUDGETS = {"sgd": "after all epochs", "swa": "where averaging starts, as in the public code"}  # by SGD's run


def _comparisons(s: dict[str, Any], results: Results, run: str) -> Table:
    """Return the paper's comparisons with SGD as measured in the SGD or SWA runs."""

    def measured(network: str, label: str, method: str) -> BySeed:
        if method == "swa":
            return _average(s, results, network, label)
        return errors(s, results, network, label, run, "as trained", "first")

    rows = []
    for claim, sides in PUBLISHED.items():
        if all(label in s["formats"] for label, _ in sides):
            rows.append([claim, *(_reading(*difference(*(measured(network, *side) for side in sides)))
                                  for network in s["networks"])])  # fmt: skip
    title = (f"The paper's comparisons, SGD as trained {BUDGETS[run]}, SWA and SWALP in float: difference and standard "
             "error, paired by seed; an order holds, or is reversed, by over two of them.")  # fmt: skip
    return Table(title, ["published", *s["networks"]], rows)


def _reading(gap: float, error: float) -> str:
    if math.isnan(gap):
        return "diverged"
    reading = "holds" if gap < -2 * error else "reversed" if gap > 2 * error else "level"
    return f"{gap:+.2f} ± {error:.2f}, {reading}"


EVALUATIONS = {"as trained": "SGD-LP as trained, SWALP in float, as the paper", "float": "both in float"}  # of SGD-LP


def _verdicts(s: dict[str, Any], results: Results, network: str) -> list[Verdict]:
    """Return the paper's comparison, and the same with float activations for SGD-LP too: of the weights alone."""
    gap, _ = difference(*(_average(s, results, network, label) for label in ("8 bits", "float")))
    found = [within(f"{network}, 8 bits: SWALP's error minus SWA's in float", gap, -math.inf, 1, "{:+.2f}")]
    for how, words in EVALUATIONS.items():
        gap, error = _gain(s, results, network, "8 bits", how)
        found.append(Verdict(f"{network}, 8 bits: SWALP's error minus SGD-LP's, {words}", f"{gap:+.2f} ± {error:.2f}",
                             "at most one standard error above 0", gap <= error))  # fmt: skip
        gains = {label: _gain(s, results, network, label, how) for label in s["clear"].get(how, ())}
        if gains:
            text = ", ".join(f"{gap:+.2f} ± {error:.2f} at {label}" for label, (gap, error) in gains.items())
            found.append(Verdict(f"{network}: SWALP's error minus SGD-LP's, {words}", text,
                                 "below 0 by over two standard errors" + " at one of them" * (len(gains) > 1),
                                 any(gap < -2 * error for gap, error in gains.values())))  # fmt: skip
    return found


def _gain(s: dict[str, Any], results: Results, network: str, label: str, how: str) -> tuple[float, float]:
    """Return the error of SWALP's average in float minus that of SGD-LP evaluated `how`, and its standard error."""
    return difference(_average(s, results, network, label), _sgd(s, results, network, label, how))


def draw(figure: Any, s: dict[str, Any], results: Results) -> None:
    """Draw the errors of SGD and of the average by format, a panel a network."""
    panels = figure.subplots(1, len(s["networks"]), squeeze=False)[0]
    for axes, network in zip(panels, s["networks"], strict=True):
        for shift, (label, f, how, style) in enumerate((
            ("SGD, as trained", _sgd, "as trained", "C7s"), ("SGD, float activations", _sgd, "float", "C0o"),
            ("SWA, as trained", _average, "as trained", "C1^"), ("SWA, float activations", _average, "float", "C3o"),
        )):  # fmt: skip
            for i, name in enumerate(s["formats"]):
                points(axes, [i + 0.12 * (shift - 1.5)], [f(s, results, network, name, how)], fmt=style, ms=5,
                       label=label if i == 0 else None)  # fmt: skip
        axes.set_xticks(range(len(s["formats"])), s["formats"], rotation=35, ha="right", fontsize=8)
        axes.set(ylabel="test error (%)", title=f"{network} on {({**s, **s['networks'][network]})['data']}",
                 yscale="log")  # fmt: skip
        percent_ticks(axes.yaxis)
        axes.grid(alpha=0.3, axis="y")
        legend(axes)
