"""Training and evaluation: `fit` with progress, a log, checkpoints and exact resume; `evaluate`.

A run killed at any moment and resumed ends with the same bits as one that was not: the checkpoint holds everything that
the next step depends on, and all random choices are functions of the position they are made at.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import itertools
import json
import math
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import functions as F
from . import picture, random
from .backend import device_of, enough_memory, get_array_module, one_blas_thread, to_device
from .checkpoint import Attributes, has_state, load, save
from .data import DataLoader
from .files import Lock, atomic_write, remove_leftovers
from .nn import Module, module
from .optim import SWALP, LossScaler, Optimizer, update_bn
from .optim.schedules import Schedule
from .optim.swalp import Average
from .precision import ROLES, Precision, PrecisionLike, Quantizer, as_precision, use
from .progress import Bar, say
from .tensor import Tensor, no_grad
from .validate import integer, number

Loss = Callable[[Tensor, Any], Tensor]
Row = dict[str, Any]
LOOK = 50  # steps from one look at what a GPU has computed to the next
ADVICE = "try a lower learning rate, or a LossScaler where a format has a short range"
ABSURD = 1e3  # a mean loss of that many times the first step's, or 1, is a run that diverges


def evaluate(model: Module, loader: Iterable[tuple[Any, Any]], loss: Loss = F.cross_entropy) -> dict[str, float]:
    """Return {"loss", "error"} of a model in evaluation mode: mean loss, and per cent of labels it gets wrong.

    Activations are rounded where `lower` marked the model. Nothing is drawn from a training stream and the modes are
    left as they were. There is an "error" where the model gives (N, K > 1) and y is integer (N,). Raises ValueError for
    an empty loader.
    """
    modes = [(m, m.training) for m in model.modules()]
    tally, device = _Tally(), model.device
    try:
        model.eval()
        with no_grad(), random.aside(), one_blas_thread():
            for x, y in loader:
                with enough_memory("a batch of the evaluation", f"use smaller batches than {len(x)} samples"):
                    x, y = _on(device, x, y)
                    logits = model(Tensor(x))
                    tally.add(logits, loss(logits, y), y)
    finally:
        for m, training in modes:
            m.training = training
    if not tally.seen:
        raise ValueError("evaluate: the loader gave no data")
    return tally.result()


def _on(device: str, *batch: Any) -> list[Any]:
    """Return the arrays of a batch, on the device."""
    return [to_device(a.data if isinstance(a, Tensor) else a, device) for a in batch]


class _Tally:
    """Sums over the samples seen. On a GPU they stay there until somebody asks."""

    def __init__(self) -> None:
        self.loss, self.wrong, self.seen, self.classified = 0.0, 0, 0, True

    def add(self, logits: Tensor, loss: Tensor, labels: Any) -> None:
        self.seen += len(labels)
        self.loss = self.loss + loss.data.astype(np.float64) * len(labels)
        one_label_each = labels.dtype.kind in "iu" and labels.ndim == 1 and logits.shape[:1] == labels.shape
        self.classified = self.classified and one_label_each and logits.ndim == 2 and logits.shape[1] > 1
        if self.classified:
            self.wrong = self.wrong + (logits.data.argmax(axis=1) != labels).sum()

    def result(self) -> dict[str, float]:
        self._fetch()
        error = {"error": 100 * self.wrong / self.seen} if self.classified else {}
        return {"loss": self.loss / self.seen, **error}

    def _fetch(self) -> None:
        self.loss, self.wrong = float(self.loss), int(self.wrong)

    def finite(self) -> bool:
        """Return whether all losses were: a sum with one that was not is not."""
        self._fetch()
        return math.isfinite(self.loss)

    def state_dict(self) -> dict[str, Any]:
        self._fetch()
        return vars(self).copy()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned; raises ValueError for sums that cannot be."""
        seen = integer("fit", "tally's seen", state["seen"])
        self.loss = number("fit", "tally's loss", state["loss"], -math.inf)
        self.wrong, self.seen = integer("fit", "tally's wrong", state["wrong"], 0, seen), seen
        if not isinstance(state["classified"], bool):
            raise ValueError(f"fit: tally's classified must be True or False, got {state['classified']!r}")
        self.classified = state["classified"]


def fit(
    model: Module,
    train: Iterable[tuple[Any, Any]],
    test: Iterable[tuple[Any, Any]] | None = None,
    *,
    epochs: int,
    optimizer: Optimizer,
    loss: Loss = F.cross_entropy,
    schedule: Schedule | None = None,
    swalp: SWALP | None = None,
    scaler: LossScaler | None = None,
    precision: PrecisionLike = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    config: dict[str, Any] | None = None,
    evaluate_every: int = 1,
    checkpoint_every: float = 30.0,
    progress: bool | Callable[[Row], None] = True,
) -> list[Row]:
    """Train `model` and return the log: one dictionary an epoch.

    Parameters
    ----------
    train, test: loaders of (x, y) batches, such as a DataLoader; the test set is only measured on. One without a
        `state_dict` has to give the same batches each time if a run is to be resumed exactly.
    epochs: how many passes over `train`.
    optimizer: holds the model's parameters; `schedule`, a function from the epoch to the learning rate, drives it.
    swalp: the running average; once it has a rate of its own and has started, the schedule no longer counts. Of several
        averages the first is measured and written; all are in the checkpoint.
    scaler: scales the loss up before the backward pass and the gradients down after it, for formats of short range.
    precision: rounds every operation; None leaves it to the layers that `nn.lower` marked. A function that rounds and
        has a state is saved with the run: by its `state_dict` and `load_state_dict`, else its attributes that are
        arrays, numbers, text, streams or NumPy's generators; what it keeps elsewhere, as in a closure, is not.
    out: the run folder: config.json, log.jsonl, checkpoint.npz, model.npz, averaged.npz, curves.png. None: no files.
        Whatever stops the run (Ctrl-C, SIGTERM, an exception) writes a checkpoint of the last whole step first.
    resume: go on with the run in the folder, from its checkpoint if there is one yet.
    config: what to write to config.json; a folder with another configuration is refused.
    evaluate_every: epochs between measurements on the test set; the last epoch is always measured.
    checkpoint_every: seconds between checkpoints; one is also written at the end.
    progress: show a progress bar and a line an epoch; or a function to call with each epoch's row.

    Raises
    ------
    FloatingPointError: the loss or a weight is no longer finite; says at which step, and in which layer it first
        happened; on a GPU, which is not waited for, up to 50 steps later. Also for a test loss that is not finite, and
        for an epoch whose mean loss is over 1000 times the first step's. The folder keeps its last checkpoint.
    ValueError: the folder holds another run, or one with other settings; its checkpoint does not fit; the optimizer
        holds none of the model's parameters.
    FileNotFoundError: the run to be resumed is not there.
    RuntimeError: another `fit`, in this process or another, is at work in the folder.
    """
    if not checkpoint_every >= 0:
        raise ValueError(f"fit: checkpoint_every must be at least 0 seconds, got {checkpoint_every}")
    run = _Run(model, train, test, epochs, optimizer, loss, schedule, swalp, scaler, precision, evaluate_every)
    if out is None:
        _train(run, None, checkpoint_every, progress)
        return run.log
    with _Folder(out, config, resume) as folder:
        folder.restore(run)
        with folder.saves_when_stopped(run):
            _train(run, folder, checkpoint_every, progress)
        folder.finish(run)
    return run.log


def _train(run: _Run, folder: _Folder | None, checkpoint_every: float,
           progress: bool | Callable[[Row], None]) -> None:  # fmt: skip
    """Train from wherever the run stands to its end."""
    try:
        total = run.epochs * len(run.train)
    except TypeError:  # a loader that does not know
        total = None
    run.warn_of_idle_average(total)
    with _Progress(total, run.step, progress) as bar, one_blas_thread():
        while run.epoch < run.epochs:
            _epoch(run, folder, checkpoint_every, bar)


def _epoch(run: _Run, folder: _Folder | None, checkpoint_every: float, bar: _Progress) -> None:
    """Train from wherever the run stands to the end of its epoch."""
    run.begin_epoch()
    for x, y in run.train:
        run.train_step(x, y)
        bar.step(f"epoch {run.epoch + 1}/{run.epochs}", loss=run.last_loss)
        if folder is not None and time.monotonic() - folder.saved >= checkpoint_every:
            run.look()
            folder.checkpoint(run)
    run.look()
    row = run.end_epoch()
    run.keep()
    bar.line(row)
    if folder is not None:
        folder.write_log(run)


class _Run:
    """The state of a training run, and its steps."""

    def __init__(self, model: Module, train: Any, test: Any, epochs: int, optimizer: Optimizer,
                 loss: Loss, schedule: Schedule | None, swalp: SWALP | None, scaler: LossScaler | None,
                 precision: PrecisionLike, evaluate_every: int) -> None:  # fmt: skip
        if epochs < 1 or evaluate_every < 1:
            raise ValueError(f"fit: epochs and evaluate_every must be at least 1, got {epochs} and {evaluate_every}")
        _check_parts(model, train, optimizer, swalp)
        self.model, self.test, self.epochs = model, test, epochs
        self.train = train if hasattr(train, "load_state_dict") else _Batches(train)
        if isinstance(train, DataLoader) and not train._resume:
            train.epoch = train.epoch  # where a loop was left, the next one starts the epoch anew
        self.optimizer, self.loss, self.schedule, self.swalp = optimizer, loss, schedule, swalp
        self.scaler, self.precision, self.evaluate_every = scaler, as_precision(precision), evaluate_every
        self.epoch = self.step = 0
        self.lr = optimizer.lr  # of the last step: SWALP may already have switched the optimizer's
        self.tally, self.log = _Tally(), []
        self.last_loss = math.nan  # the last one that was read
        self.unread: Any = None  # on a GPU, the loss and the inputs of the last step
        self.first_loss: float | None = None  # of the first step: what a loss that diverges is held against
        self.rates: list[float] = []  # of each epoch, as the schedule said: another schedule is found by them
        self.keep()

    def begin_epoch(self) -> None:
        averaging = self.swalp is not None and self.swalp.lr is not None and self.swalp.t >= self.swalp.start
        if self.schedule is not None and not averaging:
            self.optimizer.lr = self.schedule(self.epoch)
            self.rates[self.epoch :] = [float(self.optimizer.lr)]

    @np.errstate(all="ignore")  # numbers that are not finite are looked for, and reported with their place
    def train_step(self, x: Any, y: Any) -> None:
        """Take one step; raises FloatingPointError if the loss or a weight is not finite.

        On a GPU that comes out every `LOOK` steps, as is the loss read: each time the GPU is waited for.
        """
        device = self.model.device
        advice = f"use a smaller batch than {len(x)} samples, or a smaller model"
        with enough_memory(f"step {self.step + 1} of the training", advice):
            self._step(*_on(device, x, y))

    def _step(self, x: Any, y: Any) -> None:
        sites = [s.site for s in self._streams()]
        logits, loss = self._forward(x, y)
        on_host = device_of(loss.data) == "cpu"
        if on_host:
            self._check_loss(loss, x, sites)
        self.optimizer.zero_grad()
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()
        self.lr = self.optimizer.lr
        taken = self._update()
        if on_host:
            self._check_weights()
        if self.swalp is not None and taken:  # a step that the scaler skipped changed no weight
            self.swalp.step()
        self.tally.add(logits, loss, y)
        self.step += 1
        self.unread = None if on_host else (loss.data, x)
        if self.first_loss is None:
            self.first_loss = float(loss.data)
        if self.step % LOOK == 0:
            self.look()
        self.keep()

    def _update(self) -> bool:
        """Step the optimizer; return whether it moved."""
        if self.scaler is None:
            self.optimizer.step()
            return True
        return self.scaler.step(self.optimizer) is not False

    def keep(self) -> None:
        """Remember this moment, between two steps, for a stop in the midst of the next."""
        self.moment = _Moment(self)

    def finite(self) -> bool:
        """Return whether the loss and the weights are: only such a state is worth a checkpoint."""
        tensors = [*self.model.parameters(), *self.model.buffers()]
        arrays = [t.data for t in tensors if t.data.dtype.kind == "f"]
        return self.tally.finite() and all(bool(get_array_module(a).isfinite(a).all()) for a in arrays)

    def _check_loss(self, loss: Tensor, x: Any, sites: list[int]) -> None:
        self.last_loss = float(loss.data)
        if not math.isfinite(self.last_loss):
            for stream, site in zip(self._streams(), sites, strict=True):
                stream.site = site  # the search below runs into the same random bits
            raise FloatingPointError(self._where(f"the loss is {self.last_loss}", x))

    def look(self) -> None:
        """Read what a GPU has kept to itself since the last time; raises FloatingPointError as `train_step` does."""
        if self.unread is None:
            return
        (loss, x), self.unread = self.unread, None
        self.last_loss = float(loss)
        if not self.tally.finite():
            problem = f"the loss was not finite in one of the last {LOOK} steps"
            raise FloatingPointError(self._where(problem, x, self.step))
        self._check_weights()

    def _forward(self, x: Any, y: Any) -> tuple[Tensor, Tensor]:
        self.model.train()
        try:
            with use(self.precision):
                logits = self.model(Tensor(x))
                return logits, self.loss(logits, y)
        except ValueError as error:  # a format without NaN refuses to round one
            if first_nonfinite(self.model, x, self.precision) is None:
                raise
            raise FloatingPointError(self._where(str(error), x)) from error

    def end_epoch(self) -> Row:
        self._check_absurd(self.tally.result()["loss"])
        self.epoch += 1
        row: Row = {"epoch": self.epoch, "step": self.step, "lr": self.lr}
        row |= {f"train_{k}": v for k, v in self.tally.result().items()}
        if self.test is not None and (self.epoch % self.evaluate_every == 0 or self.epoch == self.epochs):
            with use(self.precision):
                row |= {f"test_{k}": v for k, v in evaluate(self.model, self.test, self.loss).items()}
            if self.swalp is not None and self.swalp.n_averaged:
                row |= {f"swalp_{k}": v for k, v in evaluate(self.averaged(), self.test, self.loss).items()}
        for key in ("test_loss", "swalp_loss"):
            if not math.isfinite(row.get(key, 0.0)):
                raise FloatingPointError(f"training stopped after epoch {self.epoch}: {key} is {row[key]}; {ADVICE}")
        self.tally = _Tally()
        self.log.append(row)
        return row

    def _check_absurd(self, mean: float) -> None:
        if mean > ABSURD * max(abs(self.first_loss or 0.0), 1.0):
            raise FloatingPointError(
                f"training stopped at step {self.step} (epoch {self.epoch + 1}): it diverges, the mean loss of the "
                f"epoch is {mean:.3g}, that of the first step was {self.first_loss:.3g}; {ADVICE}")  # fmt: skip

    def warn_of_idle_average(self, steps: int | None) -> None:
        """Say so where the run will have ended before the first average."""
        for name, average in self.swalp.averages.items() if self.swalp is not None and steps is not None else ():
            first, last = self.swalp.start + average.cycle, self.swalp.t + steps - self.step
            if last < first and not average.n_averaged:
                which = f"SWALP's {name!r}" if name else "SWALP"
                say(f"fit: {which} averages after step {first} for the first time, but the run ends at step {last}")

    def averaged(self) -> Module:
        """Return the averaged model with its BatchNorm statistics estimated anew, without augmentation."""
        averaged, train = self.swalp.averaged, self.train
        if isinstance(train, DataLoader):
            train = DataLoader(train.dataset, train.batch_size, drop_last=train.drop_last)
        update_bn(averaged, train.loader if isinstance(train, _Batches) else train)
        return averaged

    def _check_weights(self) -> None:
        """Raise FloatingPointError if a weight is not finite: such a state must not replace a good checkpoint."""
        if any(not bool(get_array_module(p.data).isfinite(p.data).all()) for p in self.model.parameters()):
            raise FloatingPointError(self._where("a weight is not finite", None))

    def _where(self, problem: str, x: Any, step: int | None = None) -> str:
        place = first_nonfinite(self.model, x, self.precision) or "only the loss itself"
        return (f"training stopped at step {step or self.step + 1} (epoch {self.epoch + 1}): {problem}; "
                f"the first numbers that are not finite: {place}; {ADVICE}")  # fmt: skip

    def _streams(self) -> list[random.Stream]:
        return [random.of_thread(), *self._held_streams().values()]

    def _held_streams(self) -> dict[str, random.Stream]:
        """Return the streams that quantizers hold themselves, by where they are held."""
        found: dict[int, tuple[str, random.Stream]] = {}
        for where, precision in self._precisions().items():
            for role, stream in precision.streams().items():
                found.setdefault(id(stream), (f"{where}.{role}", stream))
        for name, average in self.swalp.averages.items() if self.swalp is not None else ():
            if isinstance(stream := getattr(average.precision.average, "stream", None), random.Stream):
                found.setdefault(id(stream), (f"swalp.{name}" if name else "swalp", stream))
        return dict(found.values())

    def _precisions(self) -> dict[str, Precision]:
        lowered = {name: m.precision for name, m in self.model.named_modules() if m.precision is not None}
        own = {f"optimizer.{i}": precision for i, precision in self.optimizer.own.items()}
        return {"fit": self.precision, "optimizer": self.optimizer.precision, **own, **lowered}

    def _held_functions(self) -> dict[str, Any]:
        """Return the users' functions that round, by where they are held, as what has their state."""
        averages = self.swalp.averages if self.swalp is not None else {}
        precisions = {**self._precisions(), **{f"swalp.{name}": one.precision for name, one in averages.items()}}
        found: dict[int, tuple[str, Any]] = {}
        for where, precision in precisions.items():
            for role in ROLES:
                function = getattr(precision, role)
                owner = function.__self__ if inspect.ismethod(function) else function
                if not isinstance(owner, Quantizer | type) and hasattr(owner, "__dict__"):
                    found.setdefault(id(owner), (f"{where}.{role}", owner))
        return {name: owner if has_state(owner) else Attributes(owner) for name, owner in found.values()}

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next step depends on."""
        return {"epoch": self.epoch, "step": self.step, "lr": self.lr, "log": self.log, **self._parts(),
                "streams": self._held_streams(), "functions": self._held_functions(),
                "first_loss": self.first_loss, "rates": self.rates, "settings": self._settings()}  # fmt: skip

    def _parts(self) -> dict[str, Any]:
        """Return what has a state of its own."""
        return {"tally": self.tally, "model": self.model, "optimizer": self.optimizer, "swalp": self.swalp,
                "scaler": self.scaler, "loader": self.train, "stream": random.of_thread()}  # fmt: skip

    def _settings(self) -> dict[str, Any]:
        """Return what shapes the next step and is no state, as it is read from a checkpoint."""
        layers = {name or "model": m.precision for name, m in self.model.named_modules() if m.precision is not None}
        optimizer, swalp = self.optimizer, self.swalp
        settings = {
            "train": _chosen(self.train, "batch_size", "shuffle", "drop_last", samples="_samples"),
            "optimizer": {"kind": type(optimizer).__name__, "precision": _named(optimizer.precision),
                          "own": {str(i): _named(own) for i, own in optimizer.own.items()},
                          **_chosen(optimizer, "momentum", "nesterov", "betas", "eps", "weight_decay")},
            "swalp": {**_chosen(swalp, "start", "cycle", "lr"), "average": _named(getattr(swalp, "round", None)),
                      "averages": {name: [one.cycle, _named(one.precision.average)]
                                   for name, one in getattr(swalp, "averages", {}).items()}},
            "scaler": _chosen(self.scaler, "growth_interval"),
            "fit": {"precision": _named(self.precision)},
            "lower": {name: _named(p) for name, p in layers.items()},
        }  # fmt: skip
        return json.loads(json.dumps(settings, default=float))

    def _check_settings(self, state: dict[str, Any]) -> None:
        """Raise ValueError naming the first setting that differs; one that the checkpoint does not know passes."""
        own = self._settings()
        for part, old in state.get("settings", {}).items():
            for key, was in old.items():
                if (now := own.get(part, {}).get(key, was)) != was:
                    raise ValueError(f"it was made with {key}={was!r} ({part}), not {now!r}: "
                                     "resume with the same settings, or choose another folder")  # fmt: skip
        for epoch, was in enumerate(state.get("rates", [])):
            now = None if self.schedule is None else float(self.schedule(epoch))
            if now != was:
                raise ValueError(f"it was made with a schedule that gives {was!r} in epoch {epoch}, not {now!r}: "
                                 "resume with the same schedule, or choose another folder")  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        parts = self._parts()
        other = [name for name, part in parts.items() if (state[name] is None) != (part is None)]
        if state["streams"].keys() != self._held_streams().keys():
            other.append("streams of the quantizers")
        functions = state.get("functions", {})  # a checkpoint that knows none leaves them as they are
        if not isinstance(functions, dict):
            raise ValueError(f"the state of the functions that round is a {type(functions).__name__}, not a dictionary")
        if functions and functions.keys() != self._held_functions().keys():
            other.append("functions that round")
        if other:
            raise ValueError(f"the checkpoint was written by a run with other settings: {other[0]}")
        self._check_settings(state)
        _check_log(state["log"], state["epoch"])
        first, rates = state.get("first_loss"), state.get("rates", [])
        if not isinstance(rates, list):
            raise ValueError(f"the rates are a {type(rates).__name__}, not a list")
        self.first_loss = None if first is None else number("fit", "first_loss", first, -math.inf)
        self.epoch, self.step = (integer("fit", key, state[key]) for key in ("epoch", "step"))
        self.lr, self.log, self.rates = number("fit", "lr", state["lr"]), state["log"], rates
        for name, part in parts.items():
            if part is not None:
                part.load_state_dict(state[name])
        for name, stream in self._held_streams().items():
            stream.load_state_dict(state["streams"][name])
        for name, function in self._held_functions().items() if functions else ():
            function.load_state_dict(functions[name])
        if not self.finite():
            raise ValueError("a weight or a running statistic is not finite")
        self.keep()


def _check_log(log: Any, epoch: Any) -> None:
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


def _check_parts(model: Module, train: Any, optimizer: Optimizer, swalp: SWALP | None) -> None:
    """Raise ValueError for parts that do not belong together, TypeError for what cannot be gone through twice."""
    if not hasattr(train, "__iter__") or iter(train) is train:
        raise TypeError(f"fit: train must be a loader that starts anew each epoch, got a {type(train).__name__}")
    own = {id(p) for p in model.parameters()}
    if own.isdisjoint(map(id, optimizer.params)):
        raise ValueError("fit: the optimizer holds none of the model's parameters; make it from model.parameters()")
    if swalp is not None and own.isdisjoint(map(id, swalp.model.parameters())):
        raise ValueError("fit: swalp averages another model; make it from the one that is trained")


def _chosen(owner: Any, *names: str, **renamed: str) -> dict[str, Any]:
    """Return those attributes that the object has."""
    names = {**{name: name for name in names}, **renamed}
    return {key: getattr(owner, name) for key, name in names.items() if hasattr(owner, name)}


def _named(value: Any) -> str:
    """Return the text of a precision or a quantizer: the same in every process, and whatever state it is in."""
    if isinstance(value, Precision):
        roles = {role: getattr(value, role) for role in ROLES if getattr(value, role) is not None}
        return ", ".join(f"{role}={_named(function)}" for role, function in roles.items()) or "exact"
    constant = inspect.isroutine(value) or isinstance(value, Quantizer) or not hasattr(value, "__dict__")
    frozen = getattr(getattr(value, "__dataclass_params__", None), "frozen", False)
    return re.sub(r" at 0x[0-9a-fA-F]+", "", str(value) if constant or frozen else object.__repr__(value))


class _Batches:
    """A loader without a position of its own, with one: the batches of this epoch that were handed out."""

    def __init__(self, loader: Iterable[tuple[Any, Any]]) -> None:
        self.loader, self.batch, self._skip = loader, 0, 0

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        self.batch, self._skip = self._skip, 0
        for batch in itertools.islice(self.loader, self.batch, None):
            self.batch += 1
            yield batch
        self.batch = 0

    def state_dict(self) -> dict[str, int]:
        return {"batch": self.batch}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self._skip = self.batch = int(state["batch"])


class _Moment:
    """A run between two steps, by reference: a step puts new arrays in the place of old ones."""

    def __init__(self, run: _Run) -> None:
        self.tensors = [(t, t.data) for t in (*run.model.parameters(), *run.model.buffers())]
        owners = [run.tally, *_holders(run.optimizer), *_holders(run.swalp), *_holders(run.scaler)]
        self.owners = [(owner, _copied(vars(owner))) for owner in owners]
        self.positions = [(s, s.state_dict()) for s in (*run._streams(), run.train)]
        self.positions += [(f, copy.deepcopy(f.state_dict())) for f in run._held_functions().values()]
        self.own = {name: getattr(run, name) for name in ("epoch", "step", "lr", "tally", "first_loss")}
        self.log, self.rates = list(run.log), list(run.rates)

    def restore(self, run: _Run) -> None:
        """Bring the run back to this moment."""
        for tensor, data in self.tensors:
            tensor.data = data
        for owner, state in self.owners:
            vars(owner).update(_copied(state))
        for owner, state in self.positions:
            owner.load_state_dict(state)
        vars(run).update(self.own, log=self.log, rates=self.rates, unread=None)


def _holders(owner: Any) -> Iterator[Any]:
    """Yield the object, if there is one, and averages that it keeps."""
    if owner is not None:
        yield owner
        for value in vars(owner).values():
            inner = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
            for average in (v for v in inner if isinstance(v, SWALP | Average)):
                yield from _holders(average)


def _copied(value: Any) -> Any:
    """Return nested dictionaries and lists anew, with the same things in them."""
    if isinstance(value, dict):
        return {k: _copied(v) for k, v in value.items()}
    return [_copied(v) for v in value] if isinstance(value, list) else value


def first_nonfinite(model: Module, x: Any = None, precision: Precision | None = None) -> str | None:
    """Return where numbers that are not finite first appear: in the data, a parameter, or a layer's output."""
    if x is not None and not np.isfinite(Tensor(to_device(x, "cpu")).numpy()).all():
        return "in the data"
    for name, p in model.named_parameters():
        if not np.isfinite(p.numpy()).all():
            return f"in parameter {name!r}"
    if x is None:
        return None
    names, places, here = {id(m): name for name, m in model.named_modules()}, [], threading.get_ident()

    def look(m: Module, y: Tensor) -> None:
        if threading.get_ident() == here and not places and not np.isfinite(y.numpy()).all():
            name = names.get(id(m))
            places.append(f"in the output of {f'layer {name!r}' if name else 'the model'} ({type(m).__name__})")

    module.observers.append(look)
    try:
        with no_grad(), use(precision):
            model(Tensor(to_device(x, model.device)))
    finally:
        module.observers.remove(look)
    return places[0] if places else None


class _Folder:
    """The files of a run."""

    def __init__(self, path: str | os.PathLike[str], config: dict[str, Any] | None, resume: bool) -> None:
        self.path, self.saved = Path(path).expanduser(), time.monotonic()
        if resume and not self._holds_a_run():
            raise FileNotFoundError(f"{self.path} holds no run to resume: start one there without resume")
        self.path.mkdir(parents=True, exist_ok=True)
        self.lock = Lock(self.path / ".lock")
        try:
            self._begin(json.loads(json.dumps(config or {})), resume)  # as it will be read again
        except BaseException:
            self.lock.release()
            raise

    def __enter__(self) -> _Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self.lock.release()

    def _holds_a_run(self) -> bool:
        return any((self.path / name).exists() for name in ("config.json", "checkpoint.npz"))

    def _begin(self, config: dict[str, Any], resume: bool) -> None:
        if self._holds_a_run():
            self._check_config(config, resume)
        remove_leftovers(self.path)
        with atomic_write(self.path / "config.json", "w") as file:
            json.dump(config, file, indent=2)

    @contextlib.contextmanager
    def saves_when_stopped(self, run: _Run) -> Iterator[None]:
        """Write a checkpoint of the last whole step when the block is left by an exception, Ctrl-C or SIGTERM."""
        try:
            with _sigterm_raises():
                yield
        except FloatingPointError:
            raise  # a state of numbers that are not finite, or absurd, must not replace a good one
        except BaseException:
            with contextlib.suppress(Exception):  # what stopped the run is what is to be told
                run.moment.restore(run)
                if run.finite():
                    self.checkpoint(run)
                    self.write_log(run)
            raise

    def _check_config(self, config: dict[str, Any], resume: bool) -> None:
        """Raise ValueError unless the run that the folder holds is to be resumed and has this configuration."""
        if not resume:
            raise ValueError(f"{self.path} holds a run already: resume it, or choose another folder")
        old = read_config(self.path)
        if differing := [k for k in {**old, **config} if old.get(k) != config.get(k)]:
            k = differing[0]
            raise ValueError(f"{self.path} holds a run with {k}={old.get(k)!r}, not {config.get(k)!r}: "
                             "choose another folder, or resume with the same settings")  # fmt: skip

    def restore(self, run: _Run) -> None:
        """Bring `run` to where the checkpoint was written, and the log with it."""
        file = self.path / "checkpoint.npz"
        if file.exists():
            state = load(file)
            try:
                run.load_state_dict(state["run"])
            except KeyError as error:
                raise ValueError(f"{file} does not fit this run: it has no {error}") from error
            except (TypeError, AttributeError, ValueError) as error:
                raise ValueError(f"{file} does not fit this run: {error}") from error
        self.write_log(run)  # lines from after the checkpoint will be written again

    def write_log(self, run: _Run) -> None:
        with atomic_write(self.path / "log.jsonl", "w") as file:
            file.writelines(json.dumps(_as_json(row), allow_nan=False) + "\n" for row in run.log)

    def checkpoint(self, run: _Run) -> None:
        save(self.path / "checkpoint.npz", run=run)
        self.saved = time.monotonic()

    def finish(self, run: _Run) -> None:
        """Write the last checkpoint, the final models and the curves."""
        self.checkpoint(run)
        fmt = getattr(run.optimizer.precision.weight, "format", None)
        save(self.path / "model.npz", packed=fmt, model=run.model)
        if run.swalp is not None and run.swalp.n_averaged:
            save(self.path / "averaged.npz", model=run.averaged())
        plot_curves(run.log, self.path / "curves.png")


@contextlib.contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Have SIGTERM end the block with SystemExit, unless the program sees to it itself."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def stop(number: int, _: Any) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _as_json(row: Row) -> Row:
    """Return the row with None for what JSON cannot say."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}


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


def plot_curves(log: list[Row], path: Path) -> None:
    """Draw the loss and the error of every epoch to a picture, where matplotlib is installed."""
    measures = [m for m in _UNITS if f"train_{m}" in log[0]]
    picture.try_save(path, (4.5 * len(measures), 3.5), lambda figure: _draw(figure, measures, log))


_UNITS = {"loss": "nats", "error": "%"}


def _draw(figure: Any, measures: list[str], log: list[Row]) -> None:
    for axes, measure in zip(figure.subplots(1, len(measures), squeeze=False)[0], measures, strict=True):
        for kind, label in (("train", "training"), ("test", "test"), ("swalp", "test, SWALP average")):
            points = [(r["epoch"], r[f"{kind}_{measure}"]) for r in log if f"{kind}_{measure}" in r]
            if points:
                axes.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 30 else None)
        scale = "log" if measure == "loss" else "linear"
        axes.set(xlabel="epoch", ylabel=f"{measure} ({_UNITS[measure]})", yscale=scale)
        axes.grid(alpha=0.3)
        axes.legend()


class _Progress:
    """A bar over all steps and a line an epoch, or what the user calls with each epoch's row."""

    def __init__(self, total: int | None, done: int, progress: bool | Callable[[Row], None]) -> None:
        self.bar = Bar(total, done, wanted=progress is True)
        self.report = progress if callable(progress) else self._print if progress else None

    def _print(self, row: Row) -> None:
        self.bar.print(format_row(row))

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.__exit__()

    def step(self, text: str, loss: float) -> None:
        shown = "" if math.isnan(loss) else f" loss {loss:.3f}"  # a GPU's first has not been read
        self.bar.advance(title=text + shown)

    def line(self, row: Row) -> None:
        if self.report is not None:
            self.report(row)


def format_row(row: Row) -> str:
    """Return an epoch's log entry as a line of text."""
    parts = [f"epoch {row['epoch']:3d}", f"lr {row['lr']:.4f}", f"loss {row['train_loss']:.4f}"]
    errors = {"train": "train_error", "test": "test_error", "average": "swalp_error"}
    parts += [f"{name} {row[key]:5.2f} %" for name, key in errors.items() if key in row]
    return "  ".join(parts)
