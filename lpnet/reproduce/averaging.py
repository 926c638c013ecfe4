"""How often to average, and in which precision to keep the average.

On linear regression, where the optimum is known, and on images. One training carries all averages at once, as none is
fed back into it: they differ by nothing else. A fixed-point average has a floor of its own: late in training a new
weight moves it by less than its gap, stochastic rounding then makes it wander with a variance of (gap / 2) E|w - E w|
a weight. Source: Yang et al., "SWALP", ICML 2019, section 5.
"""

from __future__ import annotations

import math
from functools import reduce
from operator import getitem
from typing import Any

import numpy as np

from ..precision import Quantizer
from ..random import Stream
from . import linear_regression
from .grid import Here, Results, Task
from .images import described, train, uniform
from .report import BySeed, Report, Table, Verdict, difference, mean, points, spread, within
from .sgd import Array, iterates, quantizer, squared

SUMMARY = "how often to average, in how many bits"
MODES = ("stochastic", "nearest")


def settings(quick: bool) -> dict[str, Any]:
    """Return what the experiment is run with."""
    linear = {"d": 64, "n": 4096, "lr": 0.005, "replicas": 8, "fl": 6, "warmup": 4000, "cycle": 100,
              "steps": 500_000, "average_fl": [6, 8, 10, 12]}  # fmt: skip
    images = {"batch": 128, "momentum": 0.9, "weight_decay": 3e-4, "crop": 1, "lr": 0.1}
    if quick:
        linear |= {"d": 16, "n": 1024, "lr": 0.01, "replicas": 24, "warmup": 2000, "cycle": 20, "steps": 20_000,
                   "average_fl": [6, 10]}  # fmt: skip
        images |= {"data": "digits", "network": "small_cnn", "swa_lr": 0.05, "epochs": 12, "start": 8}
        return {"data": "digits", "linear": linear, "images": images, "format": "bfp8", "seeds": 3,
                "cycles": {"step": 1, "epoch": 11}, "bits": [12, 8, 4], "far": 5}  # fmt: skip
    images |= {"data": "mnist", "images": 2000, "pool": 2, "network": "small_cnn", "swa_lr": 0.05, "epochs": 24,
               "start": 16}  # fmt: skip
    cycles = {"step": 1, "4 steps": 4, "epoch": 16, "2 epochs": 32, "4 epochs": 64}
    return {"data": "mnist", "linear": linear, "images": images, "format": "bfp8", "seeds": 3,
            "cycles": cycles, "bits": [12, 10, 8, 7, 6, 5, 4], "far": 10}  # fmt: skip


def tasks(s: dict[str, Any]) -> list[Task]:
    """Return one run of linear regression, and one on images for each seed."""
    averages = {f"every {name}": [steps, None, "nearest"] for name, steps in s["cycles"].items()}
    averages |= {f"{bits} bits, {mode}": [None, f"bfp{bits}", mode] for bits in s["bits"] for mode in MODES}
    images = {**s["images"], "precision": uniform(s["format"]), "averages": averages}
    linear = Task("linear", {**s["linear"], "kind": "linear", "seed": 0}, s["linear"]["steps"])
    return [linear, *(Task(f"images-{seed}", {**images, "kind": "images", "seed": seed}, 100_000)
                      for seed in range(s["seeds"]))]  # fmt: skip


def run(t: dict[str, Any], here: Here) -> dict[str, Any]:
    """Return the squared distances of all averages, or their test errors."""
    if t["kind"] == "images":
        result = train(t, here)
        here.tick(100_000)
        return result
    return _run_linear(t, here)


def _run_linear(t: dict[str, Any], here: Here) -> dict[str, Any]:
    p, start = linear_regression.problem(t["d"], t["n"]), np.zeros((t["replicas"], t["d"]))
    optimum, rounded = p.optimum, quantizer(t["fl"], "stochastic", t["seed"])
    averages = {name: Average(round) for name, round in _averages(t).items()}
    for step, w in iterates(p, start, t["lr"], rounded, t["warmup"], t["steps"], t["seed"]):
        if step % t["cycle"] == 0:
            for average in averages.values():
                average.add(w)
        if step % 1000 == 0:
            here.tick(1000)
    distances = {name: float(squared(average.mean - optimum).mean()) for name, average in averages.items()}
    return {"distances": distances, "weights": float(squared(w - optimum).mean())}


def _averages(t: dict[str, Any]) -> dict[str, Quantizer | None]:
    formats = {f"{fl} bits, {mode}": Quantizer(f"fixed{fl + 2}.{fl}", mode, Stream(100 + fl))
               for fl in t["average_fl"] for mode in MODES}  # fmt: skip
    return {"float": None, **formats}


class Average:
    """A running mean of arrays, rounded after each is taken in."""

    def __init__(self, round: Quantizer | None) -> None:
        self.round, self.n, self.mean = round, 0, 0.0

    def add(self, w: Array) -> None:
        """Take in an array."""
        self.n += 1
        mean = self.mean + (w - self.mean) / self.n
        self.mean = mean if self.round is None else self.round(mean)


# What is reported.


def floor(s: dict[str, Any], fl: int) -> float:
    """Return the squared distance that a stochastically rounded average of linear regression comes down to.

    That of the average in float, and for each weight (gap / 2) E|w - E w|, of a normal w with its stationary variance.
    """
    t = s["linear"]
    p = linear_regression.problem(t["d"], t["n"])
    S, _ = linear_regression.stationary(p, t["lr"], 2.0 ** -t["fl"])
    away = np.sqrt(2 / math.pi * np.diag(S)).sum()
    return 2.0**-fl / 2 * float(away) + linear_regression.averaged(p, S, t["lr"], t["steps"])


def report(s: dict[str, Any], results: Results) -> Report:
    """Return distances and test errors of all averages, and the verdicts."""
    t, i = s["linear"], s["images"]
    note = (f"Linear regression as in linear-regression ({t['d']} weights with {t['fl']} fraction bits, "
            f"{t['replicas']} replicas), averaged every {t['cycle']} steps, {t['steps']:,} steps. Images: "
            f"{i['network']} on {described(i)}, trained in {s['format']}, "
            f"{i['epochs']} epochs, averaged from {i['start']}; test error in %, float activations, mean ± standard "
            f"deviation over {s['seeds']} seeds.")  # fmt: skip
    return Report([_linear_table(s, results), *_image_tables(s, results)],
                  [*_linear_verdicts(s, results), *_image_verdicts(s, results)], [note])  # fmt: skip


def _distance(results: Results, name: str) -> float:
    return results["linear"].get("distances", {}).get(name, math.nan)


def _linear_table(s: dict[str, Any], results: Results) -> Table:
    rows = [["float", f"{_distance(results, 'float'):.1e}", "", ""]]
    rows += [[f"{fl} fraction bits", *(f"{_distance(results, f'{fl} bits, {mode}'):.1e}" for mode in MODES),
              f"{floor(s, fl):.1e}"] for fl in reversed(s["linear"]["average_fl"])]  # fmt: skip
    title = "Linear regression: squared distance of the average to the optimum, by the precision it is kept in."
    return Table(title, ["average kept in", "stochastic", "nearest", "formula (stoch.)"], rows)


def _errors(s: dict[str, Any], results: Results, *path: str) -> BySeed:
    """Return what `path` leads to in the run of each seed, by default the error of the last weights."""
    runs = [results[f"images-{seed}"] for seed in range(s["seeds"])]
    return [None if "diverged" in run else reduce(getitem, (*path, "float"), run) for run in runs]


def _last(s: dict[str, Any], results: Results) -> BySeed:
    return _errors(s, results, "last")


def _average(s: dict[str, Any], results: Results, name: str) -> BySeed:
    return _errors(s, results, "averages", name)


def _image_tables(s: dict[str, Any], results: Results) -> list[Table]:
    rows = [["none: the last weights", spread(_last(s, results))]]
    rows += [[f"every {cycle}", spread(_average(s, results, f"every {cycle}"))] for cycle in s["cycles"]]
    bits = [["float", spread(_average(s, results, "every epoch")), ""]]
    bits += [[f"{b} bits", *(spread(_average(s, results, f"{b} bits, {mode}")) for mode in MODES)] for b in s["bits"]]
    return [Table("Images: test error by how often is averaged, in float.", ["average", "test error"], rows),
            Table("Images: test error by the precision of the average, taken once an epoch, block floating point.",
                  ["average kept in", *MODES], bits)]  # fmt: skip


def _linear_verdicts(s: dict[str, Any], results: Results) -> list[Verdict]:
    found = []
    for fl in s["linear"]["average_fl"][:2]:  # with more bits little but the noise of the average in float is left
        measured = _distance(results, f"{fl} bits, stochastic") / floor(s, fl)
        found.append(within(f"linear regression, average in {fl} fraction bits: distance over the formula", measured,
                            0.75, 1.25, "{:.2f}"))  # fmt: skip
    low = s["linear"]["average_fl"][0]
    for mode in MODES:
        times = _distance(results, f"{low} bits, {mode}") / _distance(results, "float")
        found.append(within(f"linear regression: {low} fraction bits, {mode}, times the distance of float", times,
                            s["far"], math.inf, "{:.0f}"))  # fmt: skip
    return found


def _image_verdicts(s: dict[str, Any], results: Results) -> list[Verdict]:
    """Averages of one training are compared seed by seed."""
    last, epoch = _last(s, results), _average(s, results, "every epoch")
    every_step = _average(s, results, "every step")
    many, few = (_average(s, results, f"{bits} bits, stochastic") for bits in (s["bits"][0], s["bits"][-1]))
    return [
        _at_most("images: error of the average once an epoch minus the last weights'", epoch, last, 0.0),
        _at_most("images: once an epoch minus every step", epoch, every_step, 0.5),
        _at_most(f"images: average in {s['bits'][0]} bits minus in float", many, epoch, 0.2),
        _at_most(f"images: average in float minus in {s['bits'][-1]} bits", epoch, few, 0.0),
    ]


def _at_most(claim: str, a: BySeed, b: BySeed, limit: float) -> Verdict:
    gap, error = difference(a, b)
    return Verdict(claim, f"{gap:+.2f} ± {error:.2f}", f"at most {limit:.1f}, to two standard errors",
                   gap <= limit + 2 * error)  # fmt: skip


def draw(figure: Any, s: dict[str, Any], results: Results) -> None:
    """Draw distances and test errors against the bits of the average, and test errors against the cycle."""
    left, middle, right = figure.subplots(1, 3)
    bits = s["linear"]["average_fl"]
    for mode, style in zip(MODES, ("C3o-", "C0s-"), strict=True):
        left.plot(bits, [_distance(results, f"{fl} bits, {mode}") for fl in bits], style, label=mode)
        points(right, s["bits"], [_average(s, results, f"{b} bits, {mode}") for b in s["bits"]], fmt=style, label=mode)
    left.plot(bits, [floor(s, fl) for fl in bits], "k:", label="formula, stochastic")
    left.axhline(_distance(results, "float"), color="0.5", lw=1, label="float")
    left.set(yscale="log", xlabel="fraction bits of the average", ylabel="squared distance to the optimum",
             title="linear regression")  # fmt: skip
    cycles = [_average(s, results, f"every {cycle}") for cycle in s["cycles"]]
    points(middle, range(len(cycles)), cycles, fmt="C3o-", label="SWALP")
    middle.set_xticks(range(len(s["cycles"])), [c.replace(" ", "\n") for c in s["cycles"]], fontsize=8)
    for axes in (middle, right):
        axes.axhline(mean(_last(s, results)), color="0.5", lw=1, label="last weights")
    right.axhline(mean(_average(s, results, "every epoch")), color="k", ls=":", lw=1, label="float")
    middle.set(xlabel="averaged every", ylabel="test error (%)", title="images: cycle")
    right.set(xlabel="bits of the average", ylabel="test error (%)", title="images: precision")
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
