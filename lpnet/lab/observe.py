"""What a training shows as it goes on: a callback that watches single steps and makes frames of them."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

import lpnet as lp

from .program import fingerprint
from .training import parts
from .work import Worker

if TYPE_CHECKING:
    from lpnet._watch import Watch
    from lpnet.training import Run

SIDE = 40  # of the grid on which a decision is drawn
POINTS, BARS = 300, 256  # of a curve, of a histogram
REACH = 1.15  # of the picture of two-dimensional data
DETAIL = 1.0  # seconds from one watched step to the next, at least: loss is shown more often than details
SPARSE = 8  # and so many times what the watched step took, so that watching takes a ninth of the time at most


@dataclass
class Detail:
    """What the tab shows after a step that was watched."""

    updates: list[list[str]]  # rows of `lp.watch`, a parameter each
    rounded: list[list[str]]  # rows of `lp.trace`, a layer and role each
    notes: list[str]  # on words in the rows
    weights: dict[str, list[list[float]]]  # [weight, how many] of each matrix or kernel
    decision: list[list[float]]  # probability of class 1 on the grid: weights, average


@dataclass
class Frame:
    """What the tab shows after a step."""

    step: int
    steps: int
    epoch: int
    epochs: int
    loss: float
    losses: list[list[float]]  # [epoch, training loss of a step]
    log: list[dict[str, Any]]  # fit's rows
    detail: Detail | None  # of the step that was watched last
    fingerprint: str = ""  # of the weights and the average at the end


class Observer(lp.training.Callback):
    """Shows a frame of the steps that are due, and lets the worker wait between steps."""

    def __init__(self, worker: Worker, run: dict[str, Any]) -> None:
        self.worker, self.run = worker, run
        self.steps_an_epoch = len(run["train"])
        self.losses: list[list[float]] = []
        self.log: list[dict[str, Any]] = []
        self.watching = contextlib.ExitStack()
        self.seen: Watch | None = None
        self.detail: Detail | None = None
        self.opened = self.next = time.monotonic()  # when the watched step began, when the next may
        self.open()

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: it is no part of the run."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take nothing."""

    def open(self) -> None:
        """Watch the coming step, if it is a single one or details are due."""
        self.opened = time.monotonic()
        if not self.worker.playing or self.opened >= self.next:
            self.seen = self.watching.enter_context(lp.watch(self.run["model"], self.run["optimizer"]))

    def close(self) -> None:
        """End watching."""
        self.watching.close()

    def on_step(self, run: Run) -> None:
        """Show the step if it was watched, and wait until the next is wanted."""
        self.losses.append([run.step / self.steps_an_epoch, run.last_loss])
        self.close()
        if run.step % self.steps_an_epoch:  # else the epoch has a row to come
            self.go_on(run)

    def on_epoch(self, run: Run, row: dict[str, Any]) -> None:
        """Remember the epoch's row of the log."""
        self.log.append(dict(row))
        if run.epoch < run.epochs:
            self.go_on(run)

    def go_on(self, run: Run) -> None:
        """Show the step if it is due, and wait until the next is allowed."""
        if self.seen is not None:
            self.detail, self.seen = self.look(self.seen), None
            now = time.monotonic()
            self.next = now + max(DETAIL, SPARSE * (now - self.opened))
        if self.worker.due():
            self.worker.show(self.frame(run.step))
        self.worker.between()
        self.open()

    def end(self, step: int) -> None:
        """Show what the last step led to."""
        self.detail = self.look(self.seen)
        self.worker.show(self.frame(step, fingerprint(*all_weights(self.run))))

    def frame(self, step: int, fingerprint: str = "") -> Frame:
        """Return what is to be shown after a step."""
        epochs, n = self.run["epochs"], self.steps_an_epoch
        every = -(-len(self.losses) // POINTS)
        return Frame(
            step,
            epochs * n,
            (step - 1) // n + 1,
            epochs,
            self.losses[-1][1],
            self.losses[every - 1 :: every],
            list(self.log),
            self.detail,
            fingerprint,
        )

    def look(self, seen: Watch | None) -> Detail:
        """Return the weights as they are, and what was seen of a step; without one, of the step that was seen last."""
        weights = {name: bars(p.numpy()) for name, p in self.run["model"].named_parameters() if p.ndim > 1}
        if seen is None:
            known = self.detail or Detail([], [], [], {}, [])
            return replace(known, weights=weights, decision=self.decision())
        updates = [update.row() for update in seen.updates.values()]
        return Detail(updates, seen.trace.rows(), seen.notes(), weights, self.decision())

    def decision(self) -> list[list[float]]:
        """Return what the weights and their average make of the grid, where the data are two-dimensional."""
        if not isinstance(self.run["train"].dataset, tuple):
            return []
        return [probabilities(self.run["model"]), probabilities(self.run["swalp"].averaged)]


def all_weights(run: dict[str, Any]) -> list[np.ndarray]:
    """Return the arrays of all weights, and of their averages."""
    return [*(p.numpy() for p in run["model"].parameters()), *run["swalp"].mean.values()]


def bars(w: np.ndarray) -> list[list[float]]:
    """Return [weight, how many], at most `BARS` of them."""
    values, counts = np.unique(w, return_counts=True)
    if len(values) > BARS:
        counts, edges = np.histogram(w, BARS)
        values = (edges[:-1] + edges[1:]) / 2
    return np.stack([values, counts], 1).tolist()


def probabilities(model: lp.nn.Module) -> list[float]:
    """Return the probability of class 1 on the grid, row by row from below."""
    ticks = np.linspace(-REACH, REACH, SIDE, dtype=np.float32)
    x = np.stack(np.meshgrid(ticks, ticks), -1).reshape(-1, 2)  # (SIDE, SIDE, 2) -> (SIDE * SIDE, 2)
    training = model.training
    model.eval()
    with lp.no_grad(), lp.random.fork_rng():
        p = lp.functions.softmax(model(lp.Tensor(x)), 1).numpy()[:, 1]
    model.train(training)
    return p.round(3).tolist()


def job(worker: Worker, settings: dict[str, Any]) -> None:
    """Train, showing frames."""
    run = parts(**settings)
    observer = Observer(worker, run)
    try:
        lp.fit(**run, callbacks=[observer], progress=False)
    finally:
        observer.close()
    observer.end(run["epochs"] * observer.steps_an_epoch)
