"""`fit`: training with progress, a log, checkpoints and exact resume.

A run killed at any moment and resumed ends with the same bits as one that was not: the checkpoint holds everything that
the next step depends on, and all random choices are functions of the position they are made at.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from .. import distributed
from .. import functions as F
from ..backend import one_blas_thread
from ..nn import Module
from ..optim import SWALP, LossScaler, Optimizer
from ..optim.schedules import Schedule
from ..precision import PrecisionLike, as_precision
from . import diagnosis
from .callbacks import Callback, Progress
from .evaluation import Batches, Loss
from .folder import Folder
from .log import Row
from .run import Run
from .step import begin_epoch, end_epoch, take_step


def fit(
    model: Module,
    train: Batches,
    test: Batches | None = None,
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
    progress: bool | str | Callable[[Row], None] = True,
    callbacks: Sequence[Callback] = (),
    test_name: str = "test",
    graph: bool = False,
) -> list[Row]:
    """Train `model` and return the log: one dictionary an epoch.

    Parameters
    ----------
    model : Module
        It is trained in place.
    train, test : DataLoader or iterable of batches (x, y)
        The test set is only measured on. One without a `state_dict` has to give the same batches each time if a run is
        to be resumed exactly.
    epochs : int
        How many passes over `train`.
    optimizer : Optimizer
        Holds the model's parameters.
    loss : function
        The mean over a batch, of the output and y.
    schedule : function, optional
        From the epoch to the learning rate, or to a list with one for each group of parameters, which it sets.
    swalp : SWALP, optional
        The running average; once it has a rate of its own and has started, the schedule no longer counts. Of several
        averages the first is measured and written; all are in the checkpoint.
    scaler : LossScaler, optional
        Scales the loss up before the backward pass and the gradients down after it, for formats of short range.
    precision : Precision, format, its name or function, optional
        Rounds every operation; None leaves it to the layers that `nn.lower` marked. A function that rounds and
        has a state is saved with the run: by its `state_dict` and `load_state_dict`, else its attributes that are
        arrays, numbers, text, streams or NumPy's generators; what it keeps elsewhere, as in a closure, is not.
    out : path, optional
        The run folder: config.json, log.jsonl, checkpoint.npz, model.npz, averaged.npz, curves.png. None: no files.
        Whatever stops the run (Ctrl-C, SIGTERM, an exception) writes a checkpoint of the last whole step first.
    resume : bool
        Go on with the run in the folder, from its checkpoint if there is one yet.
    config : dict, optional
        What to write to config.json; a folder with another configuration is refused. Its entry "about" goes into
        the model files, which `load_model` then knows how to use: see `lpnet.classifier.about`.
    evaluate_every : int
        Epochs between measurements on the test set; the last epoch is always measured.
    checkpoint_every : float
        Seconds between checkpoints; one is also written at the end.
    progress : bool or function
        Show a progress bar and a line an epoch, "lines" for these alone, False for neither; or a function to call
        with each epoch's row.
    callbacks : sequence of Callback
        Called in their order as the run goes on, such as `training.ClipGradients`, `training.EMA` and
        `training.EarlyStopping`, or your own `training.Callback`; what they remember is in the checkpoint.
    test_name : str
        What the rows call the measures on `test`: "val" for a validation set.
    graph : bool
        On a GPU, record a step and launch it as a whole, several times as fast for a small network, to the same bits:
        see `training.GraphedStep`. What the model does on the host besides is done while recording only. Steps in which
        the host has a part (Adam's count, a scaler, products, functions that round, callbacks around the step) are
        taken as ever.

    Raises
    ------
    FloatingPointError
        The loss or a weight is no longer finite; says at which step, and in which layer it first
        happened; on a GPU, which is not waited for, up to 50 steps later. Also for a test loss that is not finite, and
        for an epoch whose mean loss is over 1000 times the first step's. The folder keeps its last checkpoint.
    ValueError
        The folder holds another run, or one with other settings; its checkpoint does not fit; the optimizer
        holds none of the model's parameters.
    FileNotFoundError
        The run to be resumed is not there.
    RuntimeError
        Another `fit`, in this process or another, is at work in the folder.
    """
    if not checkpoint_every >= 0:
        raise ValueError(f"fit: checkpoint_every must be at least 0 seconds, got {checkpoint_every}")
    with distributed.together():
        run = Run(
            model,
            train,
            test,
            epochs,
            optimizer,
            loss,
            schedule,
            swalp,
            scaler,
            as_precision(precision),
            evaluate_every,
            callbacks,
            test_name,
            graph,
        )
        diagnosis.check_alike(run)
        if out is None:
            _train(run, progress)
            return run.log
        with Folder(out, config, resume, checkpoint_every) as folder:
            folder.restore(run)
            with folder.saves_when_stopped(run):
                _train(run, progress, folder)
            folder.finish(run)
        return run.log


def _train(run: Run, progress: bool | str | Callable[[Row], None], *watchers: Callback) -> None:
    """Train from wherever the run stands to its end; watchers are called between steps, and are no part of the run."""
    try:
        total = run.epochs * len(run.train)
    except TypeError:  # a loader that does not know
        total = None
    diagnosis.warn_of_idle_average(run, total)
    shown = Progress(total, run.step, progress if distributed.first() else False)
    with shown.bar, one_blas_thread():
        while run.epoch < run.epochs and not run.stopped:
            _epoch(run, (shown, *watchers))


def _epoch(run: Run, watchers: Sequence[Callback]) -> None:
    """Train from wherever the run stands to the end of its epoch."""
    begin_epoch(run)
    for x, y in run.train:
        take_step(run, x, y)
        for watcher in watchers:
            watcher.on_step(run)
    end_epoch(run)
    for watcher in watchers:
        watcher.on_epoch(run, run.log[-1])
