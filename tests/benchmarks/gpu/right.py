"""Whether a GPU computes what the CPU does: kernels, cuBLAS, the tests, sums, many numbers, an epoch."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import lpnet as lp
from lpnet import backend
from lpnet.kernels.cuda import launch
from lpnet.kernels.cuda.cublas import cublas as handle
from lpnet.kernels.cuda.tensorcores import Products
from lpnet.random import Stream
from lpnet.rounding import MODES

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
FILES = ("quantize.cu", "windows.cu", "norm.cu", "optimizer.cu")
BATCH = 128


def kernels() -> Iterator[str]:
    """Every kernel compiles, and rounds to NumPy's bits.

    64 x 999 numbers of exponents from -60 to 60, zeros of both signs and subnormals, in seven modes.
    """
    yield "| file | float32, s | float64, s |\n|---|---:|---:|"
    for file in FILES:
        yield f"| {file} | {_compiled(file, False):.2f} | {_compiled(file, True):.2f} |"
    yield f"\n| format | {' | '.join(MODES)} |\n|---|{'---:|' * len(MODES)}"
    x = _numbers(64, 999, 60)
    x[:, ::7], x[:, 1::50], x[:, 2::50] = 0, -0.0, np.float32(1e-41)
    device = lp.to_device(x, "cuda")
    for name in FORMATS:
        yield f"| {name} | {' | '.join(str(_differing(x, device, name, mode)) for mode in MODES)} |"


def _compiled(file: str, double: bool) -> float:
    start = time.perf_counter()
    launch._module(file, double)
    return time.perf_counter() - start


def _numbers(rows: int, columns: int, exponents: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, columns), np.float32)
    return x * np.exp2(rng.integers(-exponents, exponents + 1, x.shape, np.int8).astype(np.float32))


def _differing(x: np.ndarray, device: Any, name: str, rounding: str) -> int:
    ours = lp.quantize(device, name, rounding, Stream(7)).get()
    return int((ours.view(np.uint32) != lp.quantize(x, name, rounding, Stream(7)).view(np.uint32)).sum())


def cublas() -> Iterator[str]:
    """Products of 8-bit integers on the real tensor cores.

    Eight shapes, alone, stacked and shared, as they lie and transposed: numbers that are not those of float64.
    """
    product, rng = _products(True), np.random.default_rng(0)
    shapes = ((5, 7, 3), (1, 4, 6), (6, 1, 2), (3, 5, 1), (64, 300, 48), (16, 144, 4096), (16, 27, 1000), (10, 64, 128))
    stacks, turned, calls, wrong = (((), ()), ((4,), (4,)), ((1,), (4,)), ((4,), (1,))), (False, True), 0, 0
    for (m, k, n), (one, other), a_turned, b_turned in itertools.product(shapes, stacks, turned, turned):
        a = rng.integers(-127, 128, (*one, *((k, m) if a_turned else (m, k)))).astype(np.float32)
        b = rng.integers(-127, 128, (*other, *((n, k) if b_turned else (k, n)))).astype(np.float32)
        both = [(x.swapaxes(-1, -2) if t else x) for x, t in ((a, a_turned), (b, b_turned))]
        ours = [
            (lp.to_device(x, "cuda").swapaxes(-1, -2) if t else lp.to_device(x, "cuda"))
            for x, t in ((a, a_turned), (b, b_turned))
        ]
        exact, calls = both[0].astype(np.float64) @ both[1].astype(np.float64), calls + 1
        if different := int((product(*ours).get() != exact).sum()):
            wrong += 1
            yield f"- {m} x {k} x {n}, stacks {one} {other}, transposed {a_turned} {b_turned}: {different} differ"
    yield f"{calls} calls, {wrong} of them with a number that differs."


def _products(tf32: bool) -> Products:
    cupy = sys.modules["cupy"]
    return Products(handle().on(cupy.cuda.get_current_stream()), cupy, tf32)


def tests() -> Iterator[str]:
    """The tests marked gpu."""
    # Plugins of others that are there by chance may warn as they start, which is an error here.
    without = ("-p", "no:cacheprovider", "-p", "no:benchmark")
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-n", "8", *without, "tests/gpu"]
    run = subprocess.run(command, cwd=Path(__file__).parents[3], capture_output=True, text=True)
    lines = run.stdout.strip().splitlines() or run.stderr.strip().splitlines()
    yield f"`pytest -m gpu`: {lines[-1]}"
    yield from (f"- {line}" for line in lines if line.startswith(("FAILED", "ERROR")))


def sums() -> Iterator[str]:
    """What tensor cores do to long sums of 8-bit integers.

    The error of a sum over K products in parts of the sum of their magnitudes: the largest, and the mean toward zero.
    Exact below 2^24 units, K <= 1040; beyond, tensor cores cut off what float32 would round.
    """
    cupy, rng = sys.modules["cupy"], np.random.default_rng(0)
    yield "| K | operands | TF32, largest | toward zero | float32, largest | toward zero |\n|---:|---|" + "---:|" * 4
    for k, kind in itertools.product((1040, 1041, 2048, 8192, 131072), ("all 127", "random", "random times 2^-8..2^0")):
        a, b = (rng.integers(-127, 128, shape).astype(np.float32) for shape in ((32, k), (k, 32)))
        a, b = (np.full_like(a, 127), np.full_like(b, 127)) if kind == "all 127" else (a, np.abs(b))
        if "times" in kind:
            a = a * np.exp2(rng.integers(-8, 1, k)).astype(np.float32)
        exact, size = a.astype(np.float64) @ b, np.abs(a).astype(np.float64) @ np.abs(b)
        found = []
        for product in (_products(True), _products(False)):
            error = (product(cupy.asarray(a), cupy.asarray(b)).get() - exact) / size
            found += [f"{np.abs(error).max():.1e}", f"{0 - (error * np.sign(exact)).mean():+.1e}"]
        yield f"| {k} | {kind} | {' | '.join(found)} |"


def bits(rows: int = 10_000, columns: int = 10_000) -> Iterator[str]:
    """Rounding 10^8 numbers on the GPU and on the CPU: numbers that differ in a bit.

    Normal numbers times powers of two from 2^-13 to 2^13, and zeros.
    """
    x, rng = _numbers(rows, columns, 13), np.random.default_rng(1)
    x[rng.integers(0, rows, rows), rng.integers(0, columns, rows)] = 0
    device = lp.to_device(x, "cuda")
    yield "| format | numbers | nearest | stochastic |\n|---|---:|---:|---:|"
    for name in FORMATS:
        counts = [_differing(x, device, name, rounding) for rounding in ("nearest", "stochastic")]
        yield f"| {name} | {x.size:.0e} | {counts[0]} | {counts[1]} |"


def epoch(samples: int | None = None) -> Iterator[str]:
    """An epoch of LeNet in bfp8 on MNIST, from one seed, on both.

    Rounded activations of the first step must have the same bits wherever all sums before them are exact: images are
    rounded to bfp8 first and biases are 0. Behind a loss on one sum the random bits still agree, so few numbers differ.
    """
    train, test = (part[:samples] for part in lp.data.load("mnist"))
    first = {device: _first_step(train, device) for device in backend.DEVICES}
    yield "| layer | activations | that differ |\n|---|---:|---:|"
    for (name, host), (_, device) in zip(*first.values(), strict=True):
        yield f"| {name} | {host.size} | {int((host != device).sum())} |"
    yield "\n| device | training loss | test error | seconds |\n|---|---:|---:|---:|"
    for device in reversed(backend.DEVICES):
        model, optimizer = _lenet(device)
        start = time.perf_counter()
        (row,) = lp.fit(
            model,
            lp.data.DataLoader(train, BATCH, shuffle=True),
            lp.data.DataLoader(test, 1000),
            epochs=1,
            optimizer=optimizer,
            progress=False,
            graph=True,
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
