"""The log of a run: a row of numbers an epoch, as text, as JSON, as curves."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from .. import picture
from ..validate import integer, number

Row = dict[str, Any]
_NAMES = {"train": "training", "val": "validation", "test": "test", "swalp": "SWALP average", "ema": "moving average"}
_UNITS = {"loss": "nats", "error": "%"}


# The parts of an epoch's line from the most telling to the least: the last go where there is no room.
_TELLING = ("epoch", "test", "val", "average", "ema", "loss", "seconds", "train", "lr", "rate", "memory")


def format_row(row: Row, width: int | None = None, **more: str) -> str:
    """Return an epoch's row as a line of text.

    more: its seconds, rate and memory as text. What tells least is left out where the line would be wider than `width`.
    """
    parts = {
        "epoch": f"epoch {row['epoch']:3d}",
        "lr": f"lr {row['lr']:.4f}",
        "loss": f"loss {row['train_loss']:.4f}",
    }
    kinds = {"train": "train", "val": "val", "test": "test", "swalp": "average", "ema": "ema"}
    parts |= {name: f"{name} {row[f'{kind}_error']:5.2f} %" for kind, name in kinds.items() if f"{kind}_error" in row}
    parts |= {name: text for name, text in more.items() if text}
    shown = sorted(parts, key=_TELLING.index)
    while len(shown) > 1 and width is not None and sum(len(parts[name]) + 2 for name in shown) - 2 > width:
        shown.pop()
    return "  ".join(text for name, text in parts.items() if name in shown)


def as_json(row: Row) -> Row:
    """Return the row with None for what JSON cannot say."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


def check_log(log: Any, epoch: Any) -> None:
    """Raise ValueError unless `log` is a list of rows of finite numbers, one an epoch."""
    if not isinstance(log, list) or len(log) != integer("fit", "epoch", epoch):
        raise ValueError(f"the log after {epoch} epochs is not a list of as many rows")
    for i, row in enumerate(log):
        if missing := {"epoch", "step", "lr", "train_loss"} - row.keys():
            raise ValueError(f"row {i} of the log has no {min(missing)}")
        integer("fit", f"epoch of the log's row {i}", row["epoch"], i + 1, i + 1)
        integer("fit", f"step of the log's row {i}", row["step"])
        for key, value in row.items():
            number("fit", f"log's {key}", value, -math.inf)


def plot_curves(log: list[Row], path: str | Path) -> None:
    """Draw the loss and the error of every epoch to a picture, where matplotlib is installed."""
    measures = [m for m in _UNITS if f"train_{m}" in log[0]]
    picture.try_save(Path(path), (4.5 * len(measures), 3.5), lambda figure: _draw(figure, measures, log))


def _draw(figure: Any, measures: list[str], log: list[Row]) -> None:
    for axes, measure in zip(figure.subplots(1, len(measures), squeeze=False)[0], measures, strict=True):
        for kind, label in _NAMES.items():
            points = [(r["epoch"], r[f"{kind}_{measure}"]) for r in log if f"{kind}_{measure}" in r]
            if points:
                axes.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 30 else None)
        scale = "log" if measure == "loss" else "linear"
        axes.set(xlabel="epoch", ylabel=f"{measure} ({_UNITS[measure]})", yscale=scale)
        axes.grid(alpha=0.3)
        axes.legend()
