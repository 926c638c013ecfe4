"""A training step as one CUDA graph: recorded once, then launched as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import functions as F
from ..backend import Array, copy_like, device_of
from ..kernels.cuda.recording import Recording
from ..nn import Module
from ..optim import Optimizer
from ..precision import PrecisionLike, as_precision, use
from ..tensor import Tensor
from .evaluation import Loss, on_device


class GraphedStep:
    """Training steps of a model on a GPU that ask it for all their work at once: as a CUDA graph.

    A step of a small network is hundreds of kernels, and asking for each takes the host longer than the GPU needs for
    it. step = GraphedStep(model, optimizer); loss = step(x, y) does what a loop of your own would: forward, backward,
    update, with the same random bits; cuBLAS may add up a product in another order. The first step of a batch's shape
    is taken as ever, the second recorded, all others are the recording; with another learning rate, or other
    hyperparameters, it is done anew. On the CPU every step is taken as ever.

    What the recorded step did on the host is not done again: hooks are not called, and numbers that it computed there
    stay what they were. So an optimizer that counts its steps, as Adam does, is refused.

    Parameters: model, in training mode; optimizer of its parameters; loss, a function of output and y; precision, as
    for `fit`. Raises ValueError for an optimizer that counts.
    """

    def __init__(
        self, model: Module, optimizer: Optimizer, loss: Loss = F.cross_entropy, precision: PrecisionLike = None
    ) -> None:
        if optimizer.counts:
            raise ValueError(
                f"GraphedStep: {type(optimizer).__name__} counts its steps on the host, where a recorded step does "
                "nothing; use SGD, or a loop of your own"
            )
        self.model, self.optimizer, self.loss, self.precision = model, optimizer, loss, as_precision(precision)
        self._hyperparameters: list[dict[str, Any]] = []  # of the steps that are known, group by group
        self._graphs: dict[Any, _Graph | None] = {}  # by the shapes of a batch; None: taken once, not yet recorded

    def __call__(self, x: Any, y: Any) -> Array:
        """Take a step on a batch (N, ...) and its labels; return the loss, an array on the model's device, ()."""
        x, y = on_device(self.model.device, x, y)
        batch = x.shape, x.dtype, y.shape, y.dtype
        hyperparameters = [{**group, "params": None} for group in self.optimizer.param_groups]
        if hyperparameters != self._hyperparameters:
            self._hyperparameters, self._graphs = hyperparameters, {}
        if device_of(x) == "cpu" or batch not in self._graphs:
            self._graphs[batch] = None
            return self._step(x, y)
        graph = self._graphs[batch]
        if graph is None:
            graph = self._graphs[batch] = _Graph(self._step, x, y, _slots(self.model, self.optimizer))
        return graph(x, y)

    def _step(self, x: Array, y: Array) -> Array:
        self.optimizer.zero_grad()
        with use(self.precision):
            loss = self.loss(self.model(Tensor(x)), y)
        loss.backward()
        self.optimizer.step()
        return loss.data


Slot = tuple[Any, Any]  # a dictionary or list, and the place in it of an array that each step replaces


def _slots(model: Module, optimizer: Optimizer) -> list[Slot]:
    """Return where a step finds arrays of the one before: weights, running statistics, the optimizer's state."""
    tensors = {id(t): t for t in [*model.parameters(), *model.buffers(), *optimizer.params]}.values()
    states = [(state, name) for state in optimizer.state for name in state]
    written = [(optimizer._written, i) for i in range(len(optimizer.params))]
    return [*((vars(t), "data") for t in tensors), *states, *written]


class _Graph:
    """A step, recorded for arrays of certain shapes."""

    def __init__(self, step: Callable[[Array, Array], Array], x: Array, y: Array, slots: list[Slot]) -> None:
        self.x, self.y = copy_like(x, x), copy_like(y, y)
        before = [owner[key] for owner, key in slots]
        self.recording = Recording()
        try:
            with self.recording.made():
                self.loss = step(self.x, self.y)
                for old, new in _replaced(slots, before):
                    old[...] = new  # the next step is to find it where this one did
        finally:
            for (owner, key), old in zip(slots, before, strict=True):
                owner[key] = old

    def __call__(self, x: Array, y: Array) -> Array:
        """Play it for a batch of these shapes; return the loss."""
        self.x[...], self.y[...] = x, y
        self.recording.play()
        return self.loss.copy()


def _replaced(slots: list[Slot], before: list[Array]) -> list[tuple[Array, Array]]:
    """Return the arrays that a step has put others in the place of, and these; a pair once, wherever it is."""
    pairs = {(id(old), id(owner[key])): (old, owner[key]) for (owner, key), old in zip(slots, before, strict=True)}
    return [(old, new) for old, new in pairs.values() if new is not old]
