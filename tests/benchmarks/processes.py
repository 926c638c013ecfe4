"""How a training step scales over processes: measured with two, and a model of many from measured parts.

python -m tests.benchmarks.processes [measured|model]

Steps are those of `fit`, batch 128, SGD with momentum, PreResNet-20 unless said otherwise. Two cores measure no more
than two processes; the model adds up, for a process of one thread on a core of its own,

    compute   its samples, forward and backward, and the optimizer's update: processor time here, by samples a shard
    talk      exchanges of BatchNorm and of what was measured, counted here: latency * log2(p) and their bytes each
    gradients two exchanges of (p - 1) / p of them (`distributed.gradients`), and the sum of their tree

for a stated latency and bandwidth. It knows nothing of cores that share a memory bus, or of processes that wait for the
slowest.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import pickle
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

import lpnet as lp
from lpnet.distributed import processes, shards
from lpnet.training import Callback
from lpnet.training.exchange import Bfp8Rows

from ..distributed.programs import MPIEXEC, ROOT
from .ours import NETWORKS, batch, network

SHARDS, STEPS = 8, 3
SIDES = {  # processes, threads of each, options of init; None: whole batches
    "whole batches, 1 process of 2 threads": (1, 2, None),
    "1 process of 2 threads": (1, 2, {}),
    "2 processes of 1 thread": (2, 1, {}),
    "2 processes of 1 thread, compressed": (2, 1, {"compress": True}),
}
LINES = {"10 Gbit/s, 30 µs": (1.25e9, 30e-6), "1 Gbit/s, 100 µs": (1.25e8, 100e-6)}  # bytes a second, seconds


class Times(Callback):
    """Takes the time between steps, and the processor time of this process."""

    def __init__(self) -> None:
        self.at: list[list[float]] = []

    def on_step(self, run) -> None:
        self.at.append([time.perf_counter(), time.process_time()])


def steps(name: str, low: bool, number: int = STEPS, size: int = 128) -> list[list[float]]:
    """Return [seconds, processor time] of steps after one to warm up."""
    model, times, data = network(name, low), Times(), batch(NETWORKS[name], size)
    optimizer = lp.optim.SGD(model.parameters(), 0.01, momentum=0.9, precision="bfp8" if low else None)
    lp.fit(model, [data] * (number + 1), epochs=1, optimizer=optimizer, progress=False, callbacks=[times])
    return np.diff(times.at, axis=0).tolist()


def start(name: str, side: str, low: bool) -> list[float]:
    """Return the median seconds of a step and of its processor time, in processes of their own."""
    number, threads, _ = SIDES[side]
    launcher = [] if number == 1 else [str(MPIEXEC), "-n", str(number)]
    own_options = ["--network", name, *["--low"] * low]
    command = [*launcher, sys.executable, "-m", "tests.benchmarks.processes", "step", side, *own_options]
    own = {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    told = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **own}).stdout
    return [statistics.median(column) for column in zip(*json.loads(told), strict=True)]


def measured(name: str, rounds: int) -> None:
    """Print a table of all sides, in turn in each round."""
    print("| precision | | s a step | of whole batches' | processor time of a process, s |\n|---|---|---:|---:|---:|")
    for low in (False, True):
        found = {side: [] for side in SIDES}
        for _ in range(rounds):
            for side, times in found.items():
                times.append(start(name, side, low))
        whole = [seconds for seconds, _ in next(iter(found.values()))]
        for side, times in found.items():
            seconds, own = zip(*times, strict=True)
            ratios = sorted(a / b for a, b in zip(seconds, whole, strict=True))
            spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}..{ratios[-1]:.2f})"
            cells = "bfp8" if low else "float", side, f"{statistics.median(seconds):.3f}", spread
            print(f"| {' | '.join(cells)} | {statistics.median(own):.3f} |")


def processor_time(function: Callable[[], object], rounds: int = 5) -> float:
    """Return the median of processor seconds of a call, after one to warm up: what others do here counts little."""
    function()
    found = []
    while len(found) < rounds and sum(found) < 2:
        begun = time.process_time()
        function()
        found.append(time.process_time() - begun)
    return statistics.median(found)


def compute(name: str, low: bool) -> tuple[dict[int, float], float]:
    """Return the seconds of a shard by its number of samples, and of the optimizer's update."""
    model = network(name, low)
    optimizer = lp.optim.SGD(model.parameters(), 0.01, momentum=0.9, precision="bfp8" if low else None)

    def backward(n: int) -> None:
        x, y = batch(NETWORKS[name], n)
        optimizer.zero_grad()
        lp.functions.cross_entropy(model(lp.Tensor(x)), y).backward()

    times = {n: processor_time(lambda n=n: backward(n)) for n in (2, 4, 8, 16)}
    return times, processor_time(optimizer.step)


def talk(name: str, low: bool) -> tuple[int, float]:
    """Return how often the shards of a step exchange, and the mean bytes of what one of them says."""
    said, share = [], processes.World.share

    def counted(world, what, value=None):
        said.append(len(pickle.dumps(value)) / SHARDS)
        return share(world, what, value)

    processes.World.share = counted
    try:
        steps(name, low, 1, 2 * SHARDS)
        before = list(said)
        steps(name, low, 2, 2 * SHARDS)
    finally:
        processes.World.share = share
    count = len(said) - 2 * len(before)  # two steps and what a training has once, three steps and the same
    return count, (sum(said) - 2 * sum(before)) / count


def sums(numbers: int) -> dict[bool, tuple[float, float]]:
    """Return the seconds of rounding a shard's gradients and of adding two of them, compressed or not."""
    codes, x = Bfp8Rows(1), np.zeros((-(-numbers // Bfp8Rows.row), Bfp8Rows.row), np.float32)
    encoded = codes.encode(x, 0, 0)
    encode, decode = (processor_time(f, 9) for f in (lambda: codes.encode(x, 0, 0), lambda: codes.decode(encoded)))
    add = processor_time(lambda: shards.tree([x, x]), 9)
    return {False: (0, add), True: (encode, 2 * decode + add + encode)}


class Parts:
    """What is measured, and the model that it goes into."""

    def __init__(self, name: str, low: bool) -> None:
        lp.distributed.init(SHARDS)
        self.compute, self.update = compute(name, low)
        self.exchanges, self.said = talk(name, low)
        self.numbers = sum(p.size for p in network(name, low).parameters())
        self.sums = sums(self.numbers)

    def seconds(self, p: int, size: int, number: int, line: str, compress: bool) -> float:
        """Return the seconds of a step of p processes, for shards of so many samples, and so many of them."""
        (bandwidth, latency), own, hops = LINES[line], number // p, math.ceil(math.log2(p))
        rounding, adding = self.sums[compress]
        sent = self.numbers * (260 / 256 if compress else 4) * (p - 1) / p
        computed = own * (self.compute[size] + rounding) + (own - 1 + (p - 1) / p) * adding + self.update
        talked = self.exchanges * (latency * hops + self.said * own * (p - 1) / bandwidth)
        return computed + talked + latency * (p - 1 + hops) + 2 * sent / bandwidth

    def table(self) -> None:
        """Print the parts, and how many times as fast as one process so many are."""
        each = ", ".join(f"{n}: {1e3 * seconds:.1f}" for n, seconds in self.compute.items())
        print(f"\nms a shard, by samples: {each}; update {1e3 * self.update:.1f}")
        print(f"{self.exchanges} exchanges a step of {self.said:.0f} bytes a shard; {self.numbers} gradients")
        for compress, (rounding, adding) in self.sums.items():
            print(f"compressed {compress}: rounding {1e3 * rounding:.2f} ms, adding two {1e3 * adding:.2f} ms")
        lines = [(line, compress) for line in LINES for compress in (False, True)]
        head = [f"{line}{', compressed' * compress}" for line, compress in lines]
        for total in (128, 1024):
            print(f"\nbatch {total}\n\n| processes | samples a shard | {' | '.join(head)} |\n|---:|---:|{'---:|' * 4}")
            for p in (1, 2, 4, 8, 16, 32, 64):
                size = min(16, total // p)
                cells = []
                for line, compress in lines:
                    one = self.seconds(1, 16, total // 16, line, False)
                    cells.append(f"{one / self.seconds(p, size, total // size, line, compress):.1f}")
                print(f"| {p} | {size} | {' | '.join(cells)} |")


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("all", "measured", "model", "step"), default="all")
    parser.add_argument("side", nargs="?", choices=SIDES)
    parser.add_argument("--network", choices=NETWORKS, default="preresnet20")
    parser.add_argument("--low", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.what == "step":
        _, threads, options = SIDES[arguments.side]
        if options is not None:
            lp.distributed.init(SHARDS, **options)
        lp.set_num_threads(threads)
        print(json.dumps(steps(arguments.network, arguments.low)))
        return
    print(f"{time.strftime('%Y-%m-%d')}, {lp.backend.processors()} processors, NumPy {np.__version__}\n")
    if arguments.what != "model":
        measured(arguments.network, arguments.rounds)
    if arguments.what != "measured":
        lp.set_num_threads(1)
        for low in (False, True):
            print(f"\n{'bfp8' if low else 'float'}")
            Parts(arguments.network, low).table()


if __name__ == "__main__":
    main()
