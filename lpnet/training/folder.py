"""The folder of a run: configuration, log, checkpoint, models, curves; one run at a time is at work in it."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import distributed
from ..checkpoint import load, save
from ..files import Lock, atomic_write, remove_leftovers
from . import state
from .callbacks import Callback
from .diagnosis import check_unread
from .log import Row, as_json, plot_curves
from .signals import sigterm_raises

if TYPE_CHECKING:
    from .run import Run


class Folder(Callback):
    """The files of a run, written as it goes on: a checkpoint every so many seconds, the log every epoch.

    Of several processes the first one reads and writes; the others are told what is read.
    """

    def __init__(
        self, path: str | os.PathLike[str], config: dict[str, Any] | None, resume: bool, checkpoint_every: float
    ) -> None:
        self.path, self.checkpoint_every, self.saved = Path(path).expanduser(), checkpoint_every, time.monotonic()
        self.lock: Lock | None = None
        if not distributed.first():
            return
        if resume and not self._holds_a_run():
            raise FileNotFoundError(f"{self.path} holds no run to resume: start one there without resume")
        self.path.mkdir(parents=True, exist_ok=True)
        self.lock = Lock(self.path / ".lock")
        try:
            self.config = json.loads(json.dumps(config or {}))  # as it will be read again
            self._begin(self.config, resume)
        except BaseException:
            self.lock.release()
            raise

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        if self.lock is not None:
            self.lock.release()

    def _holds_a_run(self) -> bool:
        return any((self.path / name).exists() for name in ("config.json", "checkpoint.npz"))

    def _begin(self, config: dict[str, Any], resume: bool) -> None:
        if self._holds_a_run():
            self._check_config(config, resume)
        remove_leftovers(self.path)
        with atomic_write(self.path / "config.json", "w") as file:
            json.dump(config, file, indent=2)

    def _check_config(self, config: dict[str, Any], resume: bool) -> None:
        """Raise ValueError unless the run that the folder holds is to be resumed and has this configuration."""
        if not resume:
            raise ValueError(f"{self.path} holds a run already: resume it, or choose another folder")
        old = read_config(self.path)
        # What an earlier version did not have in its configuration does not make it another run.
        if differing := [k for k in old if json.dumps(old[k]) != json.dumps(config.get(k))]:  # as text NaN is NaN
            k = differing[0]
            raise ValueError(
                f"{self.path} holds a run with {k}={old.get(k)!r}, not {config.get(k)!r}: "
                "choose another folder, or resume with the same settings"
            )

    def restore(self, run: Run) -> None:
        """Bring `run` to where the checkpoint was written, and the log with it."""
        file = self.path / "checkpoint.npz"
        saved = distributed.from_first("the checkpoint", lambda: load(file) if file.exists() else None)
        if saved is not None:
            try:
                state.load_state_dict(run, saved["run"])
            except KeyError as error:
                raise ValueError(f"{file} does not fit this run: it has no {error}") from error
            except (TypeError, AttributeError, ValueError) as error:
                raise ValueError(f"{file} does not fit this run: {error}") from error
        self.write_log(run)  # lines from after the checkpoint will be written again

    def on_step(self, run: Run) -> None:
        """Write a checkpoint if it is time."""
        if distributed.first() and time.monotonic() - self.saved >= self.checkpoint_every:
            check_unread(run)
            self.checkpoint(run)

    def on_epoch(self, run: Run, row: Row) -> None:
        """Write the log."""
        self.write_log(run)

    def write_log(self, run: Run) -> None:
        """Write log.jsonl, a row a line."""
        if not distributed.first():
            return
        with atomic_write(self.path / "log.jsonl", "w") as file:
            file.writelines(json.dumps(as_json(row), allow_nan=False) + "\n" for row in run.log)

    def checkpoint(self, run: Run) -> None:
        """Write checkpoint.npz."""
        if not distributed.first():
            return
        save(self.path / "checkpoint.npz", run=state.state_dict(run))
        self.saved = time.monotonic()

    @contextlib.contextmanager
    def saves_when_stopped(self, run: Run) -> Iterator[None]:
        """Write a checkpoint of the last whole step when the block is left by an exception, Ctrl-C or SIGTERM."""
        try:
            with sigterm_raises():
                yield
        except FloatingPointError:
            raise  # a state of numbers that are not finite, or absurd, must not replace a good one
        except BaseException:
            with contextlib.suppress(Exception):  # what stopped the run is what is to be told
                run.go_back()
                if run.finite():
                    self.checkpoint(run)
                    self.write_log(run)
            raise

    def finish(self, run: Run) -> None:
        """Write the last checkpoint, the final models and the curves."""
        averaged = run.swalp is not None and run.swalp.n_averaged and run.update_bn(run.swalp.averaged)
        if not distributed.first():
            return
        self.checkpoint(run)
        fmt = getattr(run.optimizer.precision.weight, "format", None)
        about = {"about": self.config["about"]} if "about" in self.config else {}
        save(self.path / "model.npz", packed=fmt, model=run.model, **about)
        if averaged:
            save(self.path / "averaged.npz", model=averaged, **about)
        plot_curves(run.log, self.path / "curves.png")


def read_config(folder: Path) -> dict[str, Any]:
    """Return the configuration of the run in `folder`.

    Raises FileNotFoundError if the folder holds no run, ValueError if its config.json is damaged.
    """
    file = folder / "config.json"
    if not file.is_file():
        raise FileNotFoundError(f"{folder} is no run folder: it has no config.json")
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file}: damaged ({error})") from error
    if not isinstance(config, dict):
        raise ValueError(f"{file}: expected a dictionary, got a {type(config).__name__}")
    return config
