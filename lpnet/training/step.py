"""The step of a training: forward, backward, update. And the epoch: a step a batch, then a row of the log."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import distributed
from ..backend import Array, device_of, enough_memory
from ..precision import use
from ..random import Stream
from ..tensor import Tensor, gradients
from . import diagnosis
from .evaluation import Tally, on_device
from .exchange import Bfp8Rows
from .log import Row
from .quantizers import streams
from .settings import as_json
from .signals import uninterrupted

if TYPE_CHECKING:
    from .run import Run


def begin_epoch(run: Run) -> None:
    """Set the learning rate, unless SWALP has one of its own and has started."""
    if run.schedule is not None and not _averaging(run):
        run.optimizer.lr = rate = run.schedule(run.epoch)
        run.rates[run.epoch :] = [as_json(rate)]


def _averaging(run: Run) -> bool:
    return run.swalp is not None and run.swalp.lr is not None and run.swalp.t >= run.swalp.start


@np.errstate(all="ignore")  # numbers that are not finite are looked for, and reported with their place
def take_step(run: Run, x: Any, y: Any) -> None:
    """Take one step; raises FloatingPointError if the loss or a weight is not finite.

    On a GPU that comes out every `diagnosis.INTERVAL` steps, as is the loss read: each time the GPU is waited for.
    """
    advice = f"use a smaller batch than {len(x)} samples, or a smaller model"
    with enough_memory(f"step {run.step + 1} of the training", advice):
        _step(run, *on_device(run.model.device, x, y))


def _step(run: Run, x: Any, y: Any) -> None:
    if run.schedule is not None and getattr(run.schedule, "each_step", False) and not _averaging(run):
        run.optimizer.lr = run.schedule(run.step / len(run.train))
    if run.recorded is None or diagnosis.time_to_look(run):
        _finish(run, x, *_taken(run, x, y))
        return
    # A recorded step writes over the arrays of the one before: there is no going back to these.
    with uninterrupted():
        run.snapshot = None
        run.model.train()
        logits, loss = run.recorded.take(x, y)
        _finish(run, x, Tally.of(Tensor(logits), Tensor(loss), y), loss)


def _taken(run: Run, x: Any, y: Any) -> tuple[Tally, Array]:
    """Take the step; return what was measured, and the loss."""
    drawn = [(stream, stream.site) for stream in streams(run)]
    with _blocks(run):
        tally, loss = (_by_shards if distributed.on() else _at_once)(run, x, y, drawn)
        for callback in run.callbacks:
            callback.on_backward(run)
        _update(run)
    return tally, loss


def _finish(run: Run, x: Any, tally: Tally, loss: Array) -> None:
    """Count the step, and let those look who want to."""
    run.lr = run.optimizer.lr
    on_host = device_of(loss) == "cpu"
    if on_host:
        diagnosis.check_weights(run)
    if run.swalp is not None and not run.skipped:  # a step that the scaler skipped changed no weight
        run.swalp.step()
    _count(run, tally, loss)
    run.unread = None if on_host else (loss, x)
    for callback in run.callbacks:
        callback.on_step(run)
    if run.step % diagnosis.INTERVAL == 0:
        diagnosis.check_unread(run)
    run.keep()


@contextlib.contextmanager
def _blocks(run: Run) -> Iterator[None]:
    """Be in the blocks that callbacks want around the step, and look at the ends of formats where it is time."""
    with diagnosis.look_at_ends(run), contextlib.ExitStack() as blocks:
        for callback in run.callbacks:
            blocks.enter_context(callback.around_step(run))
        yield


Drawn = list[tuple[Stream, int]]  # the streams of a run, and their sites before the step


def _at_once(run: Run, x: Any, y: Any, drawn: Drawn) -> tuple[Tally, Array]:
    """Leave the batch's gradients in the parameters; return what was measured, and the loss."""
    with _told_where(run, x):
        logits, loss = _forward(run, x, y)
    diagnosis.check_loss(run, loss.data, x, drawn)
    run.optimizer.zero_grad()
    _scaled(run, loss).backward()
    return Tally.of(logits, loss, y), loss.data


def _by_shards(run: Run, x: Any, y: Any, drawn: Drawn) -> tuple[Tally, Array]:
    """Do the same shard by shard, in as many processes as there are."""
    params = list(dict.fromkeys([*run.model.parameters(), *run.optimizer.params]))

    def part(samples: slice) -> tuple[tuple[Any, Tally], list[Array | None]]:
        (logits, loss), weight = _forward(run, x[samples], y[samples]), len(x[samples]) / len(x)
        return (loss.data * weight, Tally.of(logits, loss, y[samples])), gradients(_scaled(run, loss), weight, params)

    with _told_where(run, x):
        measured, grads = distributed.by_shards(len(x), [p.data for p in params], part, Bfp8Rows)
    loss, tally = sum(loss for loss, _ in measured), Tally()
    diagnosis.check_loss(run, loss, x, drawn)
    for _, one in measured:
        tally.add(one)
    for p, g in zip(params, grads, strict=True):
        p.grad = g
    return tally, loss


@contextlib.contextmanager
def _told_where(run: Run, x: Any) -> Iterator[None]:
    try:
        yield
    except ValueError as error:  # a format without NaN refuses to round one
        if diagnosis.first_nonfinite(run.model, x, run.precision) is None:
            raise
        raise FloatingPointError(diagnosis.where(run, str(error), x)) from error


def _forward(run: Run, x: Any, y: Any) -> tuple[Tensor, Tensor]:
    run.model.train()
    with use(run.precision):
        logits = run.model(Tensor(x))
        return logits, run.loss(logits, y)


def _scaled(run: Run, loss: Tensor) -> Tensor:
    return loss if run.scaler is None else run.scaler.scale(loss)


def _update(run: Run) -> None:
    if run.scaler is None:
        run.optimizer.step()
    else:
        run.skipped = run.scaler.step(run.optimizer) is False


def _count(run: Run, tally: Tally, loss: Any) -> None:
    run.tally.add(tally)
    run.step += 1
    if run.first_loss is None:
        run.first_loss = float(loss)


def end_epoch(run: Run) -> None:
    """Add a row to the log: the means over the epoch, and what the model and its averages are worth on the test set.

    Raises FloatingPointError if a loss diverges or is not finite.
    """
    diagnosis.check_unread(run)
    diagnosis.check_alike(run)
    diagnosis.check_mean(run)
    run.epoch += 1
    row: Row = {"epoch": run.epoch, "step": run.step, "lr": run.lr, **_prefixed("train", run.tally.result())}
    if run.tested():
        row |= _prefixed(run.test_name, run.measure(run.model))
        if run.swalp is not None and run.swalp.n_averaged:
            row |= _prefixed("swalp", run.measure(run.update_bn(run.swalp.averaged)))
    for callback in run.callbacks:
        callback.on_epoch(run, row)
    diagnosis.check_row(row)
    diagnosis.warn(run, row)
    run.tally = Tally()
    run.log.append(row)
    run.keep()


def _prefixed(prefix: str, measures: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}_{name}": value for name, value in measures.items()}
