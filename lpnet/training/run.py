"""A run: everything of one training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..data import DataLoader
from ..nn import Module
from ..optim import SWALP, LossScaler, Optimizer, update_bn
from ..optim.schedules import Schedule
from ..optim.swalp import Average
from ..precision import Precision, use
from .attributes import stateful
from .callbacks import Callback
from .diagnosis import finite
from .evaluation import Batches, Loss, Tally, evaluate
from .graph import GraphedStep, recordable
from .log import Row
from .positioned import Positioned
from .snapshot import Snapshot


@dataclass(eq=False)
class Run:
    """The parts of a training, where it stands, and what it has measured; the first ones are `fit`'s arguments."""

    model: Module
    train: Any
    test: Batches | None
    epochs: int
    optimizer: Optimizer
    loss: Loss
    schedule: Schedule | None
    swalp: SWALP | None
    scaler: LossScaler | None
    precision: Precision
    evaluate_every: int
    callbacks: Sequence[Callback] = ()
    test_name: str = "test"  # what rows call the measures on `test`
    graph: bool = False

    epoch: int = field(default=0, init=False)  # epochs that are finished
    step: int = field(default=0, init=False)  # steps that were taken
    lr: float = field(init=False)  # of the last step: SWALP may already have switched the optimizer's
    skipped: bool = field(default=False, init=False)  # the scaler left the weights as they were at the last step
    stopped: bool = field(default=False, init=False)  # by a callback: this epoch is the last
    log: list[Row] = field(default_factory=list, init=False)
    tally: Tally = field(default_factory=Tally, init=False)  # of this epoch
    rates: list[Any] = field(default_factory=list, init=False)  # of each epoch, as the schedule said
    first_loss: float | None = field(default=None, init=False)  # of the first step: a loss that diverges is held to it
    last_loss: float = field(default=math.nan, init=False)  # the last one that was read
    unread: tuple[Any, Any] | None = field(default=None, init=False)  # on a GPU: the last step's loss and inputs
    beyond: dict[tuple[str, str], Any] = field(default_factory=dict, init=False)  # the ends of formats: see `diagnosis`
    snapshot: Snapshot | None = field(init=False)  # of the moment after the last whole step; None: there is no way back
    recorded: GraphedStep | None = field(default=None, init=False)  # what takes the steps on a GPU

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.evaluate_every < 1:
            raise ValueError(
                f"fit: epochs and evaluate_every must be at least 1, got {self.epochs} and {self.evaluate_every}"
            )
        if other := [callback for callback in self.callbacks if not isinstance(callback, Callback)]:
            raise TypeError(f"fit: callbacks must be lpnet.training.Callback objects, got {other[0]!r}")
        averages = [average for average in (self.swalp, *self.callbacks) if isinstance(average, SWALP | Average)]
        _check_parts(self.model, self.train, self.optimizer, averages)
        if isinstance(self.train, DataLoader) and not self.train._resume:
            self.train.epoch = self.train.epoch  # where a loop was left, the next one starts the epoch anew
        if not hasattr(self.train, "load_state_dict"):
            self.train = Positioned(self.train)
        self.lr = self.optimizer.lr
        if self.graph and recordable(self):
            self.recorded = GraphedStep(self.model, self.optimizer, self.loss, self.precision)
        self.keep()

    def keep(self) -> None:
        """Remember this moment, between two steps, for a stop in the midst of the next."""
        self.snapshot = Snapshot(self)

    def go_back(self) -> None:
        """Be at the moment after the last whole step; raises RuntimeError where that is gone."""
        if self.snapshot is None:
            raise RuntimeError("fit: the step before is gone")
        self.snapshot.restore(self)

    def stop(self) -> None:
        """End the run with the epoch it is in; for callbacks."""
        self.stopped = True

    @property
    def loss_scale(self) -> float:
        """How much larger the gradients are than the loss's own before the optimizer steps."""
        return 1.0 if self.scaler is None else self.scaler.factor

    def finite(self) -> bool:
        """Return whether the loss and the weights are: only such a state is worth a checkpoint."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        return self.tally.finite() and finite([t.data for t in tensors if t.data.dtype.kind == "f"])

    def named_callbacks(self) -> dict[str, Callback]:
        """Return the callbacks by their place and kind, as checkpoints name them."""
        return {f"{i}.{type(callback).__name__}": callback for i, callback in enumerate(self.callbacks)}

    def callback_states(self) -> dict[str, Any]:
        """Return what has the states of the callbacks."""
        return {name: stateful(callback) for name, callback in self.named_callbacks().items()}

    def averages(self) -> Mapping[str, Average]:
        """Return SWALP's averages, none without it."""
        return {} if self.swalp is None else self.swalp.averages

    def tested(self) -> bool:
        """Return whether the test set is measured at the end of the epoch that is finished."""
        return self.test is not None and (self.epoch % self.evaluate_every == 0 or self.epoch == self.epochs)

    def measure(self, model: Module) -> dict[str, float]:
        """Return what `model` is worth on the test set."""
        with use(self.precision):
            return evaluate(model, () if self.test is None else self.test, self.loss)

    def update_bn(self, model: Module) -> Module:
        """Return `model` with its BatchNorm statistics estimated anew, on training data without augmentation."""
        train = self.train
        if isinstance(train, DataLoader):
            train = DataLoader(train.dataset, train.batch_size, drop_last=train.drop_last)
        update_bn(model, train.loader if isinstance(train, Positioned) else train)
        return model


def _check_parts(model: Module, train: Any, optimizer: Optimizer, averages: Sequence[SWALP | Average]) -> None:
    """Raise ValueError for parts that do not belong together, TypeError for what cannot be gone through twice."""
    if not hasattr(train, "__iter__") or iter(train) is train:
        raise TypeError(f"fit: train must be a loader that starts anew each epoch, got a {type(train).__name__}")
    own = {id(p) for p in model.parameters()}
    if own.isdisjoint(map(id, optimizer.params)):
        raise ValueError("fit: the optimizer holds none of the model's parameters; make it from model.parameters()")
    for average in averages:
        if own.isdisjoint(map(id, average.model.parameters())):
            kind = type(average).__name__
            raise ValueError(f"fit: {kind} averages another model; make it from the one that is trained")
