"""How fast a GPU trains and rounds, beside PyTorch and a copy."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import lpnet as lp
from lpnet import functions as F
from lpnet.training import GraphedStep

from .. import ours

Step = Callable[[], object]


def wait() -> None:
    """Wait until the GPU has done all that it was asked for."""
    sys.modules["cupy"].cuda.runtime.deviceSynchronize()


def seconds(function: Callable[[], Any], calls: int = 20, rounds: int = 7) -> float:
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


def queued(function: Callable[[], Any], calls: int = 20) -> float:
    """Return the time that a call takes the host: the GPU works on meanwhile."""
    wait()
    start = time.perf_counter()
    for _ in range(calls):
        function()
    passed = (time.perf_counter() - start) / calls
    wait()
    return passed


def steps() -> Iterator[str]:
    """A training step, batch 128, SGD with momentum.

    "Host" is the time until a step is asked for, "step" until it is done; PyTorch's graph shows its GPU's time.
    """
    yield "| network | framework | precision | host, ms | step, ms |\n|---|---|---|---:|---:|"
    for name in ours.NETWORKS:
        for what, precision, make in _sides(name):
            try:
                step = make()
                step()
                step()
                both = [f"{1e3 * passed:.2f}" for passed in (queued(step), seconds(step, 10))]
                yield f"| {name} | {what} | {precision} | {both[0]} | {both[1]} |"
            except Exception as error:  # no PyTorch, or QPyTorch does not build: the reason is the result
                yield f"| {name} | {what} | {precision} | NOT MEASURED: {_sentence(error)} | |"


def _sentence(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _sides(name: str) -> Iterator[tuple[str, str, Callable[[], Step]]]:
    yield "lpnet", "float32", lambda: our_step(name, False)
    yield "lpnet", "bfp8", lambda: our_step(name, True)
    yield "lpnet, graph", "float32", lambda: our_step(name, False, graph=True)
    yield "lpnet, graph", "bfp8", lambda: our_step(name, True, graph=True)
    yield "PyTorch", "float32", lambda: _their_step(name, False, tf32=False)
    yield "PyTorch", "TF32", lambda: _their_step(name, False, tf32=True)
    yield "PyTorch, graph", "TF32", lambda: _their_graph(name)
    yield "QPyTorch", "bfp8", lambda: _their_step(name, True, tf32=True)


def our_step(name: str, low: bool, graph: bool = False) -> Step:
    """Return a step on the GPU that waits for nothing; with `graph`, one that is recorded."""
    model = ours.network(name, low).to("cuda")
    optimizer = lp.optim.SGD(model.parameters(), 0.01, 0.9, 5e-4, precision="bfp8" if low else None)
    x, labels = (lp.to_device(a, "cuda") for a in ours.batch(ours.NETWORKS[name]))
    if graph:
        recorded = GraphedStep(model, optimizer)
        return lambda: recorded(x, labels)

    def step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(lp.Tensor(x)), labels).backward()
        optimizer.step()

    return step


def _their_step(name: str, low: bool, tf32: bool) -> Step:
    """Return the same step in PyTorch; with `low`, rounded by QPyTorch where `lower` rounds ours."""
    import torch

    from .. import peers

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = tf32
    model = peers.twin(ours.network(name, low)).cuda()
    optimizer = peers.optimizer(model, low)
    x, labels = (torch.from_numpy(a).cuda() for a in ours.batch(ours.NETWORKS[name]))

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), labels).backward()
        optimizer.step()

    return step


def _their_graph(name: str) -> Step:
    import torch

    step, stream = _their_step(name, False, tf32=True), torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(5):
            step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def launches(most: int = 14) -> Iterator[str]:
    """What a step of PreResNet-20 asks of the GPU, and for how long; by PyTorch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    for low in (False, True):
        step = our_step("preresnet20", low)
        step()
        step()
        with profile(activities=[ProfilerActivity.CUDA]) as found:
            step()
            wait()
        rows = sorted(found.key_averages(), key=lambda row: -row.self_device_time_total)
        total, count = sum(row.self_device_time_total for row in rows), sum(row.count for row in rows)
        memory = sys.modules["cupy"].get_default_memory_pool().total_bytes() >> 20
        yield f"{'bfp8' if low else 'float32'}: {count} launches, {total / 1e3:.2f} ms of the GPU's, {memory} MiB.\n"
        yield "| us | launches | kernel |\n|---:|---:|---|"
        yield from (f"| {row.self_device_time_total:.0f} | {row.count} | `{row.key[:90]}` |" for row in rows[:most])
        yield ""


def bandwidth(n: int = 1 << 28) -> Iterator[str]:
    """Rounding against a copy on the device: both read and write every number once, so their rates compare."""
    cupy = sys.modules["cupy"]
    x = cupy.asarray(np.resize(np.random.default_rng(0).standard_normal(1 << 20, np.float32), n).reshape(128, -1))
    y = cupy.empty_like(x)
    copy = seconds(lambda: cupy.copyto(y, x))
    yield "| what | GB/s | of the copy's |\n|---|---:|---:|"
    yield f"| copy | {8 * n / copy / 1e9:.0f} | 1 |"
    for name in ("bfp8", "bfp8:tensor", "bfp8:16", "fixed8.6", "e4m3", "mxfp8_e4m3", "nvfp4"):
        for rounding in ("stochastic", "nearest"):
            time_ = seconds(lambda: lp.quantize(x, name, rounding), 5)  # noqa: B023
            yield f"| {name}, {rounding} | {8 * n / time_ / 1e9:.0f} | {copy / time_:.2f} |"
