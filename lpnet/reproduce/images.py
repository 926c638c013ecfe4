"""Training of image classifiers in any precision: first SGD, then, from the same weights, averaging.

The protocol is one for all methods. SGD spends the whole budget of epochs under its schedule; SWA and SWALP spend the
same budget, of which the averaging phase is a part. Errors are measured on the test set once a phase has ended, with
exact activations and with those of the training, BatchNorm's statistics estimated anew each time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from .. import random
from ..data import DataLoader, Dataset, load, random_crop, random_flip, statistics
from ..nn import Module, lower
from ..optim import SGD, SWALP, LossScaler, constant_schedule, swalp_schedule, update_bn
from ..precision import Precision, Quantizer
from ..training import Row, evaluate, fit
from .grid import Here
from .networks import network

Errors = dict[str, float]


def train(s: dict[str, Any], here: Here) -> dict[str, Any]:
    """Train as the settings say and return the test errors, in per cent, of the weights after each phase.

    "first": after the SGD phase of s["start"] epochs; with s["epochs"] above it also "last", the weights at the end,
    and "averages", by name: s["averages"] is {name: [cycle in steps or None for an epoch, format or None, rounding]}.
    """
    return Training(s, here).run()


class Training:
    """One run: data, network, optimizer, and the two phases."""

    def __init__(self, s: dict[str, Any], here: Here) -> None:
        random.manual_seed(s["seed"])
        self.s, self.here = s, here
        train, test = images(s["data"], here, s.get("images"), s.get("pool", 1))
        self.loader = DataLoader(train, s["batch"], shuffle=True, seed=s["seed"], transform=augment(s))
        self.plain, self.test = DataLoader(train, s["batch"]), DataLoader(test, 500)
        self.model = network(s["network"], train.images.shape[1:], len(train.classes)).to(here.device)
        self.precision = precision(s["precision"])
        lower(self.model, self.precision)
        self.optimizer = SGD(self.model.parameters(), s["lr"], s["momentum"], s["weight_decay"],
                             precision=self.precision)  # fmt: skip
        self.scaler = LossScaler(s["loss_scale"]) if s.get("loss_scale", 1) != 1 else None

    def run(self) -> dict[str, Any]:
        """Return the test errors after each phase."""
        s = self.s
        self._fit("first", s["start"], schedule=swalp_schedule(s["lr"], s["start"]))
        result: dict[str, Any] = {"first": self.errors(self.model)}
        if s["epochs"] > s["start"]:
            swalp = SWALP(self.model, self.optimizer, 0, lr=s["swa_lr"], averages=self._averages())
            self._fit("second", s["epochs"] - s["start"], schedule=constant_schedule(s["swa_lr"]), swalp=swalp)
            result["last"] = self.errors(self.model)
            result["averages"] = {name: self.errors(one.averaged) for name, one in swalp.averages.items()}
        return result

    def _fit(self, phase: str, epochs: int, **more: Any) -> None:
        def tick(_: Row) -> None:
            self.here.tick(1)

        out = self.here.folder / phase if self.s.get("checkpoints") else None
        begun = out is not None and (out / "config.json").exists()
        fit(self.model, self.loader, epochs=epochs, optimizer=self.optimizer, scaler=self.scaler, out=out,
            resume=begun, config=self.s, progress=tick, **more)  # fmt: skip

    def _averages(self) -> dict[str, dict[str, Any]]:
        return {name: {"cycle": cycle or len(self.loader),
                       "average": None if fmt is None else Quantizer(fmt, rounding, random.Stream(i))}
                for i, (name, (cycle, fmt, rounding)) in enumerate(self.s["averages"].items())}  # fmt: skip

    def errors(self, model: Module) -> Errors:
        """Return the test errors with exact activations, and with those of the training."""
        return {"float": self._error(model, None), "as trained": self._error(model, self.precision)}

    def _error(self, model: Module, precision: Precision | None) -> float:
        marks = {m: m.precision for m in model.modules()}
        try:
            lower(model, precision)
            kept = {m: (m.running_mean.data, m.running_var.data) for m in marks if hasattr(m, "running_mean")}
            update_bn(model, self.plain)
            return evaluate(model, self.test)["error"]
        finally:
            for m, mark in marks.items():
                m.precision = mark
            for m, (mean, var) in kept.items():
                m.running_mean.data, m.running_var.data = mean, var


def precision(roles: dict[str, list[str]]) -> Precision:
    """Return the Precision of {role: [format, rounding]}; a role that is not there is exact."""
    return Precision(**{role: Quantizer(fmt, rounding) for role, (fmt, rounding) in roles.items()})


def uniform(fmt: str, rounding: str = "stochastic", **other: str) -> dict[str, list[str]]:
    """Return the roles that train in one format, but those named in another; of "fp32" none."""
    roles = dict.fromkeys(("weight", "activation", "error", "gradient", "momentum"), fmt) | other
    return {role: [name, rounding] for role, name in roles.items() if name != "fp32"}


def images(name: str, here: Here, count: int | None, pool: int) -> tuple[Dataset, Dataset]:
    """Return the first `count` training images (None: all) and all test images, made smaller `pool` times."""
    train, test = load(name, here.data_dir)
    train = train if count is None else train[:count]
    if pool == 1:
        return train, test
    small = [replace(d, images=_pooled(d.images, pool)) for d in (train, test)]
    mean, std = statistics(small[0].images, small[0].scale)
    return tuple(replace(d, mean=mean, std=std) for d in small)


def described(s: dict[str, Any]) -> str:
    """Return in words which images the settings choose."""
    count = "all images" if s.get("images") is None else f"the first {s['images']} training images, all test images"
    return f"{s['data']}, {count}" + (f", their width and height divided by {s['pool']}" if "pool" in s else "")


def _pooled(x: np.ndarray, pool: int) -> np.ndarray:
    """Return means over squares: (N, C, H, W) -> (N, C, H/pool, W/pool) float32."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h // pool, pool, w // pool, pool).mean((3, 5), dtype=np.float32)


def augment(s: dict[str, Any]) -> tuple[Any, ...] | None:
    """Return the crops and flips that the settings want."""
    transforms = (*((random_crop(s["crop"]),) if s.get("crop") else ()), *((random_flip(),) if s.get("flip") else ()))
    return transforms or None
