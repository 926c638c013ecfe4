"""Modules that hold modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..tensor import Tensor
from .module import Module


class Sequential(Module):
    """Modules run one after another; their names are "0", "1", ..."""

    def __init__(self, *layers: Module) -> None:
        for i, layer in enumerate(layers):
            setattr(self, str(i), _module("Sequential", i, layer))

    def __iter__(self) -> Iterator[Module]:
        return (layer for _, layer in self._members() if isinstance(layer, Module))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, i: int) -> Module:
        return list(self)[i]

    def forward(self, x: Any) -> Tensor:
        """Return the last layer's output."""
        for layer in self:
            x = layer(x)
        return x


class ModuleList(Module):
    """A list of modules, named "0", "1", ...; a plain list as an attribute does as well."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        self.held: list[Module] = []
        self.extend(modules)

    def _members(self) -> Iterator[tuple[str, Module]]:
        return ((str(i), module) for i, module in enumerate(self.held))

    def append(self, module: Module) -> ModuleList:
        """Add a module at the end; returns self."""
        self.held.append(_module("ModuleList", len(self.held), module))
        return self

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Add modules at the end; returns self."""
        for module in modules:
            self.append(module)
        return self

    def insert(self, i: int, module: Module) -> None:
        """Add a module before number `i`."""
        self.held.insert(i, _module("ModuleList", i, module))

    def __iter__(self) -> Iterator[Module]:
        return iter(self.held)

    def __len__(self) -> int:
        return len(self.held)

    def __getitem__(self, i: Any) -> Any:
        return ModuleList(self.held[i]) if isinstance(i, slice) else self.held[i]

    def __setitem__(self, i: int, module: Module) -> None:
        self.held[i] = _module("ModuleList", i, module)

    def __delitem__(self, i: int | slice) -> None:
        del self.held[i]


class ModuleDict(Module):
    """Modules by name; a plain dict as an attribute does as well."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        self.held: dict[str, Module] = {}
        self.update(modules or {})

    def _members(self) -> Iterator[tuple[str, Module]]:
        return iter(self.held.items())

    def update(self, modules: Mapping[str, Module]) -> None:
        """Add modules, or put them in the place of those of their names."""
        for name, module in modules.items():
            self[name] = module

    def keys(self) -> Iterable[str]:
        """Return the names."""
        return self.held.keys()

    def values(self) -> Iterable[Module]:
        """Return the modules."""
        return self.held.values()

    def items(self) -> Iterable[tuple[str, Module]]:
        """Return (name, module) of each."""
        return self.held.items()

    def __iter__(self) -> Iterator[str]:
        return iter(self.held)

    def __len__(self) -> int:
        return len(self.held)

    def __contains__(self, name: object) -> bool:
        return name in self.held

    def __getitem__(self, name: str) -> Module:
        return self.held[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.held[name] = _module("ModuleDict", name, module)

    def __delitem__(self, name: str) -> None:
        del self.held[name]


def _module(owner: str, key: int | str, value: Any) -> Module:
    if not isinstance(value, Module):
        raise TypeError(f"{owner}: item {key} must be a Module, got {value!r}")
    return value
