"""Callbacks: what is called as a training goes on. Give them to `fit(callbacks=[...])`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..backend import beside, get_array_module
from ..nn import Module
from ..optim.swalp import with_weights
from ..progress import Bar
from ..validate import integer, number
from .log import Row, format_row

if TYPE_CHECKING:
    from .run import Run


class Callback:
    """Base of the callbacks: override what you need. The run has `model`, `optimizer`, `epoch`, `step`, `log` and more.

    What a callback remembers is in the checkpoint: its attributes that are numbers, text, arrays, lists or dictionaries
    of these, or streams; of one with a `state_dict` and a `load_state_dict`, what these say. A step that is stopped in
    its midst is as if it had not been begun, for callbacks, too.
    """

    def on_backward(self, run: Run) -> None:
        """Is called when the gradients are there, `run.loss_scale` times too large, and before the optimizer steps."""

    def on_step(self, run: Run) -> None:
        """Is called after each step; `run.skipped` says whether the scaler left the weights as they were."""

    def on_epoch(self, run: Run, row: Row) -> None:
        """Is called after each epoch with its row of the log, to which it may add; `run.stop()` makes it the last."""

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


class EMA(Callback):
    """Keeps an exponential moving average of the weights: mean <- decay * mean + (1 - decay) * w after each step.

    The average is exact, begins with the first step's weights, and is measured where the test set is: the rows have
    "ema_loss" and "ema_error". `averaged(model)` is the model with these weights. Source: Kingma and Ba,
    "Adam", ICLR 2015, section 7.2.
    """

    def __init__(self, decay: float = 0.999) -> None:
        self.decay = number("EMA", "decay", decay, 0, 1)
        self.mean: dict[str, Any] = {}  # of each parameter, by name

    def on_step(self, run: Run) -> None:
        """Take in the weights."""
        if run.skipped:
            return
        for name, p in run.model.named_parameters():
            mean = beside(self.mean.get(name, p.data), p.data)  # the model may have moved
            self.mean[name] = mean + (1 - self.decay) * (p.data - mean)

    def on_epoch(self, run: Run, row: Row) -> None:
        """Measure the average."""
        if run.tested() and self.mean:
            measured = run.measure(run.update_bn(self.averaged(run.model)))
            row |= {f"ema_{name}": value for name, value in measured.items()}

    def averaged(self, model: Module) -> Module:
        """Return a copy of the model with the averaged weights; run `update_bn` on it if it has BatchNorm."""
        return with_weights(model, self.mean)

    def settings(self) -> dict[str, Any]:
        """Return the decay."""
        return {"decay": self.decay}


class EarlyStopping(Callback):
    """Stops the run when `measure`, a name in the rows of the log, has not fallen for `patience` of its epochs.

    Parameters: patience, at least 1; measure, such as "test_error"; least, by how much it has to fall to count. Epochs
    without the measure do not count. Source: Prechelt, "Early stopping - but when?", 1998.
    """

    def __init__(self, patience: int, measure: str = "test_loss", least: float = 0.0) -> None:
        self.patience, self.measure = integer("EarlyStopping", "patience", patience, 1), measure
        self.least = number("EarlyStopping", "least", least)
        self.best, self.waited = math.inf, 0

    def on_epoch(self, run: Run, row: Row) -> None:
        """Compare the measure with the best so far."""
        if self.measure not in row:
            return
        if row[self.measure] < self.best - self.least:
            self.best, self.waited = row[self.measure], 0
        else:
            self.waited += 1
        if self.waited >= self.patience:
            run.stop()

    def settings(self) -> dict[str, Any]:
        """Return the patience, and what is measured."""
        return {"patience": self.patience, "measure": self.measure, "least": self.least}


class Progress(Callback):
    """Shows a bar over all steps and a line an epoch, or calls the user's function with each epoch's row."""

    def __init__(self, total: int | None, done: int, progress: bool | Callable[[Row], None]) -> None:
        self.bar = Bar(total, done, wanted=progress is True)
        self.report = progress if callable(progress) else self._print if progress else None

    def _print(self, row: Row) -> None:
        self.bar.print(format_row(row))

    def on_step(self, run: Run) -> None:
        """Move the bar."""
        shown = "" if math.isnan(run.last_loss) else f" loss {run.last_loss:.3f}"  # a GPU's first has not been read
        self.bar.advance(title=f"epoch {run.epoch + 1}/{run.epochs}{shown}")

    def on_epoch(self, run: Run, row: Row) -> None:
        """Tell the row."""
        if self.report is not None:
            self.report(row)
