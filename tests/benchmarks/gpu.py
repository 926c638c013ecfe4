"""What only a GPU can show, in one run: `make bench-gpu` writes the figures to tests/GPU.md.

Needs a GPU on which CuPy works, and MNIST where `lpnet.data.load` finds it (LPNET_DATA). PyTorch and QPyTorch are
compared with where they are installed; what could not be measured is written down with the reason.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import lpnet as lp
from lpnet import backend
from lpnet import functions as F
from lpnet.random import Stream

FILE = Path(__file__).parents[1] / "GPU.md"
FORMATS = (
    "fp16",
    "bf16",
    "e5m2",
    "e4m3",
    "fixed8.6",
    "bfp8",
    "bfp4",
    "bfp8:tensor",
    "bfp8:16",
    "mxfp8_e4m3",
    "mxfp4_e2m1",
    "mxint8",
    "nvfp4",
)
BATCH = 128


def main() -> int:
    """Measure everything and write the file; returns 1, and leaves the file alone, where there is no GPU."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=FILE, help="file for the figures")
    arguments = parser.parse_args()
    if (problem := backend.cuda_problem()) is not None:
        print(f"NOTHING WAS MEASURED, there is no GPU: {problem}", file=sys.stderr)
        return 1
    text = "\n".join(report())
    arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def report() -> Iterator[str]:
    """Yield the file's lines, part by part; a part that fails says why and the others go on."""
    yield from ("# On a real GPU", "", f"Run by `make bench-gpu` on {datetime.date.today()} at commit {commit()}.", "")
    yield from (f"{where()}.", "")
    for part in (tests, bits, epoch, bandwidth, steps):
        yield from (f"## {part.__doc__.splitlines()[0].rstrip('.')}", "")
        try:
            yield from part()
        except Exception as error:  # to be written down, not to lose what the other parts measure
            yield f"NOT MEASURED: {type(error).__name__}: {' '.join(str(error).split())}"
        yield ""


def commit() -> str:
    """Return the commit, with a mark if there are changes that are not in it."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(command, cwd=FILE.parent, capture_output=True, text=True).stdout.strip() or "unknown"


def where() -> str:
    """Return the device and the versions."""
    cupy = sys.modules["cupy"]
    device = cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()
    versions = cupy.cuda.runtime.driverGetVersion(), cupy.cuda.runtime.runtimeGetVersion()
    return (
        f"{device}; CUDA driver {versions[0]}, runtime {versions[1]}; CuPy {cupy.__version__}, "
        f"NumPy {np.__version__}, Python {platform.python_version()}"
    )


def tests() -> Iterator[str]:
    """The tests marked gpu."""
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", "tests/gpu"]
    run = subprocess.run(command, cwd=FILE.parents[1], capture_output=True, text=True)
    yield f"`pytest -m gpu`: {run.stdout.strip().splitlines()[-1]}"
    yield from (f"- {line}" for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR")))


def bits(rows: int = 10_000, columns: int = 10_000) -> Iterator[str]:
    """Rounding on the GPU and on the CPU: numbers that differ in a bit.

    Normal numbers times powers of two from 2^-13 to 2^13, and zeros.
    """
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, columns), np.float32)
    x *= np.exp2(rng.integers(-13, 14, (rows, columns), np.int8).astype(np.float32))
    x[rng.integers(0, rows, rows), rng.integers(0, columns, rows)] = 0
    device = lp.to_device(x, "cuda")
    yield from ("| format | numbers | nearest | stochastic |\n|---|---:|---:|---:|",)
    for name in FORMATS:
        counts = [_differing(x, device, name, rounding) for rounding in ("nearest", "stochastic")]
        yield f"| {name} | {x.size:.0e} | {counts[0]} | {counts[1]} |"


def _differing(x: np.ndarray, device: Any, name: str, rounding: str) -> int:
    ours = lp.quantize(device, name, rounding, Stream(7)).get()
    return int((ours.view(np.uint32) != lp.quantize(x, name, rounding, Stream(7)).view(np.uint32)).sum())


def epoch(samples: int | None = None) -> Iterator[str]:
    """An epoch of LeNet in bfp8 on MNIST, from one seed.

    Rounded activations of the first step must have the same bits wherever all sums before them are exact: images are
    rounded to bfp8 first and biases are 0. Behind a loss on one sum the random bits still agree, so few numbers differ.
    """
    train, test = (part[:samples] for part in lp.data.load("mnist"))
    first = {device: _first_step(train, device) for device in backend.DEVICES}
    yield "| layer | activations | that differ |\n|---|---:|---:|"
    for (name, host), (_, device) in zip(*first.values(), strict=True):
        yield f"| {name} | {host.size} | {int((host != device).sum())} |"
    yield "\n| device | training loss | test error | seconds |\n|---|---:|---:|---:|"
    for device in backend.DEVICES:
        model, optimizer = _lenet(device)
        start = time.perf_counter()
        (row,) = lp.fit(
            model,
            lp.data.DataLoader(train, BATCH, shuffle=True),
            lp.data.DataLoader(test, 1000),
            epochs=1,
            optimizer=optimizer,
            progress=False,
        )
        passed = time.perf_counter() - start
        yield f"| {device} | {row['train_loss']:.4f} | {row['test_error']:.2f} % | {passed:.1f} |"


def _lenet(device: str) -> tuple[lp.nn.Module, lp.optim.Optimizer]:
    lp.manual_seed(0)
    model = lp.models.lenet().to(device)
    lp.nn.lower(model, "bfp8")
    return model, lp.optim.SGD(model.parameters(), 0.05, 0.9, 5e-4, precision="bfp8")


def _first_step(train: lp.data.Dataset, device: str) -> list[tuple[str, np.ndarray]]:
    """Return what each rounded layer puts out for the first batch."""
    model, _ = _lenet(device)
    for name, p in model.named_parameters():
        if name.endswith("bias"):
            p.data = p.data * 0
    x = lp.quantize(train.normalize(train.scaled(np.arange(BATCH))), "bfp8")
    seen: list[tuple[str, np.ndarray]] = []
    names = {id(m): name for name, m in model.named_modules() if m.precision is not None}

    def note(module: lp.nn.Module, y: lp.Tensor) -> None:
        if id(module) in names:
            seen.append((names[id(module)], y.numpy()))

    lp.nn.module.forward_hooks.append(note)
    try:
        model(lp.quantize(lp.to_device(x, device), "bfp8"))
    finally:
        lp.nn.module.forward_hooks.remove(note)
    return seen


def seconds(function: Callable[[], Any], wait: Callable[[], None], calls: int = 20, rounds: int = 7) -> float:
    """Return the median time of a call, of rounds of calls that are waited for together."""
    times = []
    for _ in range(rounds + 1):
        wait()
        start = time.perf_counter()
        for _ in range(calls):
            function()
        wait()
        times.append((time.perf_counter() - start) / calls)
    return statistics.median(times[1:])  # the first compiles


def bandwidth(n: int = 1 << 28) -> Iterator[str]:
    """Rounding against a copy on the device: both read and write every number once, so their rates compare."""
    cupy = sys.modules["cupy"]
    wait = cupy.cuda.runtime.deviceSynchronize
    x = cupy.asarray(np.resize(np.random.default_rng(0).standard_normal(1 << 20, np.float32), n).reshape(128, -1))
    y = cupy.empty_like(x)
    copy = seconds(lambda: cupy.copyto(y, x), wait)
    yield "| what | GB/s | of the copy's |\n|---|---:|---:|"
    yield f"| copy | {8 * n / copy / 1e9:.0f} | 1 |"
    for name in ("bfp8", "bfp8:tensor", "bfp8:16", "fixed8.6", "e4m3", "mxfp8_e4m3", "nvfp4"):
        for rounding in ("stochastic", "nearest"):
            time_ = seconds(lambda: lp.quantize(x, name, rounding), wait, 5)  # noqa: B023
            yield f"| {name}, {rounding} | {8 * n / time_ / 1e9:.0f} | {copy / time_:.2f} |"


def steps() -> Iterator[str]:
    """A step of PreResNet-20, batch 128, SGD with momentum."""
    cupy = sys.modules["cupy"]
    yield "| framework | precision | ms a step |\n|---|---|---:|"
    for low in (False, True):
        passed = seconds(_our_step(low), cupy.cuda.runtime.deviceSynchronize, 10)
        yield f"| lpnet | {'bfp8' if low else 'float32'} | {1e3 * passed:.2f} |"
    for name, low in (("PyTorch", False), ("PyTorch + QPyTorch", True)):
        try:
            import torch

            passed = seconds(_their_step(low), torch.cuda.synchronize, 10)
            yield f"| {name} | {'bfp8' if low else 'float32'} | {1e3 * passed:.2f} |"
        except Exception as error:  # no PyTorch, no GPU for it, or QPyTorch does not build: the reason is the result
            yield f"| {name} | NOT MEASURED: {type(error).__name__}: {' '.join(str(error).split())} | |"


def _images() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((BATCH, 3, 32, 32), np.float32), rng.integers(0, 10, BATCH)


def _our_step(low: bool) -> Callable[[], None]:
    lp.manual_seed(0)
    model = lp.models.preresnet20().to("cuda")
    lp.nn.lower(model, "bfp8" if low else None)
    optimizer = lp.optim.SGD(model.parameters(), 0.01, 0.9, 5e-4, precision="bfp8" if low else None)
    x, labels = (lp.to_device(a, "cuda") for a in _images())

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(lp.Tensor(x)), labels).backward()
        optimizer.step()

    return step


def _their_step(low: bool) -> Callable[[], None]:
    """Return the same step in PyTorch; with `low`, rounded by QPyTorch where `lower` rounds ours."""
    import torch
    from torch import nn

    rounded: Callable[[], nn.Module] = nn.Identity
    if low:
        import qtorch
        from qtorch import optim, quant

        number = qtorch.BlockFloatingPoint(wl=8, dim=0)
        kinds = {"forward_number": number, "forward_rounding": "stochastic"}
        rounded = lambda: quant.Quantizer(**kinds, backward_number=number, backward_rounding="stochastic")  # noqa: E731

    def conv(a: int, b: int, kernel: int = 3, stride: int = 1) -> nn.Module:
        return nn.Sequential(nn.Conv2d(a, b, kernel, stride, kernel // 2, bias=False), rounded())

    class Block(nn.Module):
        def __init__(self, a: int, b: int, stride: int) -> None:
            super().__init__()
            self.body = nn.Sequential(
                nn.BatchNorm2d(a),
                nn.ReLU(),
                rounded(),
                conv(a, b, 3, stride),
                nn.BatchNorm2d(b),
                nn.ReLU(),
                rounded(),
                conv(b, b),
            )
            self.shortcut = conv(a, b, 1, stride) if a != b else nn.Identity()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x) + self.shortcut(x)

    widths = [16] * 4 + [32] * 3 + [64] * 3
    blocks = [Block(a, b, b // a) for a, b in itertools.pairwise(widths)]
    model = nn.Sequential(
        conv(3, 16),
        *blocks,
        nn.BatchNorm2d(64),
        nn.ReLU(),
        rounded(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    ).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    if low:
        q = quant.quantizer(**kinds)
        optimizer = optim.OptimLP(optimizer, weight_quant=q, grad_quant=q, momentum_quant=q)
    x, labels = (torch.from_numpy(a).cuda() for a in _images())

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    sys.exit(main())
