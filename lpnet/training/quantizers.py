"""What rounds in a run and has a state: streams that quantizers hold, and functions of the user's."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from .. import random
from ..formats import Format
from ..precision import Precision, Quantizer
from ..products import Operand
from .attributes import stateful

if TYPE_CHECKING:
    from .run import Run


def streams(run: Run) -> list[random.Stream]:
    """Return all streams that a step draws from."""
    return [random.thread_stream(), *held_streams(run).values()]


def held_streams(run: Run) -> dict[str, random.Stream]:
    """Return the streams that quantizers hold themselves, by where they are held."""
    found: dict[int, tuple[str, random.Stream]] = {}
    for where, precision in precisions(run).items():
        for role, stream in precision.streams().items():
            found.setdefault(id(stream), (f"{where}.{role}", stream))
    for name, average in run.averages().items():
        held = getattr(average.precision.average, "stream", None)
        if isinstance(held, random.Stream):
            found.setdefault(id(held), (f"swalp.{name}" if name else "swalp", held))
    return dict(found.values())


def held_functions(run: Run) -> dict[str, Any]:
    """Return the users' functions that round, by where they are held, as what has their state."""
    held = {**precisions(run), **{f"swalp.{name}": one.precision for name, one in run.averages().items()}}
    found: dict[int, tuple[str, Any]] = {}
    for where, precision in held.items():
        for role, function in precision.rounders().items():
            owner = function.__self__ if inspect.ismethod(function) else function
            if not isinstance(owner, Quantizer | Operand | Format | type) and hasattr(owner, "__dict__"):
                found.setdefault(id(owner), (f"{where}.{role}", owner))
    return {name: stateful(owner) for name, owner in found.values()}


def precisions(run: Run) -> dict[str, Precision]:
    """Return the precisions of a run by where they are: in `fit`, the optimizer, the layers."""
    lowered = {name: m.precision for name, m in run.model.named_modules() if m.precision is not None}
    own = {f"optimizer.{i}": precision for i, precision in run.optimizer.overrides.items()}
    return {"fit": run.precision, "optimizer": run.optimizer.precision, **own, **lowered}
