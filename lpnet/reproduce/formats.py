"""One small network in every kind of format, rounded to nearest and stochastically, with and without SWALP.

Every number is rounded: weights, activations, errors, gradients and momentum; no wider copy of the weights is kept, but
in QPyTorch's recipe. Where a format's range is short the loss is scaled up, and gradients scaled down again before they
are rounded.
"""

from __future__ import annotations

import math
import statistics
from functools import reduce
from operator import getitem
from typing import Any

from . import recipes
from .grid import Here, Results, Task
from .images import described, train, uniform
from .report import BySeed, Report, Table, Verdict, difference, legend, mean, percent_ticks, points, spread, within

SUMMARY = "one network in fixed, block, fp8, MX and fp4 formats"
MODES = ("stochastic", "nearest")
BACKWARD = ("error", "gradient", "momentum")


def _fixed(wl: int) -> dict[str, str]:
    """Return fixed-point formats that hold the usual sizes of each role's numbers; errors are of the scaled loss."""
    ahead = {"weight": 1, "activation": 5, "error": 2, "gradient": -1, "momentum": 1}  # bits before the point
    return {role: f"fixed{wl}.{wl - above}" for role, above in ahead.items()}


KINDS: dict[str, tuple[dict[str, str], float]] = {  # formats by role ("all": of the others), and the loss scale
    "float": ({"all": "fp32"}, 1),
    "fixed, 8 bits": (_fixed(8), 64),
    "block, 8 bits": ({"all": "bfp8"}, 1),
    "block, 4 bits": ({"all": "bfp4"}, 1),
    "fp8 e4m3 / e5m2": ({"all": "e4m3", **dict.fromkeys(BACKWARD, "e5m2")}, 1024),
    "MXINT8": ({"all": "mxint8"}, 1),
    "MXFP8 e4m3 / e5m2": ({"all": "mxfp8_e4m3", **dict.fromkeys(BACKWARD, "mxfp8_e5m2")}, 1),
    "MXFP6 e2m3 / e3m2": ({"all": "mxfp6_e2m3", **dict.fromkeys(BACKWARD, "mxfp6_e3m2")}, 1),
    "MXFP4": ({"all": "mxfp4_e2m1"}, 1),
    "NVFP4": ({"all": "nvfp4"}, 1),
}
EIGHT = ("fixed, 8 bits", "block, 8 bits", "fp8 e4m3 / e5m2", "MXINT8", "MXFP8 e4m3 / e5m2")
EVALUATIONS = {"float": "with float activations", "as trained": "as trained"}
RECIPE = "QPyTorch IBM8"
FEW = 5  # formats: a mean over fewer says nothing


def settings(quick: bool) -> dict[str, Any]:
    """Return what the experiment is run with."""
    shared = {"batch": 128, "momentum": 0.9, "weight_decay": 3e-4, "crop": 1, "network": "small_cnn", "lr": 0.1,
              "swa_lr": 0.05}  # fmt: skip
    if quick:
        kinds = ["float", "block, 8 bits", "block, 4 bits", "fp8 e4m3 / e5m2"]
        return {**shared, "data": "digits", "seeds": 2, "kinds": kinds, "epochs": 6, "start": 4}
    return {**shared, "data": "mnist", "images": 1000, "pool": 2, "batch": 32, "swa_lr": 0.02, "seeds": 3,
            "kinds": [*KINDS, RECIPE], "epochs": 48, "start": 32}  # fmt: skip


def tasks(s: dict[str, Any]) -> list[Task]:
    """Return two runs, SGD and SWALP, for each kind of format, rounding and seed."""
    shared = {k: v for k, v in s.items() if k not in ("experiment", "kinds", "seeds")}
    return [
        Task(_name(kind, mode, method, seed), {
            **shared, "precision": _precision(kind, mode), "loss_scale": _scale(kind), "seed": seed,
            "start": s["epochs" if method == "sgd" else "start"], "averages": {"epoch": [None, None, "nearest"]},
        }, s["epochs"])
        for kind in s["kinds"] for mode in modes(kind) for method in ("sgd", "swa") for seed in range(s["seeds"])
    ]  # fmt: skip


def modes(kind: str) -> tuple[str, ...]:
    """Return the roundings that a kind is run with: there is none in float, and one in the recipe."""
    return ("exact",) if kind == "float" else ("nearest",) if kind == RECIPE else MODES


def _precision(kind: str, mode: str) -> dict[str, list[str]]:
    if kind == RECIPE:
        return recipes.IBM8
    roles = KINDS[kind][0]
    return uniform(roles.get("all", "fp32"), mode, **{role: fmt for role, fmt in roles.items() if role != "all"})


def _scale(kind: str) -> float:
    return 1000 if kind == RECIPE else KINDS[kind][1]


def _name(kind: str, mode: str, method: str, seed: int) -> str:
    return f"{kind.replace(' / ', '-').replace(', ', '-').replace(' ', '-')}-{mode}-{method}-{seed}"


def run(t: dict[str, Any], here: Here) -> dict[str, Any]:
    """Return the test errors of one run."""
    return train(t, here)


# What is reported.


def errors(s: dict[str, Any], results: Results, kind: str, mode: str, method: str, how: str = "float") -> BySeed:
    """Return the test errors of SGD's last weights, or SWALP's average, of each seed."""
    runs = [results[_name(kind, mode, method, seed)] for seed in range(s["seeds"])]
    path = ("first",) if method == "sgd" else ("averages", "epoch")
    return [None if "diverged" in run else reduce(getitem, (*path, how), run) for run in runs]


def report(s: dict[str, Any], results: Results) -> Report:
    """Return the test errors by format and rounding, and the verdicts."""
    note = (f"Test error in %, mean ± standard deviation over {s['seeds']} seeds: {s['network']} on {described(s)}; "
            f"{s['epochs']} epochs, lr {s['lr']}; SWALP averages from epoch {s['start']} on, once an epoch, with lr "
            f"{s['swa_lr']}. Every number is rounded; only QPyTorch's recipe keeps a wider copy of the weights (e6m9, "
            "stochastic).")  # fmt: skip
    return Report([_table(s, results, how) for how in EVALUATIONS], _verdicts(s, results), [note, _scales(s)])


def _table(s: dict[str, Any], results: Results, how: str) -> Table:
    rows = []
    for kind in s["kinds"]:
        row = [kind]
        for mode in MODES:
            own = mode if mode in modes(kind) else "exact" if "exact" in modes(kind) else None
            row += [spread(errors(s, results, kind, own, method, how)) if own else "" for method in ("sgd", "swa")]
        rows.append(row)
    header = ["format", "SGD, stoch.", "SWA, stoch.", "SGD, nearest", "SWA, nearest"]
    return Table(f"Evaluated {EVALUATIONS[how]}; by rounding, stochastic or to nearest.", header, rows)


def _scales(s: dict[str, Any]) -> str:
    scaled = [f"{kind} {_scale(kind):g}" for kind in s["kinds"] if _scale(kind) != 1]
    return f"Loss scale: {', '.join(scaled) or 'none'}; all others 1."


def _verdicts(s: dict[str, Any], results: Results) -> list[Verdict]:
    exact = mean(errors(s, results, "float", "exact", "swa"))
    worst = max(mean(_whole(s, results, kind, "stochastic", "swa")) for kind in s["kinds"] if kind in EIGHT) - exact
    found = [within("8-bit formats, stochastic, SWALP: highest error above SWA in float", worst, -math.inf, 2,
                    "{:+.2f}")]  # fmt: skip
    rounded = [kind for kind in s["kinds"] if modes(kind) == MODES]
    if len(rounded) < FEW:
        return found
    nearest = [_gap(s, results, kind, ("stochastic", "swa"), ("nearest", "swa")) for kind in rounded]
    average = [_gap(s, results, kind, ("stochastic", "swa"), ("stochastic", "sgd")) for kind in rounded]
    return [
        *found,
        _below("SWALP: stochastic minus nearest, mean over formats", nearest),
        _below("stochastic: SWALP minus SGD-LP, mean over formats", average),
    ]


def _whole(s: dict[str, Any], results: Results, kind: str, mode: str, method: str) -> list[float]:
    """Return the errors with float activations; a diverged run counts as wrong on 90 %."""
    return [90.0 if e is None else e for e in errors(s, results, kind, mode, method)]


def _gap(s: dict[str, Any], results: Results, kind: str, a: tuple[str, str], b: tuple[str, str]) -> tuple[float, float]:
    """Return the difference of two sides' errors and its standard error."""
    return difference(*(_whole(s, results, kind, *side) for side in (a, b)))


def _below(claim: str, gaps: list[tuple[float, float]]) -> Verdict:
    mean = statistics.mean(gap for gap, _ in gaps)
    error = math.sqrt(sum(e**2 for _, e in gaps)) / len(gaps)
    return Verdict(claim, f"{mean:+.2f} ± {error:.2f}", "below 0 by over two standard errors", mean < -2 * error)


def draw(figure: Any, s: dict[str, Any], results: Results) -> None:
    """Draw the errors with float activations, a row a format."""
    axes = figure.subplots()
    styles = {("stochastic", "swa"): ("C3o", "stochastic, SWALP"), ("stochastic", "sgd"): ("C1s", "stochastic, SGD-LP"),
              ("nearest", "swa"): ("C0o", "nearest, SWALP"), ("nearest", "sgd"): ("C9s", "nearest, SGD-LP"),
              ("exact", "swa"): ("ko", "float, SWA"), ("exact", "sgd"): ("ks", "float, SGD")}  # fmt: skip
    for i, ((mode, method), (style, label)) in enumerate(styles.items()):
        rows = {y + 0.12 * (i % 4 - 1.5): errors(s, results, kind, mode, method)
                for y, kind in enumerate(s["kinds"]) if mode in modes(kind)}  # fmt: skip
        points(axes, list(rows), list(rows.values()), across=True, fmt=style, ms=4, label=label)
    axes.set_yticks(range(len(s["kinds"])), s["kinds"])
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="test error (%), float activations", title=f"{s['network']} on {s['data']}")
    percent_ticks(axes.xaxis)
    axes.grid(alpha=0.3, axis="x")
    legend(axes)
