"""Table 1's design on real images: SGD and SWA, in float and in block floating point of 8 bits and fewer.

By default a reduction that two processors finish: small networks of the paper's two kinds on 2,000 images of MNIST at a
half and a quarter of their width and height, 24 epochs. `paper="cifar10"` or "cifar100" is the paper's own recipe at
its full size. Source: Yang et al., "SWALP", ICML 2019, section 5 and Table 1, and its public code, of which four slips
are not repeated: SGD-LP is measured at the full budget of epochs, not where averaging starts; weights are rounded once
a step; a resumed run keeps its average; and the averaging phase has its own learning rate from its first step on.
"""

from __future__ import annotations

import math
import statistics
from typing import Any

from .grid import Here, Results, Task
from .images import described, train, uniform
from .report import Report, Table, Verdict, difference, legend, spread, within

SUMMARY = "Table 1: SGD-LP and SWALP on images, from 8 bits to 4"
FORMATS = {"float": "fp32", "8 bits": "bfp8", "8 bits, big block": "bfp8:tensor", "6 bits": "bfp6", "5 bits": "bfp5",
           "4 bits": "bfp4"}  # fmt: skip
VGG = {"lr": 0.05, "swa_lr": 0.01, "weight_decay": 5e-4}
PRERESNET = {"lr": 0.1, "swa_lr": 0.01, "weight_decay": 3e-4}
ROUNDING = ("Low precision: block floating point; weights, activations, errors, gradients and momentum are rounded "
            "stochastically. An exponent a sample or output channel (small block), or one a tensor (big block).")


def settings(quick: bool, paper: str | None = None) -> dict[str, Any]:
    """Return what the experiment is run with; paper, "cifar10" or "cifar100", for the paper's recipe."""
    shared = {"batch": 128, "momentum": 0.9, "flip": True}
    if paper is not None:
        formats = {name: FORMATS[name] for name in ("float", "8 bits", "8 bits, big block")}
        return {**shared, "data": paper, "crop": 4, "seeds": 3, "checkpoints": True, "formats": formats, "networks": {
            "vgg16": {**VGG, "epochs": 300, "start": 200}, "preresnet164": {**PRERESNET, "epochs": 225, "start": 150},
        }}  # fmt: skip
    if quick:
        formats = {name: FORMATS[name] for name in ("float", "8 bits", "4 bits")}
        return {**shared, "flip": False, "data": "digits", "crop": 1, "seeds": 4, "formats": formats,
                "networks": {"small_cnn": {**PRERESNET, "swa_lr": 0.05, "epochs": 12, "start": 8}}}  # fmt: skip
    # Pilots with 4,000 images of Fashion-MNIST left both networks unfinished: 20 to 30 % of errors in 4 bits.
    return {**shared, "flip": False, "data": "mnist", "images": 2000, "batch": 64, "crop": 1, "seeds": 3,
            "formats": FORMATS,
            "networks": {"small-vgg": {**VGG, "swa_lr": 0.02, "epochs": 24, "start": 16, "pool": 2},
                         "small-preresnet": {**PRERESNET, "swa_lr": 0.02, "epochs": 24, "start": 16, "pool": 4}}
            }  # fmt: skip


def tasks(s: dict[str, Any]) -> list[Task]:
    """Return two runs for each network, format and seed: SGD over the whole budget, and SWA."""
    shared = {k: v for k, v in s.items() if k not in ("experiment", "networks", "formats", "seeds")}
    return [
        Task(_name(network, label, method, seed), {
            **shared, **recipe, "network": network, "precision": uniform(fmt), "seed": seed,
            "start": recipe["epochs" if method == "sgd" else "start"], "averages": {"epoch": [None, None, "nearest"]},
        }, recipe["epochs"])
        for network, recipe in s["networks"].items() for label, fmt in s["formats"].items()
        for method in ("sgd", "swa") for seed in range(s["seeds"])
    ]  # fmt: skip


def _name(network: str, label: str, method: str, seed: int) -> str:
    return f"{network}-{label.replace(', ', '-').replace(' ', '-')}-{method}-{seed}"


def run(t: dict[str, Any], here: Here) -> dict[str, Any]:
    """Return the test errors of one run."""
    return train(t, here)


# What is reported.


def errors(s: dict[str, Any], results: Results, network: str, label: str, method: str, how: str, *path: str
           ) -> list[float]:  # fmt: skip
    """Return a test error of the seeds that did not diverge: of what `path` leads to, evaluated `how`."""
    found = []
    for seed in range(s["seeds"]):
        result = results[_name(network, label, method, seed)]
        for key in () if "diverged" in result else (*path, how):
            result = result[key]
        found += [result] if isinstance(result, float) else []
    return found


def _sgd(s: dict[str, Any], results: Results, network: str, label: str, how: str = "float") -> list[float]:
    return errors(s, results, network, label, "sgd", how, "first")


def _average(s: dict[str, Any], results: Results, network: str, label: str, how: str = "float") -> list[float]:
    return errors(s, results, network, label, "swa", how, "averages", "epoch")


def report(s: dict[str, Any], results: Results) -> Report:
    """Return the test errors by network and format, and the verdicts."""
    tables = [table for network in s["networks"] for table in _tables(s, results, network)]
    verdicts = [v for network in s["networks"] for v in _verdicts(s, results, network)]
    return Report(tables, verdicts, [_note(s), ROUNDING])


def _note(s: dict[str, Any]) -> str:
    runs = "; ".join(f"{network}: {r['epochs']} epochs, averaging once an epoch from {r['start']}, lr {r['lr']}, then "
                     f"{r['swa_lr']}" + (f", images {r['pool']} times smaller" if "pool" in r else "")
                     for network, r in s["networks"].items())  # fmt: skip
    return (f"Test error in %, mean ± standard deviation over {s['seeds']} seeds, on {described(s)}, batches of "
            f"{s['batch']}. {runs}. SGD spends all epochs under the paper's schedule stretched to them.")  # fmt: skip


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


EVALUATIONS = {"SGD-LP as trained, SWALP in float, as the paper": "as trained", "both in float": "float"}  # of SGD-LP


def _verdicts(s: dict[str, Any], results: Results, network: str) -> list[Verdict]:
    """Return the paper's comparison, and the same with float activations for SGD-LP too: of the weights alone."""
    average, exact = (_average(s, results, network, label) for label in ("8 bits", "float"))
    gap = statistics.mean(average) - statistics.mean(exact) if average and exact else math.nan
    found = [within(f"{network}, 8 bits: SWALP's error minus SWA's in float", gap, -math.inf, 1, "{:+.2f}")]
    for words, how in EVALUATIONS.items():
        gap, error = _gain(s, results, network, "8 bits", how)
        found.append(Verdict(f"{network}, 8 bits: SWALP's error minus SGD-LP's, {words}", f"{gap:+.2f} ± {error:.2f}",
                             "at most one standard error above 0", gap <= error))  # fmt: skip
        gains = {x: _gain(s, results, network, x, how) for x in ("5 bits", "4 bits") if x in s["formats"]}
        if gains:
            text = ", ".join(f"{gap:+.2f} ± {error:.2f} at {label}" for label, (gap, error) in gains.items())
            found.append(Verdict(f"{network}: SWALP's error minus SGD-LP's, {words}", text,
                                 "below 0 by over two standard errors at one of them",
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
                values = f(s, results, network, name, how)
                if len(values) > 1:
                    axes.errorbar(i + 0.12 * (shift - 1.5), statistics.mean(values), statistics.stdev(values),
                                  fmt=style, ms=5, capsize=2, label=label if i == 0 else None)  # fmt: skip
        axes.set_xticks(range(len(s["formats"])), [x.replace(", ", ",\n") for x in s["formats"]], fontsize=8)
        axes.set(ylabel="test error (%)", title=f"{network} on {s['data']}")
        axes.grid(alpha=0.3, axis="y")
        legend(axes)
