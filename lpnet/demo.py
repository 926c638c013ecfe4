"""The demonstration: a small CNN on the bundled digits in float, 8 and 4 bits, with and without SWALP."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import data, models, nn, optim, random
from .backend import choose_device, set_num_threads
from .checkpoint import atomic
from .precision import Precision
from .training import Row, evaluate, fit

EPOCHS, AVERAGED = 42, 1 / 3  # SWALP averages over the last third
CURVE = 2  # epochs between the points of the curves
LR, SWA_LR, MOMENTUM, WEIGHT_DECAY, BATCH = 0.1, 0.05, 0.9, 5e-4, 128


@dataclass(frozen=True)
class Method:
    """One row of the table."""

    name: str
    fmt: str | None  # of weights, activations, errors, gradients and momentum
    swalp: bool


METHODS = (
    Method("float, SGD", None, False),
    Method("8 bits, SGD-LP", "bfp8", False),
    Method("8 bits, SWALP", "bfp8", True),
    Method("4 bits, SGD-LP", "bfp4", False),
    Method("4 bits, SWALP", "bfp4", True),
)


@dataclass(frozen=True)
class Result:
    """Test errors in per cent with float activations and with those of the training, and the run's log."""

    errors: tuple[float, float]
    last_errors: tuple[float, float]  # of the weights after the last step, averaged or not
    log: list[Row]


def train_one(method: Method, seed: int, epochs: int, report: Callable[[Row], None] | bool = False,
              device: str = "cpu") -> Result:  # fmt: skip
    """Train from one seed and measure the final weights and their average."""
    random.manual_seed(seed)
    train, test = data.load("digits")
    # Shifts by up to a pixel: without them the network soon fits every image, and no gradient is left to be rounded.
    loader = data.DataLoader(train, BATCH, shuffle=True, seed=seed, transform=data.random_crop(1))
    test_loader = data.DataLoader(test, len(test))
    model = models.small_cnn().to(device)
    precision = Precision() if method.fmt is None else Precision.uniform(method.fmt)
    nn.lower(model, precision)
    optimizer = optim.SGD(model.parameters(), LR, MOMENTUM, WEIGHT_DECAY, precision=precision)
    start = round(epochs * (1 - AVERAGED)) if method.swalp else epochs
    swalp = optim.SWALP(model, optimizer, start * len(loader), len(loader), SWA_LR) if method.swalp else None
    log = fit(model, loader, test_loader, epochs=epochs, optimizer=optimizer, swalp=swalp, progress=report,
              schedule=optim.swalp_schedule(LR, start), evaluate_every=CURVE)  # fmt: skip

    def errors(final: nn.Module) -> tuple[float, float]:
        return tuple(_error(final, p, train, test_loader) for p in (None, precision))

    last = errors(model)
    return Result(errors(swalp.averaged) if swalp is not None else last, last, log)


def _error(model: nn.Module, precision: Precision | None, train: data.Dataset, test: data.DataLoader) -> float:
    """Return the test error with activations of that precision, BatchNorm's statistics estimated anew under it."""
    nn.lower(model, precision)
    optim.update_bn(model, data.DataLoader(train, BATCH))
    return evaluate(model, test)["error"]


def run(out: str | os.PathLike[str], seeds: int = 6, epochs: int = EPOCHS, progress: bool = True,
        device: str = "cpu") -> str:  # fmt: skip
    """Train every method from every seed, on all processors; write table.md and curves.png to `out`.

    Returns the table. Raises ValueError for fewer than two seeds (there would be no deviation) or three epochs.
    """
    if seeds < 2 or epochs < 3:
        raise ValueError(f"demo: needs at least 2 seeds and 3 epochs, got {seeds} and {epochs}")
    out, device = Path(out), choose_device(device)
    out.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    results = _train_all(seeds, epochs, progress, device)
    text = table(results, seeds, epochs) + f"\ntraining took {time.monotonic() - started:.0f} s\n"
    with atomic(out / "table.md", "w") as file:
        file.write(text)
    plot(results, out / "curves.png")
    return text


_epochs_done: Any = None  # in a worker: the count it shares with the others


def _start_worker(counter: Any) -> None:
    global _epochs_done
    _epochs_done = counter
    set_num_threads(1)  # one process a processor


def _work(method: Method, seed: int, epochs: int, device: str) -> Result:
    def report(_: Row) -> None:
        with _epochs_done.get_lock():
            _epochs_done.value += 1

    return train_one(method, seed, epochs, report, device)


def _train_all(seeds: int, epochs: int, progress: bool, device: str) -> dict[Method, list[Result]]:
    context = multiprocessing.get_context("spawn")
    counter = context.Value("i", 0)
    jobs = list(itertools.product(METHODS, range(seeds)))
    with ProcessPoolExecutor(os.cpu_count(), context, _start_worker, (counter,)) as pool:
        # The slow ones (low precision) first, so that no processor idles at the end.
        futures = {job: pool.submit(_work, *job, epochs, device) for job in reversed(jobs)}
        _watch(list(futures.values()), counter, len(jobs) * epochs, progress)
        return {m: [futures[m, seed].result() for seed in range(seeds)] for m in METHODS}


def _watch(futures: list[Future[Result]], counter: Any, total: int, progress: bool) -> None:
    """Show the epochs done until all runs are."""
    try:
        from tqdm import tqdm
    except ImportError:
        tqdm = None
    bar = tqdm(total=total, unit="epoch", ncols=79, leave=False) if progress and tqdm else None
    waiting = set(futures)
    while waiting:
        done, waiting = wait(waiting, timeout=0.5, return_when="FIRST_EXCEPTION")
        if any(future.exception() for future in done):
            break  # result() raises it
        if bar is not None:
            bar.update(counter.value - bar.n)
    if bar is not None:
        bar.close()


def table(results: dict[Method, list[Result]], seeds: int, epochs: int) -> str:
    """Return the test errors as a Markdown table."""
    lines = [
        f"Test error in %, mean ± standard deviation over {seeds} seeds, {epochs} epochs.",
        "A small CNN on 8x8 digits. Low precision: block floating point, stochastically",
        "rounded weights, activations, errors, gradients and momentum.",
        "",
        "| trained in         | evaluated in float | evaluated as trained |",
        "|--------------------|-------------------:|---------------------:|",
    ]
    for method, runs in results.items():
        lines.append(_row(method.name, [r.errors for r in runs]))
        if method.swalp:
            lines.append(_row("- its last weights", [r.last_errors for r in runs]))
    return "\n".join(lines) + "\n"


def _row(name: str, errors: list[tuple[float, float]]) -> str:
    exact, low = (f"{statistics.mean(e):.2f} ± {statistics.stdev(e):.2f}" for e in zip(*errors, strict=True))
    return f"| {name:18} | {exact:>18} | {low:>20} |"


def plot(results: dict[Method, list[Result]], path: Path) -> None:
    """Draw the test error of every method against the epoch, mean over seeds; nothing where matplotlib is missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for i, (method, runs) in enumerate(results.items()):
        key = "swalp_error" if method.swalp else "test_error"
        rows = [[r for r in run.log if key in r] for run in runs]
        points = [(same[0]["epoch"], statistics.mean(r[key] for r in same)) for same in zip(*rows, strict=True)]
        style = {"lw": 2.5, "marker": "."} if method.swalp else {"lw": 1, "marker": ""}
        axes.plot(*zip(*points, strict=True), f"C{(i + 1) // 2}", label=method.name, **style)
    axes.set(xlabel="epoch", ylabel="test error (%)", yscale="log", title="SWALP against SGD in low precision")
    axes.set_yticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    axes.grid(alpha=0.3, which="both")
    axes.legend()
    with atomic(path) as file:
        figure.savefig(file, format="png", dpi=120)
