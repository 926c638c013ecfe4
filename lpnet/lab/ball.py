"""The tab Noise ball: SGD-LP in a bowl, SWALP's average of it, and what theory says of both, as in chapter 07."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import lpnet as lp

from .fields import ROUNDINGS, Field, one_of, real, whole
from .program import arguments, fingerprint, program
from .work import Worker

FIELDS = (
    Field("bits", "Bits", "6", whole(3, 16), hint="gap 2^(1 - bits)"),
    Field("rounding", "Rounding", "stochastic", one_of(ROUNDINGS), ROUNDINGS),
    Field("lr", "Step size", "0.02", real(1e-4, 1)),
    Field("noise", "Gradient noise", "0.2", real(0, 10)),
    Field("start", "Averaging after", "500", whole(0, 20_000), hint="steps"),
    Field("cycle", "Cycle", "1", whole(1, 1000), hint="steps"),
    Field("steps", "Steps of averaging", "10000", whole(10, 100_000)),
    Field("copies", "Copies", "400", whole(1, 2000)),
    Field("seed", "Seed", "0", whole(0, 2**32)),
)
POINTS, DOTS = 80, 600  # of a curve, of the cloud


def bowl() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the best weights, how steep the bowl is along its axes, and A: loss(w) = (w - best) A (w - best) / 2."""
    best, steep, turn = np.array([0.075, -0.05]), np.array([1, 0.5]), np.array([[0.8, -0.6], [0.6, 0.8]])
    return best, steep, turn * steep @ turn.T


def iterates(
    bits: int, rounding: str, lr: float, noise: float, start: int, cycle: int, steps: int, copies: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yield after each step the weights of SGD-LP, (copies, 2), and SWALP's average of them, None before the first."""
    lp.manual_seed(seed)
    (best, _, A), rng = bowl(), np.random.default_rng(seed)
    layer = lp.nn.Linear(2, copies, bias=False)
    layer.weight.data = np.zeros((copies, 2))
    precision = lp.Precision(weight=lp.Quantizer(lp.FixedPoint(bits, bits - 1), rounding))
    optimizer = lp.optim.SGD(layer.parameters(), lr, precision=precision)
    swalp = lp.optim.SWALP(layer, optimizer, start, cycle)
    for _ in range(start + steps):
        w = layer.weight.data
        layer.weight.grad = (w - best) @ A + noise * rng.standard_normal(w.shape)
        optimizer.step()
        swalp.step()
        yield layer.weight.data, swalp.mean.get("weight")


def theory(bits: int, lr: float, noise: float, cycle: int, n: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the expected squared distance of SGD-LP, rounded stochastically, and of the mean of n of its weights."""
    _, steep, _ = bowl()
    gap, S, rho, k, n = 2.0 ** (1 - bits), np.zeros(2), 1 - lr * steep, np.arange(1, 400), n[:, None]
    for _ in range(9):  # the spread S adds to the steps' deviation s, and that to what rounding adds
        s = np.sqrt(noise**2 + (steep**2 * S).mean())
        G = 1 / 6 - (np.exp(-2 * (np.pi * k * lr * s / gap) ** 2) / (np.pi * k) ** 2).sum()
        S = ((lr * noise) ** 2 + gap**2 * G) / (1 - rho**2)
    r = rho**cycle  # what a weight keeps of its distance from one average to the next
    return S.sum(), (S / n * ((1 + r) / (1 - r) - 2 * r * (1 - r**n) / (n * (1 - r) ** 2))).sum(1)


MAIN = """settings = dict({settings})
best = bowl()[0]
for w, mean in iterates(**settings):
    pass
print("squared distance of SGD-LP", ((w - best) ** 2).sum(1).mean())
if mean is not None:
    print("squared distance of SWALP ", ((mean - best) ** 2).sum(1).mean())
print("fingerprint", hashlib.sha256(w.tobytes() + (b"" if mean is None else mean.tobytes())).hexdigest()[:16])
"""


def python(settings: dict[str, Any]) -> str:
    """Return the program that does the same."""
    imports = "import hashlib\nfrom collections.abc import Iterator\n\n"
    return program(bowl, iterates, main=MAIN.format(settings=arguments(settings)), imports=imports)


def distance(w: np.ndarray) -> float:
    """Return the mean squared distance to the best weights."""
    return float(((w - bowl()[0]) ** 2).sum(-1).mean())


@dataclass
class Lines:
    """What is drawn before the first step."""

    rings: list[list[list[float]]]  # where the loss is the same
    best: list[float]
    nearest: list[list[float]]  # [T, squared distance] of the numbers that are nearest to the best weights
    floor: list[list[float]]  # theory's for SGD-LP
    slope: list[list[float]]  # theory's for SWALP


def lines(settings: dict[str, Any]) -> Lines:
    """Return the bowl, and the lines of theory, which there are for stochastic rounding."""
    best, steep, _ = bowl()
    angle, turn = np.linspace(0, 2 * np.pi, 61), np.array([[0.8, -0.6], [0.6, 0.8]])
    circle = np.stack([np.cos(angle), np.sin(angle)], 1) / np.sqrt(steep)
    rings = [(best + depth / 8 * circle @ turn.T).tolist() for depth in range(1, 7)]
    fmt, T = lp.FixedPoint(settings["bits"], settings["bits"] - 1), _times(settings["steps"], settings["cycle"])
    nearest = distance(fmt.quantize(best))
    floor, slope = [], []
    if settings["rounding"] == "stochastic":
        low, curve = theory(settings["bits"], settings["lr"], settings["noise"], settings["cycle"], T)
        floor, slope = [[t, low] for t in T.tolist()], np.stack([T, curve], 1).tolist()
    if settings["cycle"] > 1:
        floor, slope = ([[t * settings["cycle"], y] for t, y in points] for points in (floor, slope))
    ends = [settings["cycle"], max(settings["steps"], settings["cycle"])]
    return Lines(rings, best.tolist(), [[t, nearest] for t in ends], floor, slope)


def _times(steps: int, cycle: int) -> np.ndarray:
    """Return how many weights were averaged when we look, about evenly on a scale of powers."""
    return np.unique(np.geomspace(1, max(steps // cycle, 1), POINTS).astype(int))


@dataclass
class Frame:
    """What the tab shows after a step."""

    step: int
    steps: int
    averaged: int
    cloud: list[list[float]]  # [x, y, share of visits] of one copy
    now: list[float]
    path: list[list[float]]  # of its average
    sgd: list[list[float]]  # [T, squared distance]
    swalp: list[list[float]]
    table: list[list[str]]
    fingerprint: str


class Record:
    """Collects what frames show."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self.start, self.cycle, self.steps = (settings[name] for name in ("start", "cycle", "steps"))
        self.gap = 2.0 ** (1 - settings["bits"])
        self.look = set((self.start + self.cycle * _times(self.steps, self.cycle)).tolist())
        self.visits: Counter[tuple[float, float]] = Counter()
        self.path: list[list[float]] = []
        self.sgd: list[list[float]] = []
        self.swalp: list[list[float]] = []
        self.drawn = 0

    def add(self, step: int, w: np.ndarray, mean: np.ndarray | None) -> None:
        """Take in a step."""
        if step == self.start + 1:  # we follow the copy that is farthest out when the averaging starts
            self.drawn = int(((w - bowl()[0]) ** 2).sum(1).argmax())
            self.visits.clear()
        self.visits[tuple(w[self.drawn].tolist())] += 1
        if step in self.look and mean is not None:
            self.path.append(mean[self.drawn].tolist())
            self.sgd.append([step - self.start, distance(w)])
            self.swalp.append([step - self.start, distance(mean)])

    def frame(self, step: int, w: np.ndarray, mean: np.ndarray | None) -> Frame:
        """Return what is to be shown."""
        most = self.visits.most_common(DOTS)
        cloud = [[*point, n / most[0][1]] for point, n in most]
        arrays = [w] if mean is None else [w, mean]
        path = self.path if mean is None else [*self.path, mean[self.drawn].tolist()]
        averaged = max(step - self.start, 0) // self.cycle
        return Frame(
            step,
            self.start + self.steps,
            averaged,
            cloud,
            w[self.drawn].tolist(),
            path,
            list(self.sgd),
            list(self.swalp),
            self.table(w, mean),
            fingerprint(*arrays),
        )

    def table(self, w: np.ndarray, mean: np.ndarray | None) -> list[list[str]]:
        """Return the rows of the table."""
        nearest = distance(lp.quantize(bowl()[0], f"fixed{round(1 - np.log2(self.gap))}.{round(-np.log2(self.gap))}"))
        rows = [["SGD-LP", f"{distance(w):.3g}"], ["SWALP", "-" if mean is None else f"{distance(mean):.3g}"]]
        return [*rows, ["nearest numbers of the format", f"{nearest:.3g}"], ["gap, squared", f"{self.gap**2:.3g}"]]


def job(worker: Worker, settings: dict[str, Any]) -> None:
    """Take the steps, showing frames."""
    record, last = Record(settings), settings["start"] + settings["steps"]
    for step, (w, mean) in enumerate(iterates(**settings), 1):
        record.add(step, w, mean)
        if worker.due() or step == last:
            worker.show(record.frame(step, w, mean))
        if step < last:
            worker.between()
