"""A training step as one CUDA graph: recorded once, then launched as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .. import distributed
from .. import functions as F
from ..backend import Array, copy_like, device_of
from ..kernels.cuda.recording import Recording
from ..nn import Module, module
from ..optim import Optimizer
from ..optim.optimizer import step_hooks
from ..precision import PrecisionLike, as_precision, use
from ..tensor import Tensor
from .callbacks import Callback
from .evaluation import Loss, on_device
from .quantizers import held_functions, precisions

if TYPE_CHECKING:
    from .run import Run


class GraphedStep:
    """Training steps of a model on a GPU that ask it for all their work at once: as a CUDA graph.

    A step of a small network is hundreds of kernels, and asking for each takes the host longer than the GPU needs for
    it. step = GraphedStep(model, optimizer); loss = step(x, y) does what a loop of your own would: forward, backward,
    update, to the same bits. The first step of a batch's shape is taken as ever, the second recorded, all others are
    the recording; with another learning rate, or other hyperparameters, it is done anew. On the CPU every step is taken
    as ever. `lpnet train` does this by itself, `fit` with graph=True.

    What the recorded step did on the host is not done again: hooks are not called, and numbers that it computed there
    stay what they were. So an optimizer that counts its steps, as Adam does, is refused.

    Parameters: model, in training mode; optimizer of its parameters; loss, a function of output and y; precision, as
    for `fit`. Raises ValueError for an optimizer that counts, and for layers that pack: they ask the host.
    """

    def __init__(
        self, model: Module, optimizer: Optimizer, loss: Loss = F.cross_entropy, precision: PrecisionLike = None
    ) -> None:
        if optimizer.counts:
            raise ValueError(
                f"GraphedStep: {type(optimizer).__name__} counts its steps on the host, where a recorded step does "
                "nothing; use SGD, or a loop of your own"
            )
        if packs(model):
            raise ValueError("GraphedStep: layers were lowered with packed=True, which asks the host at every array")
        self.model, self.optimizer, self.loss, self.precision = model, optimizer, loss, as_precision(precision)
        self._hyperparameters: list[dict[str, Any]] = []  # of the steps that are known, group by group
        self._graphs: dict[Any, _Graph | None] = {}  # by the shapes of a batch; None: taken once, not yet recorded

    def __call__(self, x: Any, y: Any) -> Array:
        """Take a step on a batch (N, ...) and its labels; return the loss, an array on the model's device, ()."""
        return self.take(*on_device(self.model.device, x, y))[1].copy()

    def take(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Take a step on a batch that is on the model's device; return its outputs and loss, until the next step."""
        batch = x.shape, x.dtype, y.shape, y.dtype
        hyperparameters = [{**group, "params": None} for group in self.optimizer.param_groups]
        if hyperparameters != self._hyperparameters:
            self._hyperparameters, self._graphs = hyperparameters, {}
        if device_of(x) == "cpu" or batch not in self._graphs or not self._known():
            self._graphs.setdefault(batch, None)
            return self._step(x, y)
        graph = self._graphs[batch]
        if graph is None:
            graph = self._graphs[batch] = _Graph(self._step, x, y, _slots(self.model, self.optimizer))
        return graph(x, y)

    def _known(self) -> bool:
        """Return whether the weights are those of the last step: others are rounded first."""
        optimizer = self.optimizer
        pairs = zip(optimizer.params, optimizer._written, strict=True)
        return all(p.data is written for p, written in pairs if p.requires_grad)

    def _step(self, x: Array, y: Array) -> tuple[Array, Array]:
        self.optimizer.zero_grad()
        with use(self.precision):
            logits = self.model(Tensor(x))
            loss = self.loss(logits, y)
        loss.backward()
        self.optimizer.step()
        return logits.data, loss.data


Slot = tuple[Any, Any]  # a dictionary or list, and the place in it of an array that each step replaces


def recordable(run: Run) -> bool:
    """Return whether steps of a run can be recorded: they are the GPU's, and nothing in them is the host's."""
    at_work = [type(callback) for callback in run.callbacks]
    own = any(c.around_step is not Callback.around_step or c.on_backward is not Callback.on_backward for c in at_work)
    products = any(precision.products is not None for precision in precisions(run).values())
    hooks = module.forward_hooks or step_hooks or distributed.on() or packs(run.model)
    host = own or products or hooks or run.scaler is not None or run.optimizer.counts or held_functions(run)
    return run.model.device != "cpu" and not host


def packs(model: Module) -> bool:
    """Return whether a layer keeps codes for `backward`."""
    return any(m.packed for m in model.modules())


def _slots(model: Module, optimizer: Optimizer) -> list[Slot]:
    """Return where a step finds arrays of the one before: weights, running statistics, the optimizer's state."""
    tensors = {id(t): t for t in [*model.parameters(), *model.buffers(), *optimizer.params]}.values()
    states = [(state, name) for state in optimizer.state for name in state]
    written = [(optimizer._written, i) for i in range(len(optimizer.params))]
    return [*((vars(t), "data") for t in tensors), *states, *written]


class _Graph:
    """A step, recorded for arrays of certain shapes."""

    def __init__(
        self, step: Callable[[Array, Array], tuple[Array, Array]], x: Array, y: Array, slots: list[Slot]
    ) -> None:
        self.x, self.y = copy_like(x, x), copy_like(y, y)
        self.slots, self.arrays = slots, [owner[key] for owner, key in slots]
        self.recording = Recording()
        try:
            with self.recording.made():
                self.results = step(self.x, self.y)
                for old, new in _replaced(slots, self.arrays):
                    old[...] = new  # the next step is to find it where this one did
        finally:
            self._put_back()

    def _put_back(self) -> None:
        for (owner, key), array in zip(self.slots, self.arrays, strict=True):
            owner[key] = array

    def __call__(self, x: Array, y: Array) -> tuple[Array, Array]:
        """Play it for a batch of these shapes; return what the step gave, in arrays of the recording's own."""
        for old, new in _replaced(self.slots, self.arrays):
            old[...] = new  # what a step without it, or another recording, has put there since
        self._put_back()
        self.x[...], self.y[...] = x, y
        self.recording.play()
        return self.results


def _replaced(slots: list[Slot], before: list[Array]) -> list[tuple[Array, Array]]:
    """Return the arrays that a step has put others in the place of, and these; a pair once, wherever it is."""
    pairs = {(id(old), id(owner[key])): (old, owner[key]) for (owner, key), old in zip(slots, before, strict=True)}
    return [(old, new) for old, new in pairs.values() if new is not old]
