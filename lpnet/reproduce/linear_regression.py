"""Theorem 1 on linear regression: the average of rounded weights converges as 1/T, the weights themselves do not.

Source: Yang et al., "SWALP", ICML 2019, section 4 and Theorem 1. The stationary covariance S of the weights follows
from one step, w <- Q(w - lr g): S = (1 - lr A) S (1 - lr A) + lr^2 C + D with the Hessian A, the covariance C of the
gradient at one sample, and D the variance of stochastic rounding; the average over T steps then has
T E|avg - w*|^2 -> tr A^-1 (C + D / lr^2) A^-1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from ..kernels import quantize
from .grid import Here, Results, Task
from .report import Report, Table, Verdict, within
from .sgd import Array, iterates, quantizer, slope, squared

SUMMARY = "Theorem 1: SWALP converges as 1/T, SGD-LP stalls"
METHODS = {"float": "SGD-FP", "stochastic": "SGD-LP", "nearest": "nearest"}
EVERY = 20  # steps from one measurement of the distance to the next: they are correlated


@dataclass(frozen=True)
class LinearProblem:
    """The mean over samples of (x w - y)^2 / 2."""

    X: Array  # (n, d)
    y: Array  # (n,)

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.y)

    @property
    def hessian(self) -> Array:
        """X^T X / n, (d, d)."""
        return self.X.T @ self.X / self.n

    @property
    def optimum(self) -> Array:
        """The least-squares solution, (d,)."""
        return np.linalg.solve(self.hessian, self.X.T @ self.y / self.n)

    def gradient(self, w: Array, i: Array) -> Array:
        """Return the gradients (R, d) of samples i (R,) at w (R, d)."""
        x = self.X[i]
        return x * (np.einsum("rd,rd->r", x, w) - self.y[i])[:, None]


def problem(d: int, n: int) -> LinearProblem:
    """Return n samples of d features, of variances 0.5 to 1.5, and noise of deviation 0.5 on y."""
    rng = np.random.Generator(np.random.Philox(key=6))
    X = rng.standard_normal((n, d)) * np.sqrt(np.linspace(0.5, 1.5, d))
    return LinearProblem(X, X @ rng.uniform(-1, 1, d) + 0.5 * rng.standard_normal(n))


def settings(quick: bool) -> dict[str, Any]:
    """Return what the experiment is run with."""
    if quick:
        return {"d": 16, "n": 1024, "lr": 0.01, "replicas": 24, "fl": 5, "steps": 30_000, "fit_from": 1000,
                "floor_fl": [4, 6], "floor_steps": 15_000, "warmup": 2000}  # fmt: skip
    return {"d": 64, "n": 4096, "lr": 0.005, "replicas": 8, "fl": 6, "steps": 1_000_000, "fit_from": 10_000,
            "floor_fl": [3, 4, 5, 7, 8], "floor_steps": 200_000, "warmup": 4000}  # fmt: skip


def tasks(s: dict[str, Any]) -> list[Task]:
    """Return the runs: float, stochastic and nearest rounding, and shorter ones for the floors at other gaps."""
    shared = {key: s[key] for key in ("d", "n", "lr", "replicas", "warmup")}
    runs = {name: (None if name == "float" else s["fl"], name, s["steps"]) for name in METHODS}
    runs |= {f"floor-{fl}": (fl, "stochastic", s["floor_steps"]) for fl in s["floor_fl"]}
    return [Task(name, {**shared, "fl": fl, "rounding": rounding, "steps": steps, "seed": seed}, steps)
            for seed, (name, (fl, rounding, steps)) in enumerate(runs.items())]  # fmt: skip


def run(t: dict[str, Any], here: Here) -> dict[str, Any]:
    """Return squared distances to the optimum at the marks: of the average, by replica, and of the weights.

    The distance of the weights is the mean over the time since the mark before, and all replicas.
    """
    p, start = problem(t["d"], t["n"]), np.zeros((t["replicas"], t["d"]))
    optimum, total, at, rows, distances = p.optimum, np.zeros_like(start), marks(t["steps"]), [], []
    rounded = quantizer(t["fl"], t["rounding"], t["seed"])
    for step, w in iterates(p, start, t["lr"], rounded, t["warmup"], t["steps"], t["seed"]):
        total += w
        if step % EVERY == 0:
            distances.append(float(squared(w - optimum).mean()))
        if step % 1000 == 0:
            here.tick(1000)
        if step in at:
            average = squared(total / step - optimum).tolist()
            rows.append({"t": step, "average": average, "weights": float(np.mean(distances))})
            distances = []
    return {"rows": rows}


def marks(steps: int) -> set[int]:
    """Return the steps at which is measured: from 100, two a factor of ten, and the last."""
    return {round(10 ** (k / 2)) for k in range(4, 13)} & set(range(steps)) | {steps}


# What theory predicts.


def rounding_variance(shift: Array) -> Array:
    """Return the variance, in squared gaps, of rounding a number of the grid plus `shift` gaps stochastically."""
    up = shift % 1.0
    return up * (1 - up)


def stationary(p: LinearProblem, lr: float, gap: float) -> tuple[Array, Array]:
    """Return the covariance (d, d) of the weights in the long run, and what one step adds to it, lr^2 C + D.

    gap is that of the weights' grid, 0 for float. The residual of a sample is taken as normal, with the deviation
    that S gives it, of which 16 quantiles are used; its gradient then says where on the grid rounding begins.
    """
    A, residual = p.hessian, p.X @ p.optimum - p.y
    a, V = np.linalg.eigh(A)
    z = [NormalDist().inv_cdf((j + 0.5) / 16) for j in range(16)]
    S = np.zeros_like(A)
    for _ in range(12):
        variance = np.einsum("nd,de,ne->n", p.X, S, p.X)
        C = (p.X * (variance + residual**2)[:, None]).T @ p.X / p.n - A @ S @ A
        D = np.zeros(len(A))
        if gap:
            residuals = (residual + np.sqrt(variance) * q for q in z)
            D = gap**2 * np.mean([rounding_variance(-lr * p.X * r[:, None] / gap).mean(0) for r in residuals], axis=0)
        step = lr**2 * C + np.diag(D)
        S = _lyapunov(step, 1 - lr * a, V)
    return S, step


def _lyapunov(step: Array, q: Array, V: Array) -> Array:
    """Return the S with S = Q S Q + step, where Q has eigenvalues q and eigenvectors V."""
    return V @ (V.T @ step @ V / (1 - np.outer(q, q))) @ V.T


def averaged(p: LinearProblem, S: Array, lr: float, steps: int) -> float:
    """Return E|avg - w*|^2 of the mean of `steps` successive weights of stationary covariance S.

    Along an eigenvector of A with eigenvalue a, they are an autoregression with coefficient 1 - lr a.
    """
    a, V = np.linalg.eigh(p.hessian)
    rho = 1 - lr * a
    one = (1 + rho) / (1 - rho) - 2 * rho * (1 - rho**steps) / (steps * (1 - rho) ** 2)
    return float((np.diag(V.T @ S @ V) * one / steps).sum())


def predictions(s: dict[str, Any]) -> dict[str, Any]:
    """Return the floors by fraction bits ("float" for none), and the covariances they are the traces of."""
    p = problem(s["d"], s["n"])
    found = {fl: stationary(p, s["lr"], 0.0 if fl == "float" else 2.0**-fl)[0] for fl in ("float", *_all_fl(s))}
    return {"problem": p, "S": found, "floor": {fl: float(np.trace(S)) for fl, S in found.items()}}


def _all_fl(s: dict[str, Any]) -> list[int]:
    return sorted({s["fl"], *s["floor_fl"]})


# What is reported.


def _rows(results: Results, name: str) -> list[dict[str, Any]]:
    return results[name].get("rows", [])  # none where it diverged


def measured_floor(rows: list[dict[str, Any]]) -> float:
    """Return the mean squared distance of the weights over the run, each row for the steps it stands for."""
    if not rows:
        return math.nan
    return float(np.average([r["weights"] for r in rows], weights=np.diff([0, *(r["t"] for r in rows)])))


def fitted(rows: list[dict[str, Any]], what: str, start: int) -> float:
    """Return the exponent of T of the average's or the weights' squared distance, from step `start` on; NaN of none."""
    rows = [r for r in rows if r["t"] >= start]
    return slope([r["t"] for r in rows], [np.mean(r[what]) for r in rows]) if len(rows) > 1 else math.nan


def report(s: dict[str, Any], results: Results) -> Report:
    """Return the distances by T, the floors, and the verdicts."""
    theory = predictions(s)
    floors = {fl: measured_floor(_rows(results, _floor_run(s, fl))) for fl in _all_fl(s)}
    note = (f"Linear regression, {s['d']} weights, {s['n']} samples, one a step, learning rate {s['lr']}, weights in "
            f"fixed point with {s['fl']} fraction bits, stochastically rounded; {s['replicas']} replicas; T from "
            f"{s['warmup']} steps after the start. Distances are squared, those of weights over time.")  # fmt: skip
    return Report([_distances(s, results, theory), _floors(floors, theory)], _verdicts(s, results, floors, theory),
                  [note])  # fmt: skip


def _floor_run(s: dict[str, Any], fl: int) -> str:
    return "stochastic" if fl == s["fl"] else f"floor-{fl}"


def _distances(s: dict[str, Any], results: Results, theory: dict[str, Any]) -> Table:
    by = {name: {r["t"]: r for r in _rows(results, name)} for name in METHODS}
    rows = []
    for t in sorted(set().union(*by.values())):
        cells = [f"{np.mean(by[m][t][what]):.1e}" if t in by[m] else "diverged"
                 for m, what in (("float", "weights"), ("float", "average"), ("stochastic", "weights"),
                                 ("stochastic", "average"), ("nearest", "average"))]  # fmt: skip
        cells.insert(4, f"{averaged(theory['problem'], theory['S'][s['fl']], s['lr'], t):.1e}")
        rows.append([f"{t:.0e}" if t == 10 ** round(math.log10(t)) else f"{t:,}", *cells])
    return Table("Squared distance to the optimum after T steps.",
                 ["T", "SGD-FP", "SWA", "SGD-LP", "SWALP", "(theory)", "nearest, avg."], rows)  # fmt: skip


def _floors(floors: dict[int, float], theory: dict[str, Any]) -> Table:
    rows = [[str(fl), f"{floors[fl]:.3e}", f"{theory['floor'][fl]:.3e}", f"{floors[fl] / theory['floor'][fl] - 1:+.1%}"]
            for fl in floors]  # fmt: skip
    title = f"Floor of SGD-LP by fraction bits (in float, the gradients' noise alone: {theory['floor']['float']:.2e})."
    return Table(title, ["bits", "measured", "formula", "difference"], rows)


def _verdicts(s: dict[str, Any], results: Results, floors: dict[int, float], theory: dict[str, Any]) -> list[Verdict]:
    fits = {(m, what): fitted(_rows(results, m), what, s["fit_from"]) for m in METHODS
            for what in ("average", "weights")}  # fmt: skip
    control = fits["nearest", "average"]
    worst = max((abs(floors[fl] / theory["floor"][fl] - 1) for fl in floors), key=lambda x: (math.isnan(x), x))
    return [
        within("(a) SWALP's squared distance falls as a power of T, exponent", fits["stochastic", "average"], -1.15,
               -0.85, "{:.2f}"),
        within("(a) SWA's in float, exponent", fits["float", "average"], -1.15, -0.85, "{:.2f}"),
        within("(a) SGD-LP stalls, exponent", fits["stochastic", "weights"], -0.15, 0.15, "{:.2f}"),
        within("(b) SGD-LP's floor against the formula, largest difference", worst, -math.inf, 0.1, "{:.1%}"),
        Verdict("(d) rounding to nearest fails (a), exponent of its average", f"{control:.2f}",
                "outside of -1.15 to -0.85", not -1.15 <= control <= -0.85 and not math.isnan(control)),
    ]  # fmt: skip


def draw(figure: Any, s: dict[str, Any], results: Results) -> None:
    """Draw the distances against T, and the floors against the gap, both on logarithmic scales."""
    theory, (left, right) = predictions(s), figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_distances(left, s, results, theory)
    bits = _all_fl(s)
    gaps, excess = [2.0**-fl for fl in bits], theory["floor"]
    right.plot(gaps, [excess[fl] for fl in bits], "k--", lw=1, label="formula")
    measured = [measured_floor(_rows(results, _floor_run(s, fl))) for fl in bits]
    right.plot(gaps, measured, "C3o", label="SGD-LP, measured")
    right.axhline(excess["float"], color="C0", lw=1, label="SGD-FP, formula")
    right.set(xscale="log", yscale="log", xlabel="gap of the weights", title="floor of SGD-LP")
    right.set_xscale("log", base=2)
    right.grid(alpha=0.3)
    right.legend()


def _draw_distances(axes: Any, s: dict[str, Any], results: Results, theory: dict[str, Any]) -> None:
    lines = (("SGD-FP", "float", "weights", "C0--"), ("SWA", "float", "average", "C0-"),
             ("SGD-LP", "stochastic", "weights", "C3--"), ("SWALP", "stochastic", "average", "C3-"),
             ("average, rounded to nearest", "nearest", "average", "C7-."))  # fmt: skip
    for label, run_name, what, style in lines:
        rows = _rows(results, run_name)
        axes.plot([r["t"] for r in rows], [np.mean(r[what]) for r in rows], style, marker="o", ms=3, label=label)
    p = theory["problem"]
    t = np.geomspace(100, s["steps"], 50)
    for fl in ("float", s["fl"]):
        y = [averaged(p, theory["S"][fl], s["lr"], x) for x in t]
        axes.plot(t, y, "k:", lw=1, label="theory" if fl == "float" else None)
    nearest = squared(quantize(p.optimum, f"fixed{s['fl'] + 2}.{s['fl']}") - p.optimum)
    axes.axhline(nearest, color="k", lw=0.8, alpha=0.4, label="the optimum itself, rounded")
    axes.set(xscale="log", yscale="log", xlabel="steps T", ylabel="squared distance to the optimum",
             title=f"linear regression, {s['fl']} fraction bits")  # fmt: skip
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
