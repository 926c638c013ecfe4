"""Runs in TensorBoard: what a run folder's log holds, as scalars."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..training import read_config
from .libraries import library

_PLACES = ("epoch", "step")  # where a row is, not what it measured
_MEASURES = ("loss", "error")  # of training, the test set, averages


class Writer:
    """Writes rows of a log, one an epoch, as TensorBoard's scalars: `fit(..., progress=Writer(logdir))`.

    Rows lie at their step, and are on the disk a second later; a tag is train/loss, test/error, swalp/error, lr and so
    on. Whatever lay in `logdir` is replaced. Raises ImportError where tensorboardX is missing.
    """

    def __init__(self, logdir: str | os.PathLike[str]) -> None:
        self.writer = library("tensorboardX").SummaryWriter(str(logdir), purge_step=0, flush_secs=1)

    def __call__(self, row: Mapping[str, Any]) -> None:
        """Write the numbers of one row; what was not finite, null in the log, is left out."""
        for tag, value in _scalars(row):
            self.writer.add_scalar(tag, value, row["step"])

    def close(self) -> None:
        """Close the file."""
        self.writer.close()


def _scalars(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for name, value in row.items():
        if name in _PLACES or not isinstance(value, int | float) or not math.isfinite(value):
            continue
        kind, _, measure = name.rpartition("_")
        yield (f"{kind}/{measure}" if kind and measure in _MEASURES else name), value


def write(run_folder: str | os.PathLike[str], logdir: str | os.PathLike[str]) -> None:
    """Write the log of a run of `fit`, and its configuration as text, for TensorBoard; may be done again as it grows.

    Raises FileNotFoundError if the folder holds no run, ValueError naming a line of the log that is damaged,
    ImportError where tensorboardX is missing.
    """
    folder = Path(run_folder).expanduser()
    config, rows = read_config(folder), list(_rows(folder / "log.jsonl"))
    with contextlib.closing(Writer(logdir)) as writer:
        writer.writer.add_text("config", f"```json\n{json.dumps(config, indent=2)}\n```", 0)
        for row in rows:
            writer(row)


def _rows(file: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a log."""
    for i, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{file}: line {i} is no JSON ({error})") from error
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            raise ValueError(f"{file}: line {i} is no row of a log: it has no step")
        yield row
