"""Optimizers that round as they go: the gradient, then their state, then the weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from ..backend import Array, copy_like, get_array_module, to_device, to_device_of
from ..kernels import kernel, quantize
from ..precision import ByName, Precision, PrecisionLike, Quantizer, as_precision, most_specific
from ..tensor import Parameter
from ..validate import Number, integer, number

StepHook = Callable[["Optimizer", int, Array, Array, Array], None]
step_hooks: list[StepHook] = []  # called after every update with the optimizer, the parameter's number, and the arrays
# (what collects updates before, the rounded gradient, the new weights before rounding)
State = dict[str, Any]  # arrays of the parameter's shape, by name, and "t", a count
Params = Iterable[Parameter] | Iterable[tuple[str, Parameter]]


class Optimizer:
    """Base of the optimizers. A subclass gives `update`; this class rounds, and keeps and saves the state.

    Parameters: params, the Parameters to train, or (name, Parameter) pairs; lr, the learning rate, an attribute that
    may be set at any time; precision, whose roles gradient, momentum, weight, accumulator and second_moment apply (a
    format, its name or a function stands for `Precision.uniform`, None for exact). Raises ValueError for an empty list
    or a learning rate below 0.

    Making an optimizer rounds the weights, in the model, if precision has a role weight or accumulator: training starts
    on the grid. Weights put in their place later, as by `model.load_state_dict`, are rounded to nearest when the next
    step begins, and it goes on from them.

    With `model.named_parameters()`, precision may be a dictionary as for `nn.lower`, without types:
    {"*": "bfp8", "conv1": None, "*.bias": "e4m3"}. A parameter goes by its name, or the longest name of a layer it is
    in, before patterns and "*". `precision` is then what "*" has, and `overrides` that of each parameter
    with another key, by its number.
    """

    lr = Number()
    roles: ClassVar[dict[str, str]] = {}  # of arrays of the state that are no momentum, by name

    def __init__(self, params: Params, lr: float, precision: PrecisionLike | ByName = None) -> None:
        names, self.params = _split_names(list(params))
        if not self.params or not all(isinstance(p, Parameter) for p in self.params):
            raise ValueError(f"{type(self).__name__}: params must be Parameters, at least one, got {self.params!r}")
        if len({id(p) for p in self.params}) < len(self.params):
            raise ValueError(f"{type(self).__name__}: params holds a Parameter more than once")
        self.lr = lr
        self.overrides: dict[int, Precision] = {}  # by the number of the parameter
        self.precision = self._by_name(precision, names) if isinstance(precision, Mapping) else as_precision(precision)
        self.state: list[State] = [{} for _ in self.params]
        self._written: list[Array | None] = [None for _ in self.params]  # the weights last rounded; None: as was loaded
        for i, p in enumerate(self.params):
            self._store(i, p.data)

    def _by_name(self, table: ByName, names: list[str]) -> Precision:
        """Take the precisions of single parameters from `table`; return that of all others."""
        owner = type(self).__name__
        if not names:
            raise ValueError(f"{owner}: a precision by name needs names: give model.named_parameters() as params")
        if wrong := [key for key in table if not isinstance(key, str)]:
            raise TypeError(f"{owner}: precision goes by names of parameters and patterns, got the key {wrong[0]!r}")
        keys = most_specific(owner, "parameter", table, names)
        chosen = [keys[name] for name in names]
        self.overrides = {i: as_precision(table[key]) for i, key in enumerate(chosen) if key is not None and key != "*"}
        return as_precision(table.get("*"))

    def precision_of(self, i: int) -> Precision:
        """Return the precision that parameter number `i` is rounded with."""
        return self.overrides.get(i, self.precision)

    def update(self, w: Array, g: Array, state: State) -> Array:
        """Return the new weights for weights `w` and gradient `g`; `state` keeps arrays from step to step."""
        raise NotImplementedError

    def step(self) -> None:
        """Update every parameter that has a gradient (Algorithm 2 of the SWALP paper)."""
        for i, (p, state) in enumerate(zip(self.params, self.state, strict=True)):
            if p.grad is None:
                continue
            self._move_state(p, state)
            self._sync(i)
            precision = self.precision_of(i)
            g = precision.round("gradient", p.grad)
            before = state.get("accumulator", p.data)
            w = self.update(before, g, state)
            for name, array in _arrays(state):  # in the order of definition, in which the random bits are taken
                if name != "accumulator":
                    state[name] = precision.round(self.roles.get(name, "momentum"), array)
            self._store(i, w)
            for hook in step_hooks:
                hook(self, i, before, g, w)

    def _sync(self, i: int) -> None:
        """Round the weights of parameter number `i`, and go on from them, if others were put there since the last step.

        They are rounded to nearest, which moves none that is rounded already and draws no random bits.
        """
        w, known, state, precision = self.params[i].data, self._written[i], self.state[i], self.precision_of(i)
        if w is known:
            return
        xp, quantizers = get_array_module(w), (precision.weight, precision.accumulator)
        if not all(q is None or isinstance(q, Quantizer) for q in quantizers):
            self._sync_by_function(i, w)
            return
        self.params[i].data = self._written[i] = _to_nearest(precision.weight, w)
        if "accumulator" in state:
            # A state that was loaded is of the weights that are there, unless these were never rounded.
            same = (self._written[i] == w).all() if known is None else w == to_device_of(known, w)
            state["accumulator"] = xp.where(same, state["accumulator"], _to_nearest(precision.accumulator, w))

    def _sync_by_function(self, i: int, w: Array) -> None:
        """Do so where rounding twice may move the weights: those that are the same are left alone."""
        known, held = self._written[i], self.state[i].get("accumulator")
        same = np.bool_(True) if known is None else w == to_device_of(known, w)
        if same.all():
            self._written[i] = w
        else:
            self._store(i, w if held is None else get_array_module(w).where(same, held, w))

    @staticmethod
    def _move_state(p: Parameter, state: State) -> None:
        """Move the state to where the parameter is: `model.to` knows nothing of optimizers."""
        for name, array in _arrays(state):
            state[name] = to_device_of(array, p.data)

    def _store(self, i: int, w: Array) -> None:
        """Round new weights into parameter number `i`, by way of the accumulator if there is one."""
        precision = self.precision_of(i)
        if precision.accumulator is not None:
            w = self.state[i]["accumulator"] = precision.round("accumulator", w)
        self.params[i].data = self._written[i] = precision.round("weight", w)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.params:
            p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return the learning rate and copies of all state arrays and counts, by the number of their parameter."""
        arrays = {str(i): {k: np.array(to_device(v, "cpu")) for k, v in s.items()} for i, s in enumerate(self.state)}
        return {"lr": self.lr, "state": arrays}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned; raises ValueError if it is of other parameters."""
        if len(state["state"]) != len(self.params):
            raise ValueError(
                f"{type(self).__name__}: the saved state is of {len(state['state'])} parameters, "
                f"this optimizer has {len(self.params)}"
            )
        for i, (p, arrays) in enumerate(zip(self.params, state["state"].values(), strict=True)):
            if ("accumulator" in arrays) != (self.precision_of(i).accumulator is not None):
                has = "an" if "accumulator" in arrays else "no"
                raise ValueError(
                    f"{type(self).__name__}: the saved state has {has} accumulator, "
                    "this optimizer's precision says otherwise"
                )
            if wrong := [k for k, v in _arrays(arrays) if np.shape(v) != p.shape]:
                raise ValueError(
                    f"{type(self).__name__}: the saved {wrong[0]} of parameter {i} has shape "
                    f"{np.shape(arrays[wrong[0]])}, the parameter {p.shape}"
                )
            for name, array in _arrays(arrays):
                check_saved(array, f"{type(self).__name__}: the saved {name} of parameter {i}")
            integer(type(self).__name__, f"the saved t of parameter {i}", arrays.get("t", 0))
        self.lr, self._written = state["lr"], [None for _ in self.params]
        for p, own, arrays in zip(self.params, self.state, state["state"].values(), strict=True):
            own.clear()
            own.update({k: int(v) if k == "t" else copy_like(v, p.data) for k, v in arrays.items()})


def _split_names(params: list[Any]) -> tuple[list[str], list[Any]]:
    """Return names and parameters, no names where `params` has none."""
    if params and all(isinstance(p, tuple) and len(p) == 2 for p in params):
        return [name for name, _ in params], [p for _, p in params]
    return [], params


def _to_nearest(quantizer: Quantizer | None, w: Array) -> Array:
    return w if quantizer is None else quantize(w, quantizer.format, "nearest")


def _arrays(state: State) -> list[tuple[str, Array]]:
    return [(name, array) for name, array in state.items() if name != "t"]


def check_saved(array: Array, what: str) -> None:
    """Raise ValueError for what is no array of real numbers, or has a NaN, which no later step would get rid of."""
    kind = getattr(getattr(array, "dtype", None), "kind", None)
    if kind is None or kind not in "biuf":
        raise ValueError(f"{what} must be an array of real numbers, got {type(array).__name__}")
    if bool(get_array_module(array).isnan(array).any()):
        raise ValueError(f"{what} holds a NaN")


class SGD(Optimizer):
    """Step by v <- momentum * v + g,  w <- w - lr * v, where g is the rounded gradient plus weight_decay * w.

    v is kept rounded. With nesterov, the step is along g + momentum * v. Source: Algorithm 2 of Yang et al., "SWALP",
    ICML 2019. Parameters and errors as for Optimizer.
    """

    momentum, weight_decay = Number(), Number()

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        precision: PrecisionLike | ByName = None,
    ) -> None:
        self.momentum, self.weight_decay, self.nesterov = momentum, weight_decay, bool(nesterov)
        if self.nesterov and not self.momentum:
            raise ValueError("SGD: nesterov needs a momentum above 0")
        super().__init__(params, lr, precision)

    def update(self, w: Array, g: Array, state: State) -> Array:
        """Return the weights after one step."""
        sgd, v = kernel("sgd", get_array_module(w)), state.get("momentum")
        w, v = sgd(w, g, v, self.lr, self.weight_decay, self.momentum, self.nesterov)
        if self.momentum:
            state["momentum"] = v
        return w


class Adam(Optimizer):
    """Steps along the mean gradient divided by the root of the mean squared gradient.

    Both means are state: the first is kept rounded as momentum, the second as second_moment, which is exact unless it
    is given by itself. weight_decay is added to the gradient. Source: Kingma and Ba, ICLR 2015. Parameters: betas, the
    decay of the two means; eps, added to the root; the rest as for Optimizer.
    """

    decoupled = False
    eps, weight_decay = Number(), Number()
    roles: ClassVar[dict[str, str]] = {"square": "second_moment"}

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        precision: PrecisionLike | ByName = None,
    ) -> None:
        b1, b2 = (number(type(self).__name__, "betas", beta, 0, 1, "[)") for beta in betas)
        self.betas, self.eps, self.weight_decay = (b1, b2), eps, weight_decay
        super().__init__(params, lr, precision)

    def update(self, w: Array, g: Array, state: State) -> Array:
        """Return the weights after one step."""
        xp, (b1, b2) = get_array_module(w), self.betas
        if self.weight_decay and self.decoupled:
            w = w - self.lr * self.weight_decay * w
        elif self.weight_decay:
            g = g + self.weight_decay * w
        m = state["mean"] = (1 - b1) * g + (b1 * state["mean"] if "mean" in state else 0)
        s = state["square"] = (1 - b2) * g * g + (b2 * state["square"] if "square" in state else 0)
        t = state["t"] = state.get("t", 0) + 1  # of this parameter: its means started at 0 with its first gradient
        root = xp.sqrt(s / (1 - b2**t)) + self.eps
        return w - (self.lr / (1 - b1**t)) * m / root

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned, or from a state with one count of steps for all parameters."""
        for i, arrays in enumerate(state["state"].values()):
            if ("mean" in arrays) != ("square" in arrays):
                raise ValueError(f"{type(self).__name__}: the saved state of parameter {i} has one mean of the two")
        super().load_state_dict(state)
        for own in self.state:
            if "mean" in own and "t" in state:
                own.setdefault("t", int(state["t"]))


class AdamW(Adam):
    """Adam whose weight decay shrinks the weights directly. Source: Loshchilov and Hutter, ICLR 2019."""

    decoupled = True

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        precision: PrecisionLike | ByName = None,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, precision)
