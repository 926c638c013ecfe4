"""What goes wrong in a training: numbers that are not finite, losses that diverge or stay, averages that never come."""

from __future__ import annotations

import contextlib
import math
import threading
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import distributed
from .. import functions as F
from .._trace import Trace, in_place_of, tracing
from ..backend import Array, device_of, get_array_module, to_device
from ..formats import Blocked, FixedPoint, Format
from ..formats.base import bound
from ..nn import Module, module
from ..precision import Precision, use
from ..products import Products
from ..progress import say
from ..random import Stream
from ..tensor import Tensor, no_grad
from ..validate import number
from .log import Row

if TYPE_CHECKING:
    from .run import Run

INTERVAL = 50  # steps from one look at what a GPU has computed to the next
ABSURD = 1e3  # a mean loss of that many times the first step's, or 1, is a run that diverges
RISEN = 2.0  # a mean loss of that many times the first step's is worth a word
SATURATED = 1 / 3  # a share of numbers beyond the ends of their format that is worth a word
GUESSING = 0.01  # a loss that near to that of guessing, as a share of it, has learned nothing
ADVICE = "try a lower learning rate (--lr), or a loss scale (--loss-scale) where a format has a short range"


def first_nonfinite(model: Module, x: Any = None, precision: Precision | None = None) -> str | None:
    """Return where numbers that are not finite first appear: in the data, a parameter, or a layer's output."""
    if x is not None and not np.isfinite(Tensor(to_device(x, "cpu")).numpy()).all():
        return "in the data"
    for name, p in model.named_parameters():
        if not np.isfinite(p.numpy()).all():
            return f"in parameter {name!r}"
    return None if x is None else _first_output(model, x, precision)


def _first_output(model: Module, x: Any, precision: Precision | None) -> str | None:
    """Return which layer's output is the first that is not finite."""
    names, here = {id(m): name for name, m in model.named_modules()}, threading.get_ident()
    places: list[str] = []

    def observe(m: Module, y: Tensor) -> None:
        if threading.get_ident() == here and not places and not np.isfinite(y.numpy()).all():
            name = names.get(id(m))
            places.append(f"in the output of {f'layer {name!r}' if name else 'the model'} ({type(m).__name__})")

    module.forward_hooks.append(observe)
    try:
        with no_grad(), use(precision):
            model(Tensor(to_device(x, model.device)))
    finally:
        module.forward_hooks.remove(observe)
    return places[0] if places else None


def check_loss(run: Run, loss: Array, x: Any, drawn: list[tuple[Stream, int]]) -> None:
    """Raise FloatingPointError if the loss is not finite; drawn: streams, and their sites before the forward pass.

    A GPU is not waited for: `check_unread` looks later.
    """
    if device_of(loss) != "cpu":
        return
    run.last_loss = float(loss)
    if not math.isfinite(run.last_loss):
        for stream, site in drawn:
            stream.site = site  # the search below runs into the same random bits
        raise FloatingPointError(where(run, f"the loss is {run.last_loss}", x))


def check_weights(run: Run) -> None:
    """Raise FloatingPointError if a weight is not finite: such a state must not replace a good checkpoint."""
    if not finite([p.data for p in run.model.parameters()]):
        raise FloatingPointError(where(run, "a weight is not finite", None))


def finite(arrays: list[Array]) -> bool:
    """Return whether all numbers are; a GPU is waited for once."""
    each = [get_array_module(a).isfinite(a).all() for a in arrays]
    return not each or bool(get_array_module(arrays[0]).stack(each).all())


def check_unread(run: Run) -> None:
    """Read what a GPU has kept to itself since the last time; raises FloatingPointError as the two above do."""
    if run.unread is None:
        return
    (loss, x), run.unread = run.unread, None
    run.last_loss = float(loss)
    if not run.tally.finite():
        problem = f"the loss was not finite in one of the last {INTERVAL} steps"
        raise FloatingPointError(where(run, problem, x, run.step))
    check_weights(run)


def check_alike(run: Run) -> None:
    """Raise RuntimeError unless all processes have the same weights, which nothing else sees to but doing the same."""
    if not distributed.on():
        return
    own = [zlib.crc32(p.numpy().tobytes()) for p in run.model.parameters()]
    sums = distributed.share("a comparison of weights", own)
    if other := [i for i, its in enumerate(sums) if its != sums[0]]:
        raise RuntimeError(
            f"fit: process {other[0]} has other weights than process 0: seed all alike before the model "
            "is made, and let nothing in the program depend on which process it is"
        )


def check_mean(run: Run) -> None:
    """Raise FloatingPointError if the epoch's mean loss is far above that of the first step."""
    mean = run.tally.result()["loss"]
    if mean > ABSURD * max(abs(run.first_loss or 0.0), 1.0):
        raise FloatingPointError(
            f"training stopped at step {run.step} (epoch {run.epoch + 1}): it diverges, the mean loss of the "
            f"epoch is {mean:.3g}, that of the first step was {run.first_loss:.3g}; {ADVICE}"
        )


def check_row(row: Row) -> None:
    """Make the row's numbers Python's; raises FloatingPointError for one that is not finite, ValueError for others."""
    for key, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise FloatingPointError(f"training stopped after epoch {row['epoch']}: {key} is {value}; {ADVICE}")
        plain = number("fit", f"the log's {key}", value, -math.inf)
        row[key] = value if isinstance(value, int) else plain


def warn(run: Run, row: Row) -> None:
    """Say what goes wrong without an error, a line each, and what to try."""
    notes = [_guessing(run, row), _rising(run, row), _saturated(run)]
    run.beyond = {}
    for note in notes if distributed.first() else ():
        if note:
            say(f"fit: after epoch {run.epoch} {note}")


def _guessing(run: Run, row: Row) -> str:
    """Tell, once early and once at the end, of a loss that is that of equal probabilities for all classes."""
    loss, guess = row["train_loss"], _loss_of_guessing(run)
    if run.epoch not in (2, run.epochs) or abs(loss - guess) >= GUESSING * guess:
        return ""
    return (
        f"the loss {loss:.3f} is that of guessing, ln({run.tally.classes}): try another learning rate (--lr), "
        "a loss scale (--loss-scale) or wider formats; lp.trace and 'lpnet step' show what is rounded to zero"
    )


def _loss_of_guessing(run: Run) -> float:
    """Return the loss of equal probabilities for all classes, 0 where there are no such."""
    return math.log(run.tally.classes) if run.loss is F.cross_entropy and run.tally.classes >= 2 else 0.0


def _rising(run: Run, row: Row) -> str:
    """Tell of the first epoch whose loss is well above the first step's, and guessing's: weights may have learned."""
    first = max(run.first_loss or 0.0, _loss_of_guessing(run))
    high = [r["train_loss"] > RISEN * first > 0 for r in (*run.log, row)]
    if not high[-1] or any(high[:-1]):
        return ""
    return (
        f"the loss {row['train_loss']:.3g} is over twice the first step's, {run.first_loss:.3g}: if it diverges, try "
        "a lower learning rate (--lr), --warmup or --clip; lp.watch and 'lpnet step' show what a step does"
    )


def _saturated(run: Run) -> str:
    """Tell of the place where most numbers are beyond the ends of their format, if these are over a third."""
    shares = {site: float(share) for site, (share, _) in run.beyond.items()}
    site = max(shares, key=shares.__getitem__, default=None)
    if site is None or shares[site] <= SATURATED:
        return ""
    (place, role), fmt = site, run.beyond[site][1]
    remedy = "a format that reaches further"
    if isinstance(fmt, FixedPoint):
        remedy = f"fewer bits behind the point, such as fixed{fmt.wl}.{fmt.fl - 2} (--precision {role}=...)"
    if role == "error" and run.loss_scale > 1:
        remedy = "a smaller loss scale (--loss-scale)"
    what = f"{shares[site]:.0%} of what is rounded as {role} at {place or 'the model'!r} is beyond the ends of {fmt}"
    return f"{what}: try {remedy}; lp.trace and 'lpnet step' show all places"


class _Ends(Trace):
    """What share of the numbers was beyond the ends of their format, and the format; a GPU is not waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.beyond: dict[tuple[str, str], tuple[Any, Format]] = {}

    def _recorder(self, place: str, role: str, quantizer: Any) -> Any:
        fmt = getattr(quantizer, "format", None)
        if not isinstance(fmt, Format) or isinstance(fmt, Blocked):  # blocks reach as far as their numbers
            return quantizer

        def record(x: Any) -> Any:
            self.beyond[place, role] = ((x > bound(fmt.max, x.dtype)) | (x < bound(fmt.min, x.dtype))).mean(), fmt
            return quantizer(x)

        return in_place_of(quantizer, record)

    def _products(self, place: str, products: Products) -> Products:
        return products


def time_to_look(run: Run) -> bool:
    """Return whether the next step is the first of the first epoch or of the last."""
    return not run.tally.seen and run.epoch in (0, run.epochs - 1)


@contextlib.contextmanager
def look_at_ends(run: Run) -> Iterator[None]:
    """Count, where it is time to look, what is beyond the ends of formats in this step."""
    if not time_to_look(run):
        yield
        return
    with tracing(_Ends(), run.model, run.optimizer) as seen:
        yield
    run.beyond = seen.beyond


def where(run: Run, problem: str, x: Any, step: int | None = None) -> str:
    """Return what stopped the run, at which step, and in which layer the numbers are not finite first."""
    place = first_nonfinite(run.model, x, run.precision) or "only the loss itself"
    return (
        f"training stopped at step {step or run.step + 1} (epoch {run.epoch + 1}): {problem}; "
        f"the first numbers that are not finite: {place}; {ADVICE}"
    )


def warn_of_idle_average(run: Run, steps: int | None) -> None:
    """Say so where the run, which takes so many steps in all, will have ended before the first average."""
    if run.swalp is None or steps is None:
        return
    for name, average in run.averages().items():
        first, last = run.swalp.start + average.cycle, run.swalp.t + steps - run.step
        if last < first and not average.n_averaged:
            which = f"SWALP's {name!r}" if name else "SWALP"
            say(f"fit: {which} averages after step {first} for the first time, but the run ends at step {last}")
