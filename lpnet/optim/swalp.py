"""Stochastic weight averaging in low-precision training, and the BatchNorm statistics of the averaged model.

Source: Yang et al., "SWALP: Stochastic Weight Averaging in Low-Precision Training", ICML 2019, Algorithms 1 and 2.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import numpy as np

from .. import distributed
from ..backend import Array, copy_like, to_device, to_device_of
from ..formats import Format
from ..nn import Dropout, Module, lower
from ..nn.norms import _BatchNorm
from ..precision import Precision, use
from ..random import fork_rng
from ..tensor import Tensor, no_grad
from ..validate import integer, number
from .optimizer import Optimizer, check_saved


class Average:
    """The mean of a model's weights over the steps it was told to take in, rounded after each.

    Parameters: model; cycle, steps from one to the next; precision, whose role average rounds; overrides, those of
    single parameters where they differ, by the parameters' ids.
    """

    def __init__(self, model: Module, cycle: int, precision: Precision, overrides: Mapping[int, Precision]) -> None:
        self.model, self.cycle = model, integer("SWALP", "cycle", cycle, 1)
        self.precision, self.overrides = precision, overrides
        self.n_averaged = 0
        self.mean: dict[str, Any] = {}  # of each parameter, by name
        self._copy: Module | None = None  # what `averaged` gave, until the next average

    def step(self, t: int) -> None:
        """Take in the weights if `t`, counted from the start of the averaging, is a step of the cycle."""
        if t > 0 and t % self.cycle == 0:
            self.update()
        if not self.n_averaged:
            self._copy = None  # it is of weights that have moved

    def update(self) -> None:
        """Average the weights as they are now."""
        for name, p in self.model.named_parameters():
            mean = self._mix(to_device_of(self.mean.get(name, p.data), p.data), p.data)  # the model may have moved
            self.mean[name] = self.overrides.get(id(p), self.precision).round("average", mean)
        self.n_averaged += 1
        self._copy = None

    def _mix(self, mean: Array, w: Array) -> Array:
        return mean + (w - mean) / (self.n_averaged + 1)  # (mean n + w) / (n + 1), in the form that cannot overflow

    @property
    def averaged(self) -> Module:
        """What `SWALP.averaged` says."""
        if self._copy is None or self._copy.device != self.model.device:
            self._copy = with_weights(self.model, self.mean)
        return self._copy

    def state_dict(self) -> dict[str, Any]:
        """Return how many were averaged, and copies of the averaged weights, by name."""
        mean = {name: np.array(Tensor(a).numpy()) for name, a in self.mean.items()}
        return {"n_averaged": self.n_averaged, "mean": mean}

    def check(self, state: dict[str, Any]) -> None:
        """Raise ValueError if `state` is of another model."""
        own = dict(self.model.named_parameters())
        for name, array in state["mean"].items():
            if name not in own or own[name].shape != np.shape(array):
                raise ValueError(f"SWALP: the saved average of {name!r} {np.shape(array)} does not fit the model")
            check_saved(array, f"SWALP: the saved average of {name!r}")
        n_averaged = integer("SWALP", "n_averaged", state["n_averaged"])
        if len(state["mean"]) != (len(own) if n_averaged else 0):
            raise ValueError(
                f"SWALP: after {n_averaged} averages the saved state has {len(state['mean'])} arrays, "
                f"the model {len(own)} parameters"
            )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        own = dict(self.model.named_parameters())
        self.n_averaged = int(state["n_averaged"])
        self.mean = {name: copy_like(array, own[name].data) for name, array in state["mean"].items()}
        self._copy = None


class SWALP:
    """Keeps the mean of a model's weights over every `cycle`-th step after step `start`.

    Call `step()` after each `optimizer.step()`. Training itself never sees the average.

    Parameters: model and optimizer, in training; start, the step after which averaging begins; cycle, steps from one
    average to the next; lr, the learning rate from `start` on (None: whatever the optimizer has); average, a format,
    its name or a function on arrays that rounds the average itself (None: the role average of the optimizer's
    precision, where None is full precision). Raises ValueError for numbers out of range, steps that are no integers and
    an optimizer of another model, TypeError for a model that cannot be copied.

    averages, {name: its own cycle and average}, keeps several of one training: averages={"every step": {"cycle": 1},
    "8 bits": {"average": "bfp8"}}; what a name leaves out is as given for all. `swalp.averages[name]` has `averaged`,
    `n_averaged`, `mean`, `cycle` and `precision`; `swalp` itself has those of the first.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        start: int,
        cycle: int | None = None,
        lr: float | None = None,
        average: Format | str | Callable[[Any], Any] | None = None,
        averages: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.start = integer("SWALP", "start", start)
        self.lr = None if lr is None else number("SWALP", "lr", lr)
        self.model, self.optimizer, self.t = model, optimizer, 0
        _check_parameters(model, optimizer)
        for_all = {"cycle": cycle, "average": average}
        kinds = {"": {}} if averages is None else _kinds(averages, for_all)
        self.averages = {name: self._new(**{**for_all, **own}) for name, own in kinds.items()}
        _copied(model)  # fails here, not when the averaging starts
        self._switch()

    def _new(self, cycle: int, average: Any) -> Average:
        if average is not None:
            return Average(self.model, cycle, Precision(average=average), {})
        own = {id(self.optimizer.params[i]): precision for i, precision in self.optimizer.overrides.items()}
        return Average(self.model, cycle, self.optimizer.precision, own)

    @property
    def first(self) -> Average:
        """The first average, mostly the only one."""
        return next(iter(self.averages.values()))

    cycle = property(lambda self: self.first.cycle)
    precision = property(lambda self: self.first.precision)
    n_averaged = property(lambda self: self.first.n_averaged)
    mean = property(lambda self: self.first.mean)

    @property
    def averaged(self) -> Module:
        """A copy of the model with averaged weights and exact activations; run `update_bn` on it if it has BatchNorm.

        The same object until the next average. Before the first one its weights are the model's own.
        """
        return self.first.averaged

    @property
    def round(self) -> Any:
        """The function that rounds the average, or None."""
        return self.precision.average

    def step(self) -> None:
        """Count one step of the optimizer; average if it is one of those, and switch the learning rate at `start`."""
        self.t += 1
        for average in self.averages.values():
            average.step(self.t - self.start)
        self._switch()

    def _switch(self) -> None:
        if self.t == self.start and self.lr is not None:
            self.optimizer.lr = self.lr

    def state_dict(self) -> dict[str, Any]:
        """Return the counts and copies of the averaged weights, by name; of several averages under "averages"."""
        states = {name: average.state_dict() for name, average in self.averages.items()}
        return {"t": self.t, **(states[""] if list(states) == [""] else {"averages": states})}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned; raises ValueError if it is of another model or of other averages."""
        states = state.get("averages", {"": state})
        if states.keys() != self.averages.keys():
            saved, own = ([name or "a single one" for name in names] for names in (states, self.averages))
            raise ValueError(f"SWALP: the saved averages are {', '.join(saved)}, here they are {', '.join(own)}")
        for name, average in self.averages.items():
            average.check(states[name])
        self.t = integer("SWALP", "t", state["t"])
        for name, average in self.averages.items():
            average.load_state_dict(states[name])


def with_weights(model: Module, weights: Mapping[str, Array]) -> Module:
    """Return a copy of the model with other weights, by name, exact activations and no gradients."""
    model = _copied(model)
    lower(model, None)
    for name, p in model.named_parameters():
        p.grad = None
        if name in weights:
            p.data = to_device_of(weights[name].copy(), p.data)
    return model


def _kinds(averages: Mapping[str, Mapping[str, Any]], known: Collection[str]) -> Mapping[str, Mapping[str, Any]]:
    """Return `averages`; raises ValueError unless it holds dictionaries with known keys only, and one at least."""
    form = '{name: {"cycle": steps, "average": format}}'
    if not isinstance(averages, Mapping) or not averages or not all(isinstance(k, str) and k for k in averages):
        raise ValueError(f"SWALP: averages must be {form}, at least one, got {averages!r}")
    for name, own in averages.items():
        if not isinstance(own, Mapping) or not own.keys() <= set(known):
            raise ValueError(f"SWALP: averages must be {form}, got {own!r} for {name!r}")
    return averages


def _check_parameters(model: Module, optimizer: Optimizer) -> None:
    trained = {id(p) for p in optimizer.params}
    if not any(id(p) in trained for p in model.parameters()):
        raise ValueError("SWALP: the optimizer holds none of the model's parameters: there would be nothing to average")


def _copied(model: Module) -> Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise TypeError(
            f"SWALP: the average needs a copy of the model, which holds something that cannot be copied: "
            f"{type(error).__name__}: {error}"
        ) from error


class _Moments:
    """Mean and variance over all values seen, from those of batches of any size.

    Source: Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Array = 0.0
        self.square: Array = 0.0  # sum of squared distances from the mean

    def __call__(self, mean: Any, var: Any, count: int) -> None:
        mean, square = mean.astype(np.float64), var.astype(np.float64) * count
        total = self.count + count
        shift = mean - self.mean
        self.square = self.square + square + shift * shift * (self.count * count / total)
        self.mean = self.mean + shift * (count / total)
        self.count = total


def update_bn(model: Module, loader: Iterable[Any]) -> None:
    """Set every BatchNorm's running statistics to those of one pass over `loader`; one that is not used is left alone.

    A batch is the input or a tuple that begins with it. Batches count by their size, and variance within and between
    them is merged exactly. Dropout is off, no training stream is drawn from, activations are rounded only where `lower`
    marked the model, and the modes of all layers are left as they were; if interrupted, the statistics too. Raises
    ValueError if `loader` is empty, TypeError for a batch that is a dictionary.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not norms:
        return
    moments = [_Moments() for _ in norms]
    with distributed.together():
        batches = distributed.gathered("update_bn", _observed(model, norms, loader))
    if not batches:
        raise ValueError("update_bn: the loader gave no data to estimate BatchNorm's statistics from")
    for i, observed in itertools.chain.from_iterable(batches):
        moments[i](*observed)
    for norm, m in zip(norms, moments, strict=True):
        if m.count:
            norm.running_mean.data = m.mean.astype(norm.running_mean.dtype)
            norm.running_var.data = (m.square / (m.count - 1)).astype(norm.running_var.dtype)


def _observed(model: Module, norms: list[_BatchNorm], loader: Iterable[Any]) -> list[list[tuple[int, tuple[Any, ...]]]]:
    """Return for each batch that this process is to see to the numbers of BatchNorms and the moments they saw."""
    batches: list[list[tuple[int, tuple[Any, ...]]]] = []
    modes, device = [(module, module.training) for module in model.modules()], model.device
    try:
        for i, norm in enumerate(norms):  # in place of moving the running statistics
            norm.update_running_stats = lambda *seen, i=i: batches[-1].append((i, seen))  # type: ignore[method-assign]
        for module in model.modules():
            module.training = not isinstance(module, Dropout)
        with no_grad(), fork_rng() as stream, use(None):
            for batch in distributed.deal(loader, stream):
                x = _input(batch)
                batches.append([])
                model(x.to(device) if isinstance(x, Tensor) else Tensor(to_device(x, device)))
    finally:
        for norm in norms:
            del norm.update_running_stats
        for module, mode in modes:
            module.training = mode
    return batches


def _input(batch: Any) -> Any:
    if isinstance(batch, Mapping) or (isinstance(batch, tuple | list) and not batch):
        raise TypeError(
            "update_bn: a batch must be the model's input or a tuple that begins with it, got "
            f"{type(batch).__name__} of {list(batch)}"
        )
    return batch[0] if isinstance(batch, tuple | list) else batch
