"""Callbacks: what is called as a training goes on. Give them to `fit(callbacks=[...])`."""

from __future__ import annotations

import contextlib
import math
import shutil
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import get_array_module
from ..nn import Module
from ..optim.swalp import Average
from ..precision import EXACT
from ..progress import Bar
from ..validate import choice, integer, number
from .log import Row, format_row

if TYPE_CHECKING:
    from .run import Run


class Callback:
    """Base of the callbacks: override what you need. The run has `model`, `optimizer`, `epoch`, `step`, `log` and more.

    What a callback remembers is in the checkpoint: its attributes that are numbers, text, arrays, lists or dictionaries
    of these, or streams; of one with a `state_dict` and a `load_state_dict`, what these say. A step that is stopped in
    its midst is as if it had not been begun, for callbacks, too.
    """

    def around_step(self, run: Run) -> contextlib.AbstractContextManager[Any]:
        """Return a block for the step to happen in, from before the forward pass until the weights are updated."""
        return contextlib.nullcontext()

    def on_backward(self, run: Run) -> None:
        """Act when the gradients are there, `run.loss_scale` times too large, and before the optimizer steps."""

    def on_step(self, run: Run) -> None:
        """Act after each step; `run.skipped` says whether the scaler left the weights as they were."""

    def on_epoch(self, run: Run, row: Row) -> None:
        """Act after each epoch on its row of the log, to which it may add; `run.stop()` makes it the last."""

    def settings(self) -> dict[str, Any]:
        """Return what must be the same in a run that is resumed, by name; as JSON takes it."""
        return {}


class ClipGradients(Callback):
    """Scales the gradients down, all by one factor, where their common Euclidean norm is above `max_norm`.

    Source: Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", ICML 2013.
    """

    def __init__(self, max_norm: float) -> None:
        self.max_norm = number("ClipGradients", "max_norm", max_norm)

    def on_backward(self, run: Run) -> None:
        """Scale the gradients; nothing is rounded here, and a GPU is not waited for."""
        params = [p for p in run.optimizer.params if p.grad is not None]
        if not params:
            return
        xp = get_array_module(params[0].grad)
        norm = xp.sqrt(sum(xp.square(p.grad.astype(np.float64)).sum() for p in params))
        factor = xp.minimum(1.0, self.max_norm * run.loss_scale / norm)
        for p in params:
            p.grad = p.grad * factor.astype(p.grad.dtype)

    def settings(self) -> dict[str, Any]:
        """Return the norm."""
        return {"max_norm": self.max_norm}


class EMA(Average, Callback):
    """Keeps an exponential moving average of the weights: mean <- decay * mean + (1 - decay) * w after each step.

    It is exact, begins with the first step's weights, and is measured where the test set is: as "ema_loss" and
    "ema_error". `averaged` is a copy of the model with these weights; run `update_bn` on it if it has BatchNorm.
    Source: Kingma and Ba, "Adam", ICLR 2015, section 7.2.
    """

    def __init__(self, model: Module, decay: float = 0.999) -> None:
        super().__init__(model, 1, EXACT, {})
        self.decay = number("EMA", "decay", decay, 0, 1)

    def _mix(self, mean: Any, w: Any) -> Any:
        return mean + (1 - self.decay) * (w - mean)

    def on_step(self, run: Run) -> None:
        """Take in the weights, if they were moved."""
        if not run.skipped:
            self.update()

    def on_epoch(self, run: Run, row: Row) -> None:
        """Measure the average."""
        if run.tested() and self.n_averaged:
            measured = run.measure(run.update_bn(self.averaged))
            row |= {f"ema_{name}": value for name, value in measured.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned; raises ValueError if it is of another model."""
        self.check(state)
        super().load_state_dict(state)

    def settings(self) -> dict[str, Any]:
        """Return the decay."""
        return {"decay": self.decay}


class EarlyStopping(Callback):
    """Stops the run when `measure`, a name in the rows of the log, has not fallen for `patience` of its epochs.

    Parameters: patience, at least 1; measure, such as "test_error"; least, by how much it has to fall to count. Epochs
    in which the test set is not measured do not count. Source: Prechelt, "Early stopping - but when?", 1998.
    """

    def __init__(self, patience: int, measure: str = "test_loss", least: float = 0.0) -> None:
        self.patience, self.measure = integer("EarlyStopping", "patience", patience, 1), measure
        self.least = number("EarlyStopping", "least", least)
        self.best: float | None = None
        self.waited = 0

    def on_epoch(self, run: Run, row: Row) -> None:
        """Compare the measure with the best so far; raises ValueError where the rows do not have it."""
        if self.measure not in row:
            self._check_missing(run, row)
        elif self.best is None or row[self.measure] < self.best - self.least:
            self.best, self.waited = float(row[self.measure]), 0
        else:
            self.waited += 1
        if self.waited >= self.patience:
            run.stop()

    def _check_missing(self, run: Run, row: Row) -> None:
        comes_later = self.measure.startswith("swalp_") and run.swalp is not None
        if not comes_later and (run.test is None or run.tested()):
            raise ValueError(f"EarlyStopping: the log has no {self.measure!r}, it has {', '.join(row)}")

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far, and for how many epochs it has been waited for a better one."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned; raises ValueError for numbers that cannot be."""
        best = state["best"]
        self.best = None if best is None else number("EarlyStopping", "best", best, -math.inf)
        self.waited = integer("EarlyStopping", "waited", state["waited"])

    def settings(self) -> dict[str, Any]:
        """Return the patience, and what is measured."""
        return {"patience": self.patience, "measure": self.measure, "least": self.least}


class Best(Callback):
    """Keeps the weights and running statistics of the epoch in which `measure`, a name in the log's rows, was lowest.

    `epoch` and `value` tell of it; `load_into(model)` gives a model these weights.
    """

    def __init__(self, measure: str = "val_loss") -> None:
        self.measure, self.epoch, self.value = measure, 0, math.inf
        self.tensors: dict[str, np.ndarray] = {}

    def on_epoch(self, run: Run, row: Row) -> None:
        """Keep the model if it is better than all before."""
        if row.get(self.measure, math.inf) < self.value:
            self.epoch, self.value, self.tensors = row["epoch"], float(row[self.measure]), run.model.state_dict()

    def load_into(self, model: Module) -> Module:
        """Return the model with the best weights; raises ValueError if there are none yet."""
        if not self.tensors:
            raise ValueError(f"Best: no epoch has been measured by {self.measure!r}")
        model.load_state_dict(self.tensors)
        return model

    def settings(self) -> dict[str, Any]:
        """Return what is measured."""
        return {"measure": self.measure}


class Progress(Callback):
    """Shows a bar over all steps and a line an epoch, or calls the user's function with each epoch's row.

    A line also has the seconds that the epoch took, its samples a second and the most memory that the process had so
    far, as the terminal has room. They are not in the row: a run that is resumed has the same log.
    """

    def __init__(self, total: int | None, done: int, progress: bool | str | Callable[[Row], None]) -> None:
        if isinstance(progress, str):
            choice("fit", "progress", progress, ("lines",))
        self.bar = Bar(total, done, wanted=progress is True)
        self.report = progress if callable(progress) else self._print if progress else None
        self.began, self.samples = time.perf_counter(), 0

    def _print(self, row: Row) -> None:
        seconds, width = time.perf_counter() - self.began, shutil.get_terminal_size((80, 24)).columns
        measured = {"seconds": f"{seconds:.1f} s", "rate": f"{_short(self.samples / seconds)}/s"}
        self.bar.print(format_row(row, width, **measured, memory=_peak_memory()))
        self.began, self.samples = time.perf_counter(), 0

    def on_step(self, run: Run) -> None:
        """Move the bar."""
        self.samples = run.tally.seen
        shown = "" if math.isnan(run.last_loss) else f" loss {run.last_loss:.3f}"  # a GPU's first has not been read
        self.bar.advance(title=f"epoch {run.epoch + 1}/{run.epochs}{shown}")

    def on_epoch(self, run: Run, row: Row) -> None:
        """Tell the row."""
        if self.report is not None:
            self.report(row)


def _short(n: float) -> str:
    return f"{n / 1000:.3g}k" if n >= 1000 else f"{n:.0f}"


def _peak_memory() -> str:
    """Return the most memory that this process has had, where the system tells."""
    try:
        import resource
    except ImportError:  # Windows
        return ""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return f"{peak / (2**20 if sys.platform == 'darwin' else 2**10):.0f} MB"
