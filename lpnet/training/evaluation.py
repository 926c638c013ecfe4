"""What a model is worth on a data set: mean loss, and per cent of labels it gets wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from .. import distributed, random
from .. import functions as F
from ..backend import enough_memory, one_blas_thread, to_device
from ..nn import Module
from ..tensor import Tensor, no_grad
from ..validate import integer, number

Loss = Callable[[Tensor, Any], Tensor]
Batches = Iterable[tuple[Any, Any]]  # of inputs and labels


def evaluate(model: Module, loader: Batches, loss: Loss = F.cross_entropy) -> dict[str, float]:
    """Return {"loss", "error"} of a model in evaluation mode: mean loss, and per cent of labels it gets wrong.

    Activations are rounded where `lower` marked the model. Nothing is drawn from a training stream and the modes are
    left as they were. There is an "error" where the model gives (N, K > 1) and y is integer (N,). Raises ValueError for
    an empty loader.
    """
    with distributed.together():
        tally = Tally()
        for batch in distributed.gathered("evaluate", _tallies(model, loader, loss)):
            tally.add(batch)
        if not tally.seen:
            raise ValueError("evaluate: the loader gave no data")
        return tally.result()


def _tallies(model: Module, loader: Batches, loss: Loss) -> list[Tally]:
    """Return what the batches give that this process is to see to."""
    modes, tallies, device = [(m, m.training) for m in model.modules()], [], model.device
    try:
        model.eval()
        with no_grad(), random.fork_rng() as stream, one_blas_thread():
            for x, y in distributed.deal(loader, stream):
                with enough_memory("a batch of the evaluation", f"use smaller batches than {len(x)} samples"):
                    x, y = on_device(device, x, y)
                    logits = model(Tensor(x))
                    tallies.append(Tally.of(logits, loss(logits, y), y))
    finally:
        for m, training in modes:
            m.training = training
    return tallies


def predictions(model: Module, loader: Batches) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the classes that a model in evaluation mode finds most probable, and the labels, batch by batch."""
    modes = [(m, m.training) for m in model.modules()]
    try:
        model.eval()
        for x, y in loader:
            with no_grad(), random.fork_rng(), one_blas_thread():
                logits = model(Tensor(on_device(model.device, x)[0])).numpy()
            yield logits.argmax(axis=1), to_device(y, "cpu")
    finally:
        for m, training in modes:
            m.training = training


def on_device(device: str, *batch: Any) -> list[Any]:
    """Return the arrays of a batch, on the device."""
    return [to_device(a.data if isinstance(a, Tensor) else a, device) for a in batch]


class Tally:
    """Sums over the samples seen. On a GPU they stay there until somebody asks."""

    def __init__(self) -> None:
        self.loss: Any = 0.0
        self.wrong: Any = 0
        self.seen, self.classified = 0, True
        self.classes = 0  # of the last batch, where there are any

    @classmethod
    def of(cls, logits: Tensor, loss: Tensor, labels: Any) -> Tally:
        """Return the sums of a batch, given its outputs, its mean loss, its labels."""
        tally = cls()
        tally.seen, tally.loss = len(labels), loss.data.astype(np.float64) * len(labels)
        one_label_each = labels.dtype.kind in "iu" and labels.ndim == 1 and logits.shape[:1] == labels.shape
        tally.classified = one_label_each and logits.ndim == 2 and logits.shape[1] > 1
        if tally.classified:
            tally.classes, tally.wrong = logits.shape[1], (logits.data.argmax(axis=1) != labels).sum()
        return tally

    def add(self, other: Tally) -> None:
        """Take in the sums of other samples."""
        self.loss, self.seen = self.loss + other.loss, self.seen + other.seen
        self.classified = self.classified and other.classified
        if self.classified:
            self.classes, self.wrong = other.classes, self.wrong + other.wrong

    def result(self) -> dict[str, float]:
        """Return the means: "loss", and "error" in per cent where every sample had one label."""
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
        """Return the sums."""
        self._fetch()
        return vars(self).copy()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned; raises ValueError for sums that cannot be."""
        seen = integer("fit", "tally's seen", state["seen"])
        self.loss = number("fit", "tally's loss", state["loss"], -math.inf)
        self.wrong, self.seen = integer("fit", "tally's wrong", state["wrong"], 0, seen), seen
        if not isinstance(state["classified"], bool):
            raise ValueError(f"fit: tally's classified must be True or False, got {state['classified']!r}")
        self.classified, self.classes = state["classified"], integer("fit", "tally's classes", state.get("classes", 0))
