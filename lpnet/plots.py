"""Pictures for slides. Every function draws on the matplotlib axes given, or on new ones, and returns them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from . import picture
from .formats import Blocked, Format, format, show
from .training import Row
from .training.tracing import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito: told apart in any kind of colour blindness, on a projector too.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def _axes(axes: Axes | None, size: tuple[float, float]) -> Axes:
    if axes is not None:
        return axes
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained").subplots()


def number_lines(names: Sequence[str | Format], axes: Axes | None = None) -> Axes:
    """Draw the numbers of formats, a line under another, on one axis: linear near zero, then powers of two."""
    formats = [format(name) for name in names]
    axes = _axes(axes, (9, 0.8 + 0.6 * len(formats)))
    for i, fmt in enumerate(formats):
        numbers = show.numbers(fmt)
        numbers = numbers[abs(numbers) < 2.0**1000]  # beyond, matplotlib's own margins overflow
        axes.vlines(numbers, -i - 0.35, -i + 0.35, linewidth=0.8, color=COLORS[i % len(COLORS)])
    labels = [f"{fmt}\ntimes its scale" if isinstance(fmt, Blocked) else str(fmt) for fmt in formats]
    axes.set_yticks([-i for i in range(len(formats))], labels, fontsize=12)
    knee, end = max(fmt.smallest for fmt in formats), max(min(fmt.max, 2.0**1000) for fmt in formats)
    axes.set_xscale("symlog", base=2, linthresh=knee, linscale=0.5)
    axes.minorticks_off()
    axes.set_xticks(*_powers(math.floor(math.log2(knee)), math.floor(math.log2(max(end, knee)))), fontsize=12)
    axes.tick_params(axis="y", length=0)
    axes.spines[["left", "right", "top"]].set_visible(False)
    return axes


def _powers(low: int, high: int) -> tuple[list[float], list[str]]:
    """Return zero and powers of two on both sides of it, four at most on each, and how they are written."""
    exponents = range(high, low, -max(1, -(-(high - low) // 4)))
    written = {k: f"{2**k}" if 0 <= k < 10 else f"2^{{{k}}}" for k in exponents}
    ticks = [(sign * 2.0**k, f"${'-' * (sign < 0)}{written[k]}$") for k in exponents for sign in (-1, 1)]
    places, texts = zip((0.0, "0"), *ticks, strict=True)
    return list(places), list(texts)


def save_formats(names: Sequence[str | Format], path: Path) -> None:
    """Write a picture of formats: one alone on a linear and a logarithmic line, several on one axis.

    Raises ImportError if matplotlib is missing, OSError if the file cannot be written.
    """
    if len(names) == 1:
        show.plot(names[0], path)
        return
    picture.save(path, (9, 0.8 + 0.6 * len(names)), lambda figure: number_lines(names, figure.subplots()))


def curves(logs: Mapping[str, Sequence[Row]], measure: str = "error", axes: Axes | None = None) -> Axes:
    """Draw a measure, "error" or "loss", of several runs over the epochs: test solid, the average dashed.

    logs: the rows that `fit` returned, or `read_log` read, by the name to show.
    """
    axes = _axes(axes, (6, 4))
    for i, (name, log) in enumerate(logs.items()):
        for kind, style, suffix in (("val", "-", ""), ("test", "-", ""), ("swalp", "--", ", SWALP")):
            points = [(row["epoch"], row[f"{kind}_{measure}"]) for row in log if f"{kind}_{measure}" in row]
            if points:
                axes.plot(
                    *zip(*points, strict=True), style, color=COLORS[i % len(COLORS)], label=name + suffix, linewidth=2
                )
    axes.set_xlabel("epoch", fontsize=12)
    axes.set_ylabel("error (%)" if measure == "error" else "loss (nats)", fontsize=12)
    if measure == "loss":
        axes.set_yscale("log")
    axes.spines[["right", "top"]].set_visible(False)
    axes.legend(fontsize=10, frameon=False)
    return axes


def compare(logs: Mapping[str, Sequence[Row]], axes: Sequence[Axes]) -> Sequence[Axes]:
    """Draw the losses and the errors of several runs side by side."""
    curves(logs, "loss", axes[0])
    curves(logs, "error", axes[1])
    return axes


def read_log(folder: Path) -> list[Row]:
    """Return the rows of a run folder's log; raises FileNotFoundError, or ValueError for a damaged one."""
    file = Path(folder) / "log.jsonl"
    if not file.is_file():
        raise FileNotFoundError(f"{folder} holds no log.jsonl: it is no run of 'lpnet train', or has no epoch yet")
    try:
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        if not all(isinstance(row, dict) and isinstance(row.get("epoch"), int) for row in rows):
            raise ValueError("no rows of epochs")
    except ValueError as error:
        raise ValueError(f"{file}: damaged ({error})") from error
    if not rows:
        raise ValueError(f"{file} has no epoch yet")
    return rows


def confusion(matrix: np.ndarray, classes: Sequence[str], axes: Axes | None = None) -> Axes:
    """Draw a matrix (K, K) of how often samples of a class, a row, are taken for another, a column."""
    axes = _axes(axes, (6, 5))
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    k = len(classes)
    if k <= 20:
        for (i, j), n in np.ndenumerate(matrix):
            if n:
                axes.text(j, i, str(n), ha="center", va="center", color="white" if share[i, j] > 0.5 else "black")
        axes.set_xticks(range(k), classes, rotation=45, ha="right")
        axes.set_yticks(range(k), classes)
    axes.set_xlabel("taken for")
    axes.set_ylabel("shown")
    return axes


def weights(values: np.ndarray, label: str = "", axes: Axes | None = None) -> Axes:
    """Draw how many weights have each value: a line a number where there are few, as in a narrow format, else bins."""
    axes = _axes(axes, (7, 3))
    numbers, counts = np.unique(values, return_counts=True)
    if len(numbers) <= 512:
        axes.vlines(numbers, 0, counts, linewidth=max(0.8, min(6, 240 / len(numbers))), color=COLORS[0])
        axes.plot(numbers, np.zeros_like(numbers), "|", markersize=8, color="black")
    else:
        axes.hist(values.reshape(-1), 100, color=COLORS[0])
    axes.set_ylim(0)
    axes.set_xlabel(label, fontsize=12)
    axes.set_ylabel("weights", fontsize=12)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def rounding_map(history: History, axes: Axes | None = None) -> Axes:
    """Draw the SQNR in dB of every place and role (a row) at every step (a column) of a `TraceRounding.history`.

    Light is exact, dark is lost; white was not rounded in that step.
    """
    places = list(dict.fromkeys(key for _, stats in history for key in stats))
    axes = _axes(axes, _map_size(len(places)))
    rows = [[min(stats[key].sqnr, EXACT_DB) if key in stats else np.nan for _, stats in history] for key in places]
    image = axes.imshow(np.array(rows, float), aspect="auto", cmap="viridis", vmin=0)
    axes.set_yticks(range(len(places)), [f"{place or 'model'} {role}" for place, role in places])
    shown = range(0, len(history), -(-len(history) // 10))
    axes.set_xticks(shown, [str(history[i][0]) for i in shown])
    axes.set_xlabel("step", fontsize=12)
    axes.figure.colorbar(image, ax=axes, label="SQNR (dB)")
    return axes


EXACT_DB = 60.0  # a signal a million times as strong as the error: as good as exact


def _map_size(places: int) -> tuple[float, float]:
    return 8, max(2.5, 1.2 + 0.22 * places)


def save_rounding_map(history: History, path: Path) -> bool:
    """Write the map as a picture, where matplotlib is installed; return whether there is one."""
    size = _map_size(len({key for _, stats in history for key in stats}))
    return picture.try_save(path, size, lambda figure: rounding_map(history, figure.subplots()))
