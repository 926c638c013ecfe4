"""The shard of a batch that is computed now, and what it learns of the others.

Whatever depends on all samples of a batch (BatchNorm's moments, a scale for a whole tensor) or on the place of a sample
(random bits) asks here. Outside of a training that is cut into shards there is none, and everything is as if there were
no such thing.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from ..backend import Array, get_array_module
from ..replay import once


@dataclass(eq=False)
class Shard:
    """Some neighbouring samples of a batch, computed as if they were a batch of their own."""

    number: int  # among the shards of the batch
    samples: slice
    whole: int  # samples of the batch
    exchange: Callable[[Any], list[Any]]  # gives a value, returns those of all shards in their order
    leads: bool = True  # the first of its process: sees to what is to be done once
    sync_batch_norm: bool = True
    drawn: dict[int, Any] = field(default_factory=dict)  # what it draws of each stream, see random.Part

    @property
    def size(self) -> int:
        """How many samples it has."""
        return self.samples.stop - self.samples.start

    def place(self, n: int) -> int:
        """Return where the first of its `n` numbers lies among those of the whole batch, samples first."""
        return self.samples.start * n // self.size


def cut(n: int, shards: int) -> list[slice]:
    """Return the samples of each shard of a batch of n: the first ones have one more where they cannot be alike."""
    least, more = divmod(n, shards)
    ends = [i * least + min(i, more) for i in range(shards + 1)]
    return [slice(a, b) for a, b in itertools.pairwise(ends)]


_current: ContextVar[Shard | None] = ContextVar("shard", default=None)


def current() -> Shard | None:
    """Return the shard that is computed now, if a batch was cut."""
    return _current.get()


def enter(shard: Shard) -> None:
    """Have `shard` be the one that is computed in this context."""
    _current.set(shard)


def everywhere(value: Any) -> list[Any]:
    """Return the values of all shards, each of which comes here, in their order."""
    shard = current()
    return [value] if shard is None else once(lambda: shard.exchange(value))


def tree(parts: Sequence[Array]) -> Array:
    """Return the sum of arrays, of neighbours first, then of neighbouring sums: always in the same order."""
    while len(parts) > 1:
        odd = parts[len(parts) & ~1 :]
        parts = [a + b for a, b in zip(parts[::2], parts[1::2], strict=False)] + list(odd)
    return parts[0]


def largest(x: Array) -> Array:
    """Return the elementwise maximum of every shard's array; NaN where one has it."""
    return functools.reduce(get_array_module(x).maximum, everywhere(x))


Moments = tuple[Array, Array, int]  # mean, variance, and of how many values


def moments(own: Moments) -> tuple[Moments, Moments]:
    """Return the moments that BatchNorm normalizes by, and those of the whole batch, given the shard's own."""
    whole = _merged(everywhere(own))
    return whole if _synchronised() else own, whole


def _merged(parts: Sequence[Moments]) -> Moments:
    """Source: Chan, Golub and LeVeque, "Updating formulae ... for computing sample variances", 1979."""
    if len(parts) == 1:
        return parts[0]
    total = sum(n for *_, n in parts)
    mean = tree([m * n for m, _, n in parts]) / total
    return mean, tree([(v + (m - mean) ** 2) * n for m, v, n in parts]) / total, total


Total = Callable[[Array, int], tuple[Array, int]]


def own_sums(own: Array, count: int) -> tuple[Array, int]:
    """Return what is given: sums over all samples that were normalized together, and of how many values."""
    return own, count


def sums(own: Array, count: int) -> tuple[Array, int]:
    """Return the sums that BatchNorm's backward pass takes, and of how many values, given the shard's own."""
    parts = everywhere((own, count)) if _synchronised() else [(own, count)]
    return tree([array for array, _ in parts]), sum(n for _, n in parts)


def _synchronised() -> bool:
    shard = current()
    return shard is None or shard.sync_batch_norm


def leads() -> bool:
    """Return whether what has to be done once in a process is to be done here."""
    shard = current()
    return shard is None or shard.leads
