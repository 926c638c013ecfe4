"""The state of a run: everything that the next step depends on, for a checkpoint."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .. import random
from ..validate import integer, number
from .log import check_log
from .quantizers import held_functions, held_streams
from .settings import check_settings, settings

if TYPE_CHECKING:
    from .run import Run


def state_dict(run: Run) -> dict[str, Any]:
    """Return the state, with parts that have a `state_dict` of their own as they are."""
    return {
        "epoch": run.epoch,
        "step": run.step,
        "lr": run.lr,
        "log": run.log,
        **_parts(run),
        "streams": held_streams(run),
        "functions": held_functions(run),
        "callbacks": run.callback_states(),
        "first_loss": run.first_loss,
        "rates": run.rates,
        "stopped": run.stopped,
        "settings": settings(run),
    }


def _parts(run: Run) -> dict[str, Any]:
    return {
        "tally": run.tally,
        "model": run.model,
        "optimizer": run.optimizer,
        "swalp": run.swalp,
        "scaler": run.scaler,
        "loader": run.train,
        "stream": random.thread_stream(),
    }


def load_state_dict(run: Run, state: dict[str, Any]) -> None:
    """Go on from a state that was read; raises ValueError if it is another run's or damaged, KeyError if incomplete.

    What a checkpoint of an earlier version does not know is left as it is.
    """
    _check(run, state)
    first = state.get("first_loss")
    run.first_loss = None if first is None else number("fit", "first_loss", first, -math.inf)
    run.epoch, run.step = (integer("fit", key, state[key]) for key in ("epoch", "step"))
    run.lr, run.log, run.rates = number("fit", "lr", state["lr"]), state["log"], state.get("rates", [])
    run.stopped = state.get("stopped", False)
    groups = [
        ({name: part for name, part in _parts(run).items() if part is not None}, state),
        (held_streams(run), state["streams"]),
        (held_functions(run), state.get("functions", {})),
        (run.callback_states(), state.get("callbacks", {})),
    ]
    for owners, states in groups:
        for name, owner in owners.items() if states else ():
            owner.load_state_dict(states[name])
    if not run.finite():
        raise ValueError("a weight or a running statistic is not finite")
    run.keep()


def _check(run: Run, state: dict[str, Any]) -> None:
    """Raise ValueError unless the state is of a run with the same parts and settings."""
    if not isinstance(state.get("rates", []), list):
        raise ValueError(f"the rates are a {type(state['rates']).__name__}, not a list")
    if not isinstance(state.get("stopped", False), bool):
        raise ValueError(f"stopped must be True or False, got {state['stopped']!r}")
    functions, callbacks = state.get("functions", {}), state.get("callbacks", {})
    for what, held in (("functions that round", functions), ("callbacks", callbacks)):
        if not isinstance(held, dict):
            raise ValueError(f"the state of the {what} is a {type(held).__name__}, not a dictionary")
    other = [name for name, part in _parts(run).items() if (state[name] is None) != (part is None)]
    if state["streams"].keys() != held_streams(run).keys():
        other.append("streams of the quantizers")
    if functions and functions.keys() != held_functions(run).keys():
        other.append("functions that round")
    if callbacks.keys() != run.callback_states().keys():
        other.append("callbacks")
    if other:
        raise ValueError(f"the checkpoint was written by a run with other settings: {other[0]}")
    check_settings(run, state)
    check_log(state["log"], state["epoch"])
