"""How the work of a training is dealt out: the shards of a batch, and the batches of a data set."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..backend import Array, get_array_module
from ..validate import flag, integer
from . import processes
from .gradients import Codes, CompressedSum, Sum
from .lockstep import Exchange, in_turn
from .processes import World
from .shards import Shard, cut, enter

Item = TypeVar("Item")
Part = Callable[[slice], tuple[Any, list[Array | None]]]  # of samples: what was measured, and the gradients


@dataclass(frozen=True)
class Plan:
    """What `init` was told, and the processes it found."""

    world: World
    shards: int
    sync_batch_norm: bool
    compress: bool


_plan: Plan | None = None


def init(shards: int = 8, sync_batch_norm: bool = True, compress: bool = False) -> None:
    """Have `fit` cut each batch into `shards`, and share them out to the processes that mpiexec started together.

    Called once, in every process, before anything is printed. For any number of processes that divides `shards`, one
    included, `fit`, `evaluate` and `update_bn` then give the same bits; only the first process prints and writes files.
    With sync_batch_norm, BatchNorm normalizes by the moments of the whole batch, else by those of each shard. With
    compress, gradients travel in bfp8, a scale for 256 neighbours: each shard's, and each sum of them, is rounded
    stochastically, which is another training, of the same bits again for any number of processes.

    Raises ValueError if the processes do not divide the shards, ImportError under mpiexec without mpi4py.
    """
    global _plan
    world = processes.world()
    with world.together():
        shards, sync_batch_norm = integer("init", "shards", shards, 1), flag("init", "sync_batch_norm", sync_batch_norm)
        compress = flag("init", "compress", compress)
        if shards % world.size:
            raise ValueError(f"init: shards must be a multiple of the number of processes, {world.size}, got {shards}")
    _plan = Plan(world, shards, sync_batch_norm, compress)


def world() -> World:
    """Return the processes that `init` found, or that mpiexec started together, or this one alone."""
    return processes.world() if _plan is not None or processes.launched() else World(None)


def on() -> bool:
    """Return whether `init` was called."""
    return _plan is not None


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """A block in which nothing is shared out, whatever `init` was told."""
    global _plan
    before, _plan = _plan, None
    try:
        yield
    finally:
        _plan = before


def settings() -> dict[str, Any]:
    """Return what a run has to have again when it is resumed."""
    compress = {"compress": True} if _plan is not None and _plan.compress else {}
    return {"shards": _plan and _plan.shards, "sync_batch_norm": _plan and _plan.sync_batch_norm, **compress}


def first() -> bool:
    """Return whether this is the process that prints and writes files."""
    return _plan is None or _plan.world.rank == 0


def share(what: str, value: Any = None) -> list[Any]:
    """Return what each process gives, in their order; all come here, and `what` says at what they are."""
    return [value] if _plan is None else _plan.world.share(what, value)


def from_first(what: str, function: Callable[[], Item]) -> Item:
    """Return what `function` returns in the first process, in all."""
    return share(what, function() if first() else None)[0]


def together() -> contextlib.AbstractContextManager[None]:
    """Return a block that an error in one process ends in all, and that Ctrl-C ends between two exchanges."""
    return contextlib.nullcontext() if _plan is None else _plan.world.together()


def deal(items: Iterable[Item], stream: Any) -> Iterator[Item]:
    """Yield the items that this process is to see to, every so many; each draws from sites of its own of `stream`."""
    if _plan is None:
        yield from items
        return
    for i, item in enumerate(items):
        if i % _plan.world.size == _plan.world.rank:
            stream.site = i << 32
            yield item


def gathered(what: str, results: list[Item]) -> list[Item]:
    """Return the results of all items that were dealt out, in their order, given those of this process."""
    turns = itertools.zip_longest(*share(what, results), fillvalue=_NOTHING)
    return [result for turn in turns for result in turn if result is not _NOTHING]


_NOTHING = object()


def by_shards(
    n: int, like: Sequence[Array], part: Part, codes: Callable[[int], Codes]
) -> tuple[list[Any], list[Array | None]]:
    """Compute the shards of a batch of n samples; return what each measured, in their order, and the sum of gradients.

    Gradients have the shapes of the arrays in `like`; codes, given for how many nodes, is how they are compressed if
    they are. Raises RuntimeError if the shards do not compute the same.
    """
    plan = _plan
    assert plan is not None, "by_shards is for trainings that are cut into shards"
    number = min(plan.shards, n)
    # Where some would have no sample it is little work, and each process does all of it.
    world = plan.world if number == plan.shards else World(None)
    mine = slice(world.rank * number // world.size, (world.rank + 1) * number // world.size)
    works = [
        functools.partial(_compute, part, plan, i, samples, n, i == mine.start)
        for i, samples in list(enumerate(cut(n, number)))[mine]
    ]
    ended = in_turn(works, lambda values: _flat(world.share("an exchange between shards", values)))
    parts = [
        [get_array_module(a).zeros_like(a) if g is None else g for g, a in zip(gradients, like, strict=True)]
        for _, gradients, _ in ended
    ]
    own = [
        (measured, [g is not None for g in gradients], [drawn.site for drawn in shard.drawn.values()])
        for measured, gradients, shard in ended
    ]
    for drawn in ended[0][2].drawn.values():
        drawn.stream.site = drawn.site
    total = _sum(world, parts, mine.start, number, codes if plan.compress else None)
    measured, found, sites = zip(*_flat(world.share("the sum of the gradients", own)), strict=True)
    if any(other != sites[0] for other in sites):
        raise RuntimeError("the shards of a batch do not draw the same number of random numbers")
    anywhere = map(any, zip(*found, strict=True))
    return list(measured), [g if some else None for g, some in zip(total.exchange(), anywhere, strict=True)]


def _sum(
    world: World, parts: list[list[Array]], start: int, shards: int, codes: Callable[[int], Codes] | None
) -> Sum | CompressedSum:
    """Return the sum of the gradients of all shards, of which this process has those from `start` on."""
    if codes is None:
        return Sum(world, parts)
    levels = (shards - 1).bit_length()
    return CompressedSum(world, parts, start, shards, codes((levels + 1) * shards))


def _compute(
    part: Part, plan: Plan, number: int, samples: slice, n: int, leads: bool, exchange: Exchange
) -> tuple[Any, ...]:
    """Return what a shard measured, its gradients, and itself: it knows what it has drawn."""
    shard = Shard(number, samples, n, exchange, leads, plan.sync_batch_norm)
    enter(shard)
    return *part(samples), shard


def _flat(lists: list[list[Any]]) -> list[Any]:
    return [item for items in lists for item in items]
