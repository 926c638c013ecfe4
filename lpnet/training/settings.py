"""The settings of a run: what shapes the next step and is no state. A resumed run must have them again."""

from __future__ import annotations

import inspect
import json
import re
from typing import TYPE_CHECKING, Any

from .. import distributed
from ..precision import Precision, Quantizer

if TYPE_CHECKING:
    from .run import Run


def settings(run: Run) -> dict[str, Any]:
    """Return the settings, part by part, as they are read from a checkpoint."""
    layers = {name or "model": m.precision for name, m in run.model.named_modules() if m.precision is not None}
    found = {
        "train": _chosen(run.train, "batch_size", "shuffle", "drop_last", samples="_samples"),
        "optimizer": _of_optimizer(run.optimizer),
        "swalp": {
            **_chosen(run.swalp, "start", "cycle", "lr"),
            "average": text(getattr(run.swalp, "round", None)),
            "averages": {name: [a.cycle, text(a.precision.average)] for name, a in run.averages().items()},
        },
        "scaler": _chosen(run.scaler, "growth_interval"),
        "fit": {"precision": text(run.precision), **distributed.settings()},
        "lower": {name: text(precision) for name, precision in layers.items()},
        **{name: callback.settings() for name, callback in run.named_callbacks().items()},
    }
    return json.loads(json.dumps(found, default=float))


def check_settings(run: Run, state: dict[str, Any]) -> None:
    """Raise ValueError naming the first setting that differs; one that the checkpoint does not know passes."""
    own = settings(run)
    for part, old in state.get("settings", {}).items():
        for key, was in old.items():
            if (now := own.get(part, {}).get(key, was)) != was:
                raise ValueError(
                    f"it was made with {key}={was!r} ({part}), not {now!r}: "
                    "resume with the same settings, or choose another folder"
                )
    for epoch, was in enumerate(state.get("rates", [])):
        now = None if run.schedule is None else as_json(run.schedule(epoch))
        if now != was:
            raise ValueError(
                f"it was made with a schedule that gives {was!r} in epoch {epoch}, not {now!r}: "
                "resume with the same schedule, or choose another folder"
            )


def _of_optimizer(optimizer: Any) -> dict[str, Any]:
    own = {str(i): text(precision) for i, precision in optimizer.overrides.items()}
    chosen = _chosen(optimizer, "momentum", "nesterov", "betas", "eps", "weight_decay", "alpha", "centered")
    groups = [{**g, "params": len(g["params"]), "lr": None} for g in optimizer.param_groups]
    more = {"groups": groups} if len(groups) > 1 else {}
    return {"kind": type(optimizer).__name__, "precision": text(optimizer.precision), "own": own, **chosen, **more}


def as_json(rate: Any) -> float | list[float]:
    """Return a learning rate, or one for each group of parameters, as checkpoints keep it."""
    return [float(r) for r in rate] if isinstance(rate, list | tuple) else float(rate)


def _chosen(owner: Any, *names: str, **renamed: str) -> dict[str, Any]:
    """Return those attributes that the object has."""
    attributes = {**{name: name for name in names}, **renamed}
    return {key: getattr(owner, name) for key, name in attributes.items() if hasattr(owner, name)}


def text(value: Any) -> str:
    """Return the text of a precision or a quantizer: the same in every process, and whatever state it is in."""
    if isinstance(value, Precision):
        named = {name: text(rounder) for name, rounder in value.rounders().items() if rounder is not None}
        named |= _chosen(getattr(value.products, "accumulate", None), "every")
        return ", ".join(f"{name}={told}" for name, told in named.items()) or "exact"
    constant = inspect.isroutine(value) or isinstance(value, Quantizer) or not hasattr(value, "__dict__")
    frozen = getattr(getattr(value, "__dataclass_params__", None), "frozen", False)
    return re.sub(r" at 0x[0-9a-fA-F]+", "", str(value) if constant or frozen else object.__repr__(value))
