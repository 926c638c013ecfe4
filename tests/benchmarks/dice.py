"""What a random byte in place of two saves: processor time of one thread, sides in turn, medians.

`python -m tests.benchmarks.dice [ROUNDS]` rounds 8.4 million numbers and trains PreResNet-20.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

import lpnet as lp

from .ours import NETWORKS, batch, network, trainer

SIDES = {"nearest": "nearest", "16 bits": "stochastic", "8 bits": lp.Stochastic(8)}


def numbers(name: str, rounding: str | lp.Stochastic) -> Callable[[], object]:
    """Return a function that rounds 8.4 million numbers to a format."""
    x = np.random.default_rng(0).standard_normal((8192, 1024), np.float32)
    return lambda: lp.quantize(x, name, rounding)


def step(rounding: str | lp.Stochastic) -> Callable[[], object]:
    """Return a function that takes a training step of PreResNet-20 in bfp8."""
    model, precision = network("preresnet20", low=False), lp.Precision.uniform("bfp8", rounding)
    lp.nn.lower(model, precision)
    return trainer(model, precision, *batch(NETWORKS["preresnet20"]))


def row(name: str, works: dict[str, Callable[[], object]], rounds: int) -> str:
    """Return a line of a Markdown table: milliseconds of each side, and the last by the one before it."""
    for work in works.values():
        work()
    found = []
    for _ in range(rounds):
        times = {}
        for side, work in works.items():
            start = time.process_time()
            work()
            times[side] = 1e3 * (time.process_time() - start)
        found.append(times)
    medians = [f"{statistics.median(times[side] for times in found):.4g}" for side in works]
    ratios = sorted(times["8 bits"] / times["16 bits"] for times in found)
    spread = f"{statistics.median(ratios):.3f} ({ratios[0]:.3f}..{ratios[-1]:.3f})"
    return f"| {' | '.join([name, *medians, spread])} |"


def main(rounds: int = 15) -> None:
    """Print a table."""
    lp.set_num_threads(1)
    print(f"| what | {', ms | '.join(SIDES)}, ms | 8 bits / 16 bits |\n|---|---:|---:|---:|---:|")
    for name in ("bfp8", "fixed8.6", "e4m3"):
        print(row(name, {side: numbers(name, how) for side, how in SIDES.items()}, rounds), flush=True)
    print(row("a step of preresnet20", {side: step(how) for side, how in SIDES.items()}, rounds), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
