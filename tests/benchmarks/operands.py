"""What operands of few bits cost: processor time of a training step, one thread, sides in turn, medians.

`python -m tests.benchmarks.operands [ROUNDS]`. "bypassed" has no product point at all: operations call kernels
themselves, as before there was one.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from unittest import mock

import numpy as np

import lpnet as lp
from lpnet.functions._product import Product
from lpnet.kernels import kernel

from .ours import NETWORKS, batch, network, trainer

NVFP4 = lp.Products(
    "nvfp4",
    "nvfp4:16x16",
    lp.Operand("nvfp4", "stochastic"),
    "nvfp4:16x16",
    lp.Operand("nvfp4", "stochastic", rotate=16),
    lp.Operand("nvfp4", rotate=16),
)
SIDES = {
    "products=None": None,
    "bypassed": None,
    "mxfp8_e4m3": lp.Products.uniform("mxfp8_e4m3"),
    "mxfp8_e4m3, stochastic": lp.Products.uniform("mxfp8_e4m3", "stochastic"),
    "nvfp4, 16x16 and rotated": NVFP4,
}


def step(name: str, side: str) -> Callable[[], float]:
    """Return a function that takes a training step of a network and returns the seconds of processor time it took."""
    model = network(name, low=False)
    if SIDES[side] is not None:
        lp.nn.lower(model, lp.Precision(products=SIDES[side]), (lp.nn.Conv2d, lp.nn.Linear))
    train = trainer(model, None, *batch(NETWORKS[name]))

    def timed() -> float:
        with bypassed() if side == "bypassed" else contextlib.nullcontext():
            start = time.process_time()
            train()
            return time.process_time() - start

    return timed


@contextlib.contextmanager
def bypassed() -> Iterator[None]:
    """Have operations of products call the kernels, as if there were nothing between."""
    direct = {
        "operand": lambda self, name, x, axis, groups=1: x,
        "matmul": lambda self, a, b: kernel("matmul", np)(a, b),
        "conv2d": lambda self, *arguments: kernel("conv2d", np)(*arguments),
    }
    with mock.patch.multiple(Product, **direct):
        yield


def main(rounds: int = 9) -> None:
    """Print a table."""
    lp.set_num_threads(1)
    print("| network | operands | s | times products=None, round by round |\n|---|---|---:|---:|")
    for name in ("lenet", "preresnet20"):
        steps = {side: step(name, side) for side in SIDES}
        for timed in steps.values():
            timed()
        found = [{side: timed() for side, timed in steps.items()} for _ in range(rounds)]
        for side in SIDES:
            ratios = sorted(one[side] / one["products=None"] for one in found)
            seconds = statistics.median(one[side] for one in found)
            spread = f"{statistics.median(ratios):.3f} ({ratios[0]:.3f}..{ratios[-1]:.3f})"
            print(f"| {name} | {side} | {seconds:.3f} | {spread} |", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
