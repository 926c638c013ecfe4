"""Theorem 2 on logistic regression: half the bits reduce SWALP's noise ball as far as all bits reduce SGD-LP's.

With a learning rate proportional to the gap of the weights' grid, the squared distance of SGD-LP to the optimum is
proportional to the gap, and that of the average to its square: what is left of it is no noise but a bias, as the
objective is not quadratic. To second order that bias is -1/2 H^-1 T[S], with the Hessian H, the third derivative T and
the covariance S of the weights, all at the optimum. Source: Yang et al., "SWALP", ICML 2019, section 4 and Theorem 2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from ..data import load
from ..kernels import quantize
from .grid import Here, Results, Task
from .report import Report, Table, Verdict, within
from .sgd import Array, iterates, quantizer, slope, squared

SUMMARY = "Theorem 2: half the bits shrink the noise ball as far"
CLASSES = {"binary": (3, 8), "10 classes": tuple(range(10))}
EVERY = 25  # steps between measurements of the covariance: successive weights are nearly the same
ABOVE = 5  # bits before the point, sign included: no weight comes near


@dataclass(frozen=True)
class LogisticProblem:
    """Mean cross-entropy of a linear classifier plus penalty |w|^2 / 2; the first class has logit 0.

    Weights are (classes - 1) x features, flattened: for two classes this is binary logistic regression.
    """

    X: Array  # (n, features)
    labels: Array  # (n,), in 0 .. classes - 1
    penalty: float

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.labels)

    @cached_property
    def target(self) -> Array:
        """One-hot labels without the first class, (n, classes - 1)."""
        return (self.labels[:, None] == np.arange(1, self.labels.max() + 1)).astype(float)

    @property
    def size(self) -> int:
        """Number of weights d."""
        return self.target.shape[1] * self.X.shape[1]

    def gradient(self, w: Array, i: Array) -> Array:
        """Return the gradients (R, d) of samples i (R,) at w (R, d)."""
        x, W = self.X[i], w.reshape(len(w), self.target.shape[1], -1)  # (R, features), (R, classes - 1, features)
        z = np.matmul(W, x[:, :, None])[:, :, 0]
        error = _probabilities(z) - self.target[i]
        return (error[:, :, None] * x[:, None, :]).reshape(w.shape) + self.penalty * w

    def mean_gradient(self, w: Array) -> Array:
        """Return the gradient (d,) of the objective at w (d,)."""
        W = w.reshape(self.target.shape[1], -1)
        error = _probabilities(self.X @ W.T) - self.target
        return (error.T @ self.X / self.n + self.penalty * W).ravel()

    def hessian(self, w: Array) -> Array:
        """Return the second derivative (d, d) of the objective at w (d,)."""
        p = _probabilities(self.X @ w.reshape(self.target.shape[1], -1).T)  # (n, classes - 1)
        blocks = p[:, :, None] * (np.eye(p.shape[1]) - p[:, None, :])  # (n, classes - 1, classes - 1)
        H = np.einsum("nab,ni,nj->aibj", blocks, self.X, self.X, optimize=True) / self.n
        return H.reshape(self.size, self.size) + self.penalty * np.eye(self.size)

    @cached_property
    def optimum(self) -> Array:
        """Where the gradient vanishes, (d,), by Newton's method."""
        w = np.zeros(self.size)
        for _ in range(30):
            w = w - np.linalg.solve(self.hessian(w), self.mean_gradient(w))
        return w

    def bias(self, S: Array) -> Array:
        """Return -1/2 H^-1 T[S] (d,) at the optimum for weights with second moment S (d, d) around it."""
        sizes, directions = np.linalg.eigh(S)
        w, h = self.optimum, 1e-3
        T = sum(size * (self.mean_gradient(w + h * u) + self.mean_gradient(w - h * u)) / h**2
                for size, u in zip(sizes, directions.T, strict=True))  # fmt: skip
        return -0.5 * np.linalg.solve(self.hessian(w), T)


def _probabilities(z: Array) -> Array:
    """Return the softmax of logits (n, classes - 1) beside one of 0, without that one."""
    top = np.maximum(z.max(axis=-1, keepdims=True), 0)
    e = np.exp(z - top)
    return e / (e.sum(axis=-1, keepdims=True) + np.exp(-top))


def problem(name: str, classes: tuple[int, ...], samples: int, components: int, penalty: float,
            data_dir: Path | None) -> LogisticProblem:  # fmt: skip
    """Return the first `samples` training images of the classes, as whitened principal components and a constant."""
    train, _ = load(name, data_dir)
    chosen = np.flatnonzero(np.isin(train.labels, classes))[:samples]
    Z = train.scaled(chosen).reshape(len(chosen), -1).astype(float)  # (n, C, H, W) -> (n, C*H*W)
    U, _, _ = np.linalg.svd(Z - Z.mean(axis=0), full_matrices=False)
    X = np.hstack([U[:, :components] * math.sqrt(len(chosen)), np.ones((len(chosen), 1))])
    return LogisticProblem(X, np.searchsorted(classes, train.labels[chosen]), penalty)


def settings(quick: bool) -> dict[str, Any]:
    """Return what the experiment is run with."""
    shared = {"lr_by_gap": 0.5, "penalty": 0.02, "components": 10}
    if quick:
        return {**shared, "data": "digits", "ratios": [2, 3, 4], "warmup": 2000,
                "runs": {"binary": {"fl": [2, 3, 4], "samples": 300, "replicas": 64, "steps": 15_000},
                         "10 classes": {"fl": [2, 3], "samples": 1000, "replicas": 24, "steps": 8_000}}}  # fmt: skip
    return {**shared, "data": "mnist", "ratios": [3, 4, 5], "warmup": 20_000,
            "runs": {"binary": {"fl": [2, 3, 4, 5, 6], "samples": 1000, "replicas": 32, "steps": 1_000_000},
                     "10 classes": {"fl": [2, 3, 4, 5, 6], "samples": 2000, "replicas": 16, "steps": 300_000}}
            }  # fmt: skip


def tasks(s: dict[str, Any]) -> list[Task]:
    """Return a run for each problem, number of fraction bits, and with and without rounding."""
    shared = {key: s[key] for key in ("data", "lr_by_gap", "penalty", "components", "warmup")}
    return [
        Task(_name(problem, fl, rounded), {**shared, **s["runs"][problem], "problem": problem, "fl": fl,
                                           "rounded": rounded, "seed": 10 * fl + rounded}, s["runs"][problem]["steps"])
        for problem in s["runs"] for fl in s["runs"][problem]["fl"] for rounded in (True, False)
    ]  # fmt: skip


def _name(problem: str, fl: int, rounded: bool) -> str:
    return f"{problem.replace(' ', '-')}-{fl}-{'rounded' if rounded else 'float'}"


def run(t: dict[str, Any], here: Here) -> dict[str, Any]:
    """Return squared distances: of the weights, the mean over time; of the average, by its parts bias and noise."""
    p = problem(t["data"], CLASSES[t["problem"]], t["samples"], t["components"], t["penalty"], here.data_dir)
    gap, fl = 2.0 ** -t["fl"], t["fl"] if t["rounded"] else None
    start = np.tile(quantize(p.optimum, f"fixed{t['fl'] + ABOVE}.{t['fl']}"), (t["replicas"], 1))
    total, moment, count = np.zeros_like(start), np.zeros((p.size, p.size)), 0
    rounded = quantizer(fl, "stochastic", t["seed"], ABOVE)
    for step, w in iterates(p, start, t["lr_by_gap"] * gap, rounded, t["warmup"], t["steps"], t["seed"]):
        total += w
        if step % EVERY == 0:
            away = w - p.optimum
            moment, count = moment + away.T @ away, count + len(w)
        if step % 1000 == 0:
            here.tick(1000)
    return _measure(p, total / t["steps"], moment / count, w)


def _measure(p: LogisticProblem, average: Array, moment: Array, last: Array) -> dict[str, Any]:
    away = average - p.optimum  # (R, d)
    predicted, bias = p.bias(moment), away.mean(axis=0)
    size, error = squared_mean(away)
    return {
        "weights": float(np.trace(moment)), "average": float(squared(away).mean()), "bias": size, "error": error,
        "predicted": float(squared(predicted)), "highest": float(abs(last).max()),
        "cosine": float(bias @ predicted / np.linalg.norm(bias) / np.linalg.norm(predicted)),
        "gradients": [float(np.mean([np.linalg.norm(p.mean_gradient(w)) for w in ws])) for ws in (last, average)],
    }  # fmt: skip


def squared_mean(x: Array) -> tuple[float, float]:
    """Return an unbiased estimate of |E x|^2 from independent rows x (R, d), and its standard error (jackknife)."""
    R, total, sizes = len(x), x.sum(axis=0), squared(x)

    def estimate(total: Array, sizes: Array, R: int) -> Array:
        return (squared(total) - sizes) / (R * (R - 1))

    without = estimate(total - x, sizes.sum() - sizes, R - 1)
    error = math.sqrt((R - 1) * float(np.var(without)))
    return float(estimate(total, sizes.sum(), R)), error


# What is reported.


def _series(s: dict[str, Any], results: Results, problem: str, what: str, rounded: bool = True) -> list[float]:
    """Return one figure by fraction bits; NaN where the run diverged."""
    return [results[_name(problem, fl, rounded)].get(what, math.nan) for fl in s["runs"][problem]["fl"]]


def report(s: dict[str, Any], results: Results) -> Report:
    """Return the distances by fraction bits, and the verdicts."""
    runs = "; ".join(f"{name}: the first {r['samples']} images, {r['replicas']} replicas, {r['steps']:,} steps"
                     for name, r in s["runs"].items())  # fmt: skip
    note = (f"Logistic regression on {s['data']}, {s['components']} whitened principal components and a constant, "
            f"penalty {s['penalty']}, one sample a step, lr {s['lr_by_gap']} times the weights' gap. "
            f"{runs}. SWALP's figure is its squared bias: the distance of an average without end.")  # fmt: skip
    tables = [_table(s, results, problem) for problem in s["runs"]]
    return Report(tables, [v for problem in s["runs"] for v in _verdicts(s, results, problem)], [note])


def _table(s: dict[str, Any], results: Results, problem: str) -> Table:
    columns = [_series(s, results, problem, what) for what in ("weights", "bias", "error", "predicted")]
    columns.append(_series(s, results, problem, "bias", rounded=False))
    ratios = [["", *(f"{a / b:.2f}" for a, b in pairwise(c))] for c in columns[:2]]
    rows = [[str(fl), f"{w:.2e}", ratios[0][i], f"{b:.2e} ± {e:.0e}", ratios[1][i], f"{q:.2e}", f"{f:.2e}"]
            for i, (fl, w, b, e, q, f) in enumerate(zip(s["runs"][problem]["fl"], *columns, strict=True))]  # fmt: skip
    title = (f"{problem[0].upper()}{problem[1:]}: squared distance to the optimum, and how many times a bit more "
             "divides it.")  # fmt: skip
    return Table(title, ["bits", "SGD-LP", "a bit", "SWALP", "a bit", "theory", "SWA, float"], rows)


def _verdicts(s: dict[str, Any], results: Results, problem: str) -> list[Verdict]:
    """Band (c) bit by bit, and the exponents of the gap over all bits."""
    bits, found = s["runs"][problem]["fl"], []
    for who, what, power, tolerance in (("SGD-LP", "weights", 1, 0.2), ("SWALP", "bias", 2, 0.25)):
        d2 = dict(zip(bits, _series(s, results, problem, what), strict=True))
        low, high = 2**power * (1 - tolerance), 2**power * (1 + tolerance)
        found += [within(f"(c) {problem}, {who}: bit {fl + 1} divides the squared distance by", d2[fl] / d2[fl + 1],
                         low, high, "{:.2f}") for fl in bits if {fl, fl + 1} <= {*s["ratios"]} & {*bits}]  # fmt: skip
        fit = slope([2.0**-fl for fl in bits], list(d2.values())) if min(d2.values()) > 0 else math.nan
        claim = f"{problem}, {who}: exponent of the gap, all bits"
        found.append(within(claim, fit, power * 0.8, power * 1.2, "{:.2f}"))
    return found


def draw(figure: Any, s: dict[str, Any], results: Results) -> None:
    """Draw the squared distances against fraction bits, and at one distance the bits that both need."""
    for axes, problem in zip(figure.subplots(1, len(s["runs"]), squeeze=False)[0], s["runs"], strict=True):
        bits = s["runs"][problem]["fl"]
        lp, swalp, theory, error = (
            np.array(_series(s, results, problem, what)) for what in ("weights", "bias", "predicted", "error")
        )
        axes.plot(bits, lp, "C3o--", label="SGD-LP")
        axes.errorbar(bits, swalp, 2 * error, fmt="C3o-", label="SWALP (bias; ± 2 standard errors)")
        axes.plot(bits, theory, "k:", label="SWALP, theory")
        axes.plot(bits, _series(s, results, problem, "bias", rounded=False), "C0-", lw=1, label="SWA in float")
        _draw_half(axes, bits, lp, swalp)
        axes.set(yscale="log", xlabel="fraction bits of the weights", ylabel="squared distance to the optimum",
                 title=problem)  # fmt: skip
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)


def _draw_half(axes: Any, bits: list[int], lp: Array, swalp: Array) -> None:
    """Draw an arrow from SWALP at some bits to the bits that SGD-LP, continued by its trend, needs for the same."""
    if not (min(lp) > 0 and min(swalp) > 0):  # diverged, or lost in noise
        return
    trend = np.polyfit(bits, np.log(lp), 1)
    at = 1
    needed = (np.log(swalp[at]) - trend[1]) / trend[0]
    axes.plot([bits[-1], needed], np.exp(np.polyval(trend, [bits[-1], needed])), "C3--", lw=0.8, alpha=0.6)
    axes.annotate("", (needed, swalp[at]), (bits[at], swalp[at]), arrowprops={"arrowstyle": "->", "color": "0.3"})
    axes.text((bits[at] + needed) / 2, swalp[at] * 1.15, f"{bits[at]} bits do what takes SGD-LP {needed:.1f}",
              ha="center", fontsize=8)  # fmt: skip
