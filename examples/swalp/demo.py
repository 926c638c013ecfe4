"""The demonstration: a small CNN on the bundled digits in float, 8 and 4 bits, with and without SWALP."""

from __future__ import annotations

import copy
import itertools
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from .. import data, models, nn, optim, picture, random
from ..backend import choose_device, processors
from ..files import atomic_write
from ..precision import Precision
from ..sweeps import Run, sweep
from ..tables import markdown
from ..training import Row, evaluate, fit

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


class Result(TypedDict):
    """Test errors in per cent with float activations and with those of the training, and the curve of the former."""

    errors: Sequence[float]
    last_errors: Sequence[float]  # of the weights after the last step, averaged or not
    curve: Sequence[Sequence[float]]  # (epoch, error as in errors[0]); SWALP's begins with its first average


def train_one(method: Method, seed: int, epochs: int, device: str = "cpu") -> Result:
    """Train from one seed and measure the final weights and their average, all in the same way."""
    random.manual_seed(seed)
    train, test = data.load("digits")
    loader = _loader(train, seed)
    test_loader = data.DataLoader(test, len(test))
    model = models.small_cnn().to(device)
    precision = Precision() if method.fmt is None else Precision.uniform(method.fmt)
    nn.lower(model, precision)
    optimizer = optim.SGD(model.parameters(), LR, MOMENTUM, WEIGHT_DECAY, precision=precision)
    start = round(epochs * (1 - AVERAGED)) if method.swalp else epochs
    swalp = optim.SWALP(model, optimizer, start * len(loader), len(loader), SWA_LR) if method.swalp else None
    curve: list[tuple[float, float]] = []

    def errors(final: nn.Module) -> list[float]:
        return [_error(final, p, train, test_loader) for p in (None, precision)]

    def note(row: Row) -> None:
        epoch = row["epoch"]
        if (epoch % CURVE == 0 or epoch == epochs) and (swalp is None or swalp.n_averaged):
            curve.append((epoch, _error(model if swalp is None else swalp.averaged, None, train, test_loader)))

    fit(
        model,
        loader,
        epochs=epochs,
        optimizer=optimizer,
        swalp=swalp,
        progress=note,
        schedule=optim.swalp_schedule(LR, start),
    )
    last = errors(model)
    return Result(errors=last if swalp is None else errors(swalp.averaged), last_errors=last, curve=curve)


def _error(model: nn.Module, precision: Precision | None, train: data.Dataset, test: data.DataLoader) -> float:
    """Return the test error with activations of that precision, BatchNorm's statistics estimated anew under it."""
    model = copy.deepcopy(model)  # the training goes on with its own
    nn.lower(model, precision)
    optim.update_bn(model, _loader(train, seed=2**32))
    return evaluate(model, test)["error"]


def _loader(train: data.Dataset, seed: int) -> data.DataLoader:
    # Shifts by up to a pixel: without them the network soon fits every image, and no gradient is left to be rounded.
    return data.DataLoader(train, BATCH, shuffle=True, seed=seed, transform=data.random_crop(1))


def run(
    out: str | os.PathLike[str], seeds: int = 6, epochs: int = EPOCHS, progress: bool = True, device: str = "cpu"
) -> str:
    """Train every method from every seed, on all processors; write table.md and curves.png to `out`.

    Returns the table; progress: print it, and what is done before. Raises ValueError for fewer than two seeds (there
    would be no deviation) or three epochs.
    """
    if seeds < 2 or epochs < 3:
        raise ValueError(f"demo: needs at least 2 seeds and 3 epochs, got {seeds} and {epochs}")
    out, device = Path(out), choose_device(device)
    out.mkdir(parents=True, exist_ok=True)
    tell = print if progress else lambda text: None
    started = time.monotonic()
    results = _train_all(seeds, epochs, tell, device)
    text = table(results, seeds, epochs) + f"\ntraining took {time.monotonic() - started:.0f} s\n"
    with atomic_write(out / "table.md", "w") as file:
        file.write(text)
    tell(f"\n{text}")
    if plot(results, out / "curves.png"):
        tell(f"curves: {out / 'curves.png'}")
    return text


def _train_all(seeds: int, epochs: int, tell: Callable[[str], Any], device: str) -> dict[Method, list[Result]]:
    total, jobs, ended = len(METHODS) * seeds, processors(), itertools.count(1)
    tell(f"{total} runs of {epochs} epochs, {min(jobs, total)} at a time")

    def note(run: Run) -> None:
        if not run.error:
            error = run.result["errors"][0]
            method = run.point["method"].name
            tell(f"{next(ended):3} of {total}: {method}, seed {run.seed}: test error {error:.2f} %")

    # The slow ones (low precision) first, so that no processor idles at the end.
    grid = {"method": METHODS[::-1], "epochs": epochs, "device": device}
    found = sweep(train_one, grid, seeds, jobs, progress=note)
    found.raise_first_error()
    return {m: [run.result for run in found.runs if run.point["method"] == m] for m in METHODS}


def table(results: dict[Method, list[Result]], seeds: int, epochs: int) -> str:
    """Return the test errors as a Markdown table."""
    rows = []
    for method, runs in results.items():
        rows.append(_row(method.name, [r["errors"] for r in runs]))
        if method.swalp:
            rows.append(_row("- its last weights", [r["last_errors"] for r in runs]))
    return "\n".join(
        [
            f"Test error in %, mean ± standard deviation over {seeds} seeds, {epochs} epochs.",
            "A small CNN on 8x8 digits. Low precision: block floating point, stochastically",
            "rounded weights, activations, errors, gradients and momentum. BatchNorm's",
            "statistics are estimated anew each time; the picture shows the first column.",
            "",
            markdown(["trained in", "evaluated in float", "evaluated as trained"], rows),
            "",
        ]
    )


def _row(name: str, errors: list[Sequence[float]]) -> list[str]:
    return [name, *(f"{statistics.mean(e):.2f} ± {statistics.stdev(e):.2f}" for e in zip(*errors, strict=True))]


def plot(results: dict[Method, list[Result]], path: Path) -> bool:
    """Draw the table's first column against the epoch, mean over seeds; returns whether there is a picture."""
    return picture.try_save(path, (8, 4.5), lambda figure: _draw(figure, results))


def _draw(figure: Any, results: dict[Method, list[Result]]) -> None:
    axes = figure.subplots()
    for i, (method, runs) in enumerate(results.items()):
        curves = zip(*(run["curve"] for run in runs), strict=True)
        points = [(same[0][0], statistics.mean(error for _, error in same)) for same in curves]
        style = {"lw": 2.5, "marker": "."} if method.swalp else {"lw": 1, "marker": ""}
        axes.plot(*zip(*points, strict=True), f"C{(i + 1) // 2}", label=method.name, **style)
    axes.set(xlabel="epoch", ylabel="test error (%), evaluated in float", yscale="log")
    axes.set_title("SWALP against SGD in low precision, BatchNorm's statistics estimated anew")
    axes.set_yticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    axes.grid(alpha=0.3, which="both")
    axes.legend()
