"""What all optimizers do: round the gradient, then their state, then the weights, and keep and save the state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from ..backend import Array, copy_like, get_array_module, to_device, to_device_of
from ..formats import FixedPoint, Format
from ..precision import ByName, Precision, PrecisionLike, Quantizer, as_precision, most_specific
from ..tensor import Parameter
from ..validate import flag, integer
from .flat import Flat
from .groups import Group, LearningRate, Params, as_dictionaries

StepHook = Callable[["Optimizer", int, Array, Array, Array], None]
step_hooks: list[StepHook] = []  # called after every update with the optimizer, the parameter's number, and the arrays
# (what collects updates before, the rounded gradient, the new weights before rounding)
COLLECTED = ("accumulator", "compensation")  # arrays of the state that hold what the weights cannot
State = dict[str, Any]  # arrays of the parameter's shape, by name, and "t", a count


class Optimizer:
    """Base of the optimizers. A subclass gives `update`; this class rounds, and keeps and saves the state.

    Parameters: params, the Parameters to train, or (name, Parameter) pairs, or groups of them; lr, the learning rate,
    an attribute that may be set at any time; precision, whose roles gradient, momentum, weight, accumulator and
    second_moment apply (a format, its name or a function stands for `Precision.uniform`, None for exact); compensate,
    whether what rounding took from the weights is kept, in their format, and added to the next update (Kahan's
    summation, which 16 bits of weights and 16 of compensation need in place of 32), which a recipe may ask for, too.
    Raises ValueError for an empty list, a learning rate below 0, and for compensation with an accumulator, without a
    role weight or with weights in fixed point.

    Making an optimizer rounds the weights, in the model, if precision has a role weight or accumulator: training starts
    on the grid. Weights put in their place later, as by `model.load_state_dict`, are rounded to nearest when the next
    step begins, and it goes on from them.

    With `model.named_parameters()`, precision may be a dictionary as for `nn.lower`, without types:
    {"*": "bfp8", "conv1": None, "*.bias": "e4m3"}. A parameter goes by its name, or the longest name of a layer it is
    in, before patterns and "*". `precision` is then what "*" has, and `overrides` that of each parameter
    with another key, by its number.

    Groups are dictionaries as PyTorch's, `[{"params": body, "lr": 0.01}, {"params": head}]`: what a group does not
    say is as for all. `param_groups[1]["lr"] = 0.1` sets it later. The attribute `lr` is the first group's; assigned a
    number, as a schedule does, the others keep their proportion to it, and a list has a rate for each.
    """

    lr = LearningRate()
    counts = False  # whether `update` depends on how many steps there were
    roles: ClassVar[dict[str, str]] = {}  # of arrays of the state that are no momentum, by name
    param_groups: list[Group]
    initial_rates: list[float]  # of the groups, as they were made
    defaults: Group  # what a group has that does not say
    group: Group  # the one whose parameters are being stepped, else the first

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Make an optimizer without groups, so that a subclass may set its hyperparameters before it calls on this."""
        self = super().__new__(cls)
        self.param_groups, self.initial_rates = [], []
        self.defaults = self.group = Group(cls, {})
        return self

    def __init__(
        self, params: Params, lr: float, precision: PrecisionLike | ByName = None, compensate: bool = False
    ) -> None:
        self.lr = lr
        names = self._take(as_dictionaries(type(self).__name__, params))
        self.overrides: dict[int, Precision] = {}  # by the number of the parameter
        self.precision = self._by_name(precision, names) if isinstance(precision, Mapping) else as_precision(precision)
        asked = flag(type(self).__name__, "compensate", compensate)
        self.compensate = asked or getattr(self.precision, "compensate", False)
        self._check_compensation()
        self.state: list[State] = [{} for _ in self.params]
        self._written: list[Array | None] = [None for _ in self.params]  # the weights last rounded; None: as was loaded
        for i, p in enumerate(self.params):
            self._store(i, p.data)

    def _take(self, groups: list[dict[str, Any]]) -> list[str]:
        """Take parameters and groups; return the parameters' names, if they have any."""
        owner = type(self).__name__
        names, self.params = _split_names([p for group in groups for p in group["params"]])
        if not self.params or not all(isinstance(p, Parameter) for p in self.params):
            raise ValueError(f"{owner}: params must be Parameters, at least one, got {self.params!r}")
        if len({id(p) for p in self.params}) < len(self.params):
            raise ValueError(f"{owner}: params holds a Parameter more than once")
        made = [Group(type(self), {**self.defaults, **g, "params": _split_names(g["params"])[1]}) for g in groups]
        for group in made:
            self.check_group(group)
        self.param_groups, self.group, self.initial_rates = made, made[0], [group["lr"] for group in made]
        self._group_of = [group for group in made for _ in group["params"]]
        return names

    def check_group(self, group: Group) -> None:
        """Raise ValueError for hyperparameters that do not go together; for subclasses."""

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

    def _check_compensation(self) -> None:
        """Raise ValueError where there is nothing to compensate, or where it would not help."""
        if not self.compensate:
            return
        owner, used = type(self).__name__, [self.precision_of(i) for i in range(len(self.params))]
        if any(precision.accumulator is not None for precision in used):
            raise ValueError(f"{owner}: an accumulator and compensate=True both keep what weights cannot: give one")
        if all(precision.weight is None for precision in used):
            raise ValueError(f"{owner}: compensate=True needs weights that are rounded: give the role weight")
        if any(isinstance(getattr(precision.weight, "format", None), FixedPoint) for precision in used):
            raise ValueError(
                f"{owner}: compensate=True needs weights in floating point or blocks, got {used[0].weight}; "
                "what is below the gap of fixed point is no number of it: give an accumulator"
            )

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
            w = self._updated(i, before, g)
            for name, array in _arrays(state):  # in the order of definition, in which the random bits are taken
                if name not in COLLECTED:
                    state[name] = precision.round(self.roles.get(name, "momentum"), array)
            w = self._compensated(i, w)
            self._store(i, w)
            for hook in step_hooks:
                hook(self, i, before, g, w)

    def _updated(self, i: int, w: Array, g: Array) -> Array:
        """Return the new weights of parameter number `i`, by the hyperparameters of its group."""
        self.group = self._group_of[i]
        try:
            return self.update(w, g, self.state[i])
        finally:
            self.group = self.param_groups[0]

    def _sync(self, i: int) -> None:
        """Round the weights of parameter number `i`, and go on from them, if others were put there since the last step.

        They are rounded to nearest, which moves none that is rounded already and draws no random bits.
        """
        w, known, state, precision = self.params[i].data, self._written[i], self.state[i], self.precision_of(i)
        if w is known:
            return
        xp, quantizers = get_array_module(w), (precision.weight, precision.accumulator)
        if not all(q is None or (isinstance(q, Quantizer) and q.format.idempotent) for q in quantizers):
            self._sync_twice_moves(i, w)
            return
        self.params[i].data = self._written[i] = rounded = _to_nearest(precision.weight, w)
        if name := next((name for name in COLLECTED if name in state), None):
            # A state that was loaded is of the weights that are there, unless these were never rounded.
            same = (rounded == w).all() if known is None else w == to_device_of(known, w)
            wide = name == "accumulator"
            anew = _to_nearest(precision.accumulator, w) if wide else _to_nearest(precision.weight, w - rounded)
            state[name] = xp.where(same, state[name], anew)

    def _sync_twice_moves(self, i: int, w: Array) -> None:
        """Do so where rounding twice may move the weights, by a function or NVFP4: those that are the same stay."""
        known, state = self._written[i], self.state[i]
        same = np.bool_(True) if known is None else w == to_device_of(known, w)
        if same.all():
            self._written[i] = w
        else:
            held = w + state["compensation"] if "compensation" in state else state.get("accumulator", w)
            self._store(i, get_array_module(w).where(same, held, w))

    @staticmethod
    def _move_state(p: Parameter, state: State) -> None:
        """Move the state to where the parameter is: `model.to` knows nothing of optimizers."""
        for name, array in _arrays(state):
            state[name] = to_device_of(array, p.data)

    def _compensated(self, i: int, w: Array) -> Array:
        """Return new weights with what rounding took from the old ones (Kahan's summation).

        Source: Zamirai et al., "Revisiting BFloat16 training", 2021, section 4.
        """
        rest = self.state[i].get("compensation")
        if rest is None:
            return w
        before = self.params[i].data
        return before + self.precision_of(i).round("weight", (w - before) + rest)

    def _store(self, i: int, w: Array) -> None:
        """Round new weights into parameter number `i`, by way of the accumulator if there is one."""
        precision = self.precision_of(i)
        if precision.accumulator is not None:
            w = self.state[i]["accumulator"] = precision.round("accumulator", w)
        self.params[i].data = self._written[i] = rounded = precision.round("weight", w)
        if self.compensate and precision.weight is not None:
            self.state[i]["compensation"] = precision.round("weight", w - rounded)

    @property
    def nbytes(self) -> int:
        """Bytes of the state as it would be stored: in the codes and scales of its formats, as it is where none is."""
        roles = {"accumulator": "accumulator", "compensation": "weight", **self.roles}
        return sum(
            stored_bytes(array, getattr(self.precision_of(i), roles.get(name, "momentum")))
            for i, state in enumerate(self.state)
            for name, array in _arrays(state)
        )

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for p in self.params:
            p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return the learning rate, a list of several groups', and copies of all state, by the parameters' numbers."""
        arrays = {str(i): {k: np.array(to_device(v, "cpu")) for k, v in s.items()} for i, s in enumerate(self.state)}
        rates = [group["lr"] for group in self.param_groups]
        return {"lr": rates if len(rates) > 1 else self.lr, "state": arrays}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned; raises ValueError if it is of other parameters."""
        if len(state["state"]) != len(self.params):
            raise ValueError(
                f"{type(self).__name__}: the saved state is of {len(state['state'])} parameters, "
                f"this optimizer has {len(self.params)}"
            )
        for i, (p, arrays) in enumerate(zip(self.params, state["state"].values(), strict=True)):
            for name in COLLECTED:
                if (name in arrays) != (name in self.state[i]):
                    has = "no" if name in self.state[i] else "an" if name == "accumulator" else "a"
                    what = "precision" if name == "accumulator" else "compensate"
                    raise ValueError(
                        f"{type(self).__name__}: the saved state has {has} {name}, "
                        f"this optimizer's {what} says otherwise"
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
    return w if quantizer is None else type(quantizer)(quantizer.format, "nearest")(w)


def stored_bytes(array: Array, quantizer: Any) -> int:
    """Return the bytes that an array takes in the codes of a quantizer's format, else as it is."""
    fmt = getattr(quantizer, "format", None)
    if not isinstance(fmt, Format) or fmt.bits is None:
        return int(array.nbytes)
    shape = (array.size,) if isinstance(quantizer, Flat) else array.shape
    return sum(-(-bits // 8) for bits in fmt.code_bits(shape))


def _arrays(state: State) -> list[tuple[str, Array]]:
    return [(name, array) for name, array in state.items() if name != "t"]


def check_saved(array: Array, what: str) -> None:
    """Raise ValueError for what is no array of real numbers, or has a NaN, which no later step would get rid of."""
    kind = getattr(getattr(array, "dtype", None), "kind", None)
    if kind is None or kind not in "biuf":
        raise ValueError(f"{what} must be an array of real numbers, got {type(array).__name__}")
    if bool(get_array_module(array).isnan(array).any()):
        raise ValueError(f"{what} holds a NaN")
