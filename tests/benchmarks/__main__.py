"""lpnet against PyTorch and QPyTorch on the CPU: `make bench`, or one table: `... -m tests.benchmarks steps`.

Both sides run in turn in one process, on the same arrays, with the same number of threads; a ratio above 1 says that
lpnet is that many times as fast. Tables are Markdown.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator

import gfloat
import ml_dtypes
import numpy as np
import torch
from gfloat.formats import format_info_ocp_e4m3
from qtorch import quant

import lpnet as lp
import lpnet.functions as F
from lpnet.backend import get_num_threads, parallel, set_num_threads, slices
from lpnet.models import preresnet
from lpnet.random import bits

from . import peers
from .memory import WAYS
from .ours import BATCH, NETWORKS, batch, lowered, network, trainer
from .timing import Comparison, compare, median

HEADER = "| {} | lpnet, ms | peer, ms | peer / lpnet |\n|{}---:|---:|---:|"
SHAPES = ((3, 32, 32), (16, 32, 32), (32, 16, 16), (64, 16, 16), (128, 8, 8), (256, 8, 8))  # channels, height, width


def head(*names: str) -> str:
    """Return the first two lines of a table of comparisons."""
    return HEADER.format(" | ".join(names), "---|" * len(names))


def machine() -> Iterator[str]:
    """What bounds the rest: matrix products, copies, random bits on all threads."""
    yield "| what | lpnet | PyTorch |\n|---|---:|---:|"
    rng, n, threads = np.random.default_rng(0), 1024, get_num_threads()
    a, b = (rng.standard_normal((threads, n, n), np.float32) for _ in range(2))
    ta, tb = map(torch.from_numpy, (a, b))
    flops = threads * 2e-9 * n**3
    both = compare(lambda: parallel(lambda i: a[i] @ b[i], range(threads)), lambda: ta @ tb)
    yield "| products of 1024x1024 matrices, GFLOP/s | {:.0f} | {:.0f} |".format(*(flops / t for t in both.medians))
    x = rng.standard_normal(1 << 23, np.float32)
    t, y, z = torch.from_numpy(x), torch.empty(1 << 23), np.empty_like(x)
    pieces = slices(x.size, 1)
    both = compare(lambda: parallel(lambda s: np.copyto(z[s], x[s]), pieces), lambda: y.copy_(t))
    yield "| a copy of 34 MB, GB/s read and written | {:.0f} | {:.0f} |".format(
        *(8e-9 * x.size / seconds for seconds in both.medians)
    )
    seconds = median(lambda: parallel(lambda i: bits(0, i, 0, 1 << 21), range(threads)))
    yield f"| random bits, 16 a number, millions of numbers a second | {threads * 2**21 / seconds / 1e6:.0f} | |"


def quantizers() -> Iterator[str]:
    """Rounding 8.4 million numbers."""
    yield head("format", "rounding", "peer")
    x = np.random.default_rng(0).standard_normal((128, 64, 32, 32), np.float32)
    t = torch.from_numpy(x)
    theirs: dict[str, Callable[[str], torch.Tensor]] = {
        "bfp8": lambda mode: quant.block_quantize(t, wl=8, dim=0, rounding=mode),
        "bfp8:tensor": lambda mode: quant.block_quantize(t, wl=8, dim=-1, rounding=mode),
        "fixed8.6": lambda mode: quant.fixed_point_quantize(t, wl=8, fl=6, rounding=mode),
        "e4m3": lambda mode: quant.float_quantize(t, exp=4, man=3, rounding=mode),
    }
    for mode in ("stochastic", "nearest"):
        for name, function in theirs.items():
            yield compare(lambda: lp.quantize(x, name, mode), lambda: function(mode)).row(name, mode, "QPyTorch")  # noqa: B023
    few = x.ravel()[: 1 << 20]
    cast = compare(lambda: lp.quantize(x, "e4m3"), lambda: x.astype(ml_dtypes.float8_e4m3fn).astype(np.float32))
    yield cast.row("e4m3", "nearest", "ml_dtypes")
    cast = compare(lambda: lp.quantize(few, "e4m3"), lambda: gfloat.round_ndarray(format_info_ocp_e4m3, few))
    yield cast.row("e4m3, 1 M", "nearest", "gfloat")


def convolution() -> Iterator[str]:
    """3x3 convolutions of a batch, from `channels` to as many (at least 16), float."""
    yield head("channels, height, width", "direction")
    rng = np.random.default_rng(0)
    for c, h, w in SHAPES:
        x, W = rng.standard_normal((BATCH, c, h, w), np.float32), rng.standard_normal((max(c, 16), c, 3, 3), np.float32)
        gy = rng.standard_normal((BATCH, max(c, 16), h, w), np.float32)
        ours, theirs = _our_convolution(x, W, gy), _their_convolution(x, W, gy)
        for direction, a, b in zip(("forward", "forward and backward"), ours, theirs, strict=True):
            yield compare(a, b).row(f"{c}, {h}, {w}", direction)


def _our_convolution(x: np.ndarray, W: np.ndarray, gy: np.ndarray) -> tuple[Callable[[], object], ...]:
    def forward(grad: bool = False) -> lp.Tensor:
        return F.conv2d(lp.Tensor(x, requires_grad=grad), lp.Tensor(W, requires_grad=grad), padding=1)

    return forward, lambda: forward(True).backward(gy)


def _their_convolution(x: np.ndarray, W: np.ndarray, gy: np.ndarray) -> tuple[Callable[[], object], ...]:
    x, W, gy = (torch.from_numpy(a) for a in (x, W, gy))

    def forward(grad: bool = False) -> torch.Tensor:
        return torch.nn.functional.conv2d(
            x.clone().requires_grad_(grad) if grad else x, W.clone().requires_grad_(grad) if grad else W, padding=1
        )

    return forward, lambda: forward(True).backward(gy)


def _step(name: str, low: bool) -> Comparison:
    x, labels = batch(NETWORKS[name])
    model = network(name, low)
    theirs = peers.trainer(peers.twin(model), low, x, labels)
    return compare(trainer(model, "bfp8" if low else None, x, labels), theirs, rounds=5, least=1.5)


def steps() -> Iterator[str]:
    """One training step, batch 128, SGD with momentum; the peer is PyTorch, with QPyTorch at 8 bits."""
    yield head("network", "precision")
    for name in NETWORKS:
        for low in (False, True):
            yield _step(name, low).row(name, "bfp8" if low else "float")


def interop() -> Iterator[str]:
    """One training step in PyTorch, batch 128: rounding by lpnet.interop.torch against QPyTorch's."""
    yield head("network", "precision")
    for name in NETWORKS:
        data, model = batch(NETWORKS[name]), network(name, low=True)
        ours, theirs = (
            peers.trainer(peers.twin(model, side), True, *data, side) for side in (peers.LPNET, peers.QPYTORCH)
        )
        yield compare(ours, theirs, rounds=5, least=1.5).row(name, "bfp8")


def memory() -> Iterator[str]:
    """Peak memory of training steps beyond that of the imports, in MB, by what backward keeps; each in a process."""
    yield f"| network | batch | {' | '.join(WAYS)} |\n|---|---:|{'---:|' * len(WAYS)}"
    for name in NETWORKS:
        for n in (32, BATCH):
            yield f"| {name} | {n} | {' | '.join(_peak(name, way, n) for way in WAYS)} |"


def _peak(name: str, way: str, n: int) -> str:
    command = [sys.executable, "-m", "tests.benchmarks.memory", name, way, str(n)]
    return f"{float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout):.0f}"


def scaling() -> Iterator[str]:
    """Time of a training step in bfp8 against batch, width, depth and threads."""
    yield "| network | batch | threads | ms | per sample and step, us |\n|---|---:|---:|---:|---:|"
    networks: dict[str, Callable[[], lp.nn.Module]] = {}
    for n in (1, 3, 6):
        networks[f"PreResNet, {6 * n + 2} layers"] = functools.partial(preresnet.PreResNet, n, False, 10, 3)
    for n in (16, 32, 64):
        networks[f"two convolutions, {n} and {2 * n} channels"] = functools.partial(lp.models.small_cnn, 10, 3, 32, n)
    for name, make in networks.items():
        for n in (32, 128, 512) if name == "PreResNet, 20 layers" else (BATCH,):
            yield _scaling_row(name, make, n)
    threads = get_num_threads()
    try:
        for n in range(1, threads):
            set_num_threads(n)
            yield _scaling_row("PreResNet, 20 layers", networks["PreResNet, 20 layers"], BATCH)
    finally:
        set_num_threads(threads)


def _scaling_row(name: str, make: Callable[[], lp.nn.Module], n: int) -> str:
    seconds = median(trainer(lowered(make(), True), "bfp8", *batch((3, 32, 32), n)), least=0.5)
    return f"| {name} | {n} | {get_num_threads()} | {1e3 * seconds:.4g} | {1e6 * seconds / n:.0f} |"


TABLES = {f.__name__: f for f in (machine, quantizers, convolution, steps, interop, memory, scaling)}


def main() -> None:
    """Print the tables asked for, or all."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks", description=__doc__)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{', '.join(TABLES)}; none: all")
    arguments = parser.parse_args()
    if unknown := set(arguments.tables) - set(TABLES):
        parser.error(f"unknown table {min(unknown)!r}; the tables are {', '.join(TABLES)}")
    torch.set_num_threads(get_num_threads())
    print(
        f"{datetime.date.today()}, {platform.machine()}, {get_num_threads()} threads of {os.cpu_count()} processors, "
        f"Python {platform.python_version()}, NumPy {np.__version__}, PyTorch {torch.__version__}"
    )
    for name in arguments.tables or TABLES:
        print(f"\n### {name}: {TABLES[name].__doc__}\n", flush=True)
        for line in TABLES[name]():
            print(line, flush=True)


if __name__ == "__main__":
    main()
