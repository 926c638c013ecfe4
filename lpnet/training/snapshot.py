"""A run between two steps, to go back to when the next one is stopped in its midst."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..optim import SWALP
from ..optim.swalp import Average
from .attributes import stateful
from .quantizers import held_functions, streams

if TYPE_CHECKING:
    from .run import Run

_NUMBERS = ("epoch", "step", "lr", "tally", "first_loss", "stopped")


class Snapshot:
    """What a step changes: most of it by reference, as a step puts new arrays in the place of old ones."""

    def __init__(self, run: Run) -> None:
        self.tensors = [(t, t.data) for t in (*run.model.parameters(), *run.model.buffers())]
        owners = [run.tally, *_holders(run.optimizer), *_holders(run.swalp), *_holders(run.scaler)]
        self.owners = [(owner, _copied(vars(owner))) for owner in owners]
        self.positions = [(s, s.state_dict()) for s in (*streams(run), run.train)]
        averages = [callback for callback in run.callbacks if isinstance(callback, Average)]
        self.owners += [(average, _copied(vars(average))) for average in averages]
        # What users bring may change arrays in place.
        users = [*held_functions(run).values(), *(stateful(c) for c in run.callbacks if c not in averages)]
        self.positions += [(user, copy.deepcopy(user.state_dict())) for user in users]
        self.numbers = {name: getattr(run, name) for name in _NUMBERS}
        self.log, self.rates = list(run.log), list(run.rates)

    def restore(self, run: Run) -> None:
        """Bring the run back to this moment."""
        for tensor, data in self.tensors:
            tensor.data = data
        for owner, state in self.owners:
            vars(owner).update(_copied(state))
        for owner, state in self.positions:
            owner.load_state_dict(state)
        vars(run).update(self.numbers, log=self.log, rates=self.rates, unread=None)


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
