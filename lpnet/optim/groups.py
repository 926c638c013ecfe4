"""Parameter groups: parameters with hyperparameters of their own, by PyTorch's names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..tensor import Parameter
from ..validate import number

if TYPE_CHECKING:
    from .optimizer import Optimizer

Params = Iterable[Parameter] | Iterable[tuple[str, Parameter]] | Iterable[Mapping[str, Any]]


class Group(dict[str, Any]):
    """Hyperparameters by name, and "params": a dictionary that refuses names and values that `kind` does not know."""

    def __init__(self, kind: type[Optimizer], items: Mapping[str, Any]) -> None:
        super().__init__()
        self.kind = kind
        for name, value in items.items():
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if name != "params":
            rule = getattr(self.kind, name, None)
            if not isinstance(rule, Hyperparameter):
                known = ", ".join(hyperparameters(self.kind))
                raise ValueError(f"{self.kind.__name__}: a group has params, {known}, got {name!r}")
            value = rule.check(self.kind.__name__, name, value)
        super().__setitem__(name, value)


class Hyperparameter:
    """An attribute of an optimizer: what the group has that is stepped, else the first; assigned, what all have.

    `check(owner, name, value)` returns the value as it is kept, or raises ValueError; without one it is a number of at
    least 0.
    """

    def __init__(self, check: Callable[[str, str, Any], Any] = number) -> None:
        self.check = check

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, optimizer: Any, owner: type | None = None) -> Any:
        return self if optimizer is None else optimizer.group[self.name]

    def __set__(self, optimizer: Any, value: Any) -> None:
        for group in optimizer.param_groups or [optimizer.group]:
            group[self.name] = value


class LearningRate(Hyperparameter):
    """The learning rate: assigned a number, that of the first group; the others keep their proportion to it.

    Assigned several numbers, those of the groups.
    """

    def __set__(self, optimizer: Any, value: Any) -> None:
        groups = optimizer.param_groups or [optimizer.group]
        rates = value if isinstance(value, list | tuple) else _in_proportion(optimizer, value)
        if len(rates) != len(groups):
            owner = type(optimizer).__name__
            raise ValueError(f"{owner}: lr must be a number or one for each of {len(groups)} groups, got {value!r}")
        checked = [self.check(type(optimizer).__name__, self.name, rate) for rate in rates]
        for group, rate in zip(groups, checked, strict=True):
            group[self.name] = rate


def _in_proportion(optimizer: Any, lr: Any) -> list[Any]:
    """Return the rates of all groups where `lr` is that of the first, as they were when the optimizer was made."""
    first, *others = optimizer.initial_rates or [lr]
    if not others:
        return [lr]
    owner = type(optimizer).__name__
    if not first:
        raise ValueError(
            f"{owner}: the first group began with lr=0, others have no proportion to it: give lr as a list"
        )
    lr = number(owner, "lr", lr)
    return [lr, *(lr * (other / first) for other in others)]


def on(owner: str, name: str, value: Any) -> bool:
    """Return whether a hyperparameter that is one or the other is on."""
    return bool(value)


def hyperparameters(kind: type[Optimizer]) -> list[str]:
    """Return the names of what an optimizer of this kind lets a group have of its own."""
    return [name for name in dir(kind) if isinstance(getattr(kind, name), Hyperparameter)]


def as_dictionaries(owner: str, params: Params) -> list[dict[str, Any]]:
    """Return one dictionary a group, with a list "params"; of parameters without groups, one; else ValueError."""
    given: list[Any] = list(params)
    if not any(isinstance(group, Mapping) for group in given):
        return [{"params": given}]
    for group in given:
        if not isinstance(group, Mapping) or "params" not in group:
            raise ValueError(f'{owner}: a group must be a dictionary with "params", got {group!r}')
    own = [group["params"] for group in given]
    lists = [[params] if isinstance(params, Parameter) else list(params) for params in own]
    return [{**group, "params": params} for group, params in zip(given, lists, strict=True)]
