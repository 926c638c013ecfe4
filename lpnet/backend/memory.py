"""Memory of large arrays, lent again when the arrays are gone."""

from __future__ import annotations

import math
import os
import sys
from collections import OrderedDict, deque
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import numpy as np

from .arrays import Array

_SMALL_BLOCK = 1 << 16  # bytes; below, NumPy's own allocation is as fast
_KEPT = 1 << 26  # bytes of free memory held back for the next arrays, at most, whenever fresh memory is taken
_REMEMBERED = 1 << 31  # bytes of memory in use or free, at most: all that a training step of a large network uses
_MOST_OF_A_SIZE = 256  # blocks: so many are looked at in search of a free one
_pool: OrderedDict[int, deque[np.ndarray]] = OrderedDict()  # blocks by size, the size asked for last at the end


def empty(shape: tuple[int, ...], dtype: Any, xp: ModuleType = np) -> Array:
    """Return an array of any content, in memory that an earlier one has left where there is such.

    The system hands out fresh memory page by page and cleans each: for a large array that takes as long as a pass
    over it. A training step asks for the same sizes as the step before.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if xp is not np or size < _SMALL_BLOCK:
        return xp.empty(shape, dtype)
    blocks = _pool.get(size)
    if blocks is None:
        blocks = _pool.setdefault(size, deque(maxlen=_MOST_OF_A_SIZE))
    free = _free_block(blocks)
    memory = np.empty(size, np.uint8) if free is None else free
    blocks.append(memory)
    _pool.pop(size, None)  # to the end, also where another thread evicted it meanwhile
    _pool[size] = blocks
    if free is None:
        _evict()
    return np.ndarray(shape, dtype, memory)


def _free_block(blocks: deque[np.ndarray]) -> np.ndarray | None:
    """Take a block out that no array uses; those in use stay. Arrays and their views refer to their memory.

    Nobody is told when an array goes: Python code that runs then, __del__ or a callback, would swallow a Ctrl-C.
    """
    for _ in range(len(blocks)):
        try:
            memory = blocks.pop()  # no other thread gets it now
        except IndexError:
            return None
        if sys.getrefcount(memory) <= _UNSHARED:
            return memory
        blocks.appendleft(memory)
    return None


def _count_unshared() -> int:
    memory = deque([np.empty(0, np.uint8)]).pop()
    return sys.getrefcount(memory)


_UNSHARED = _count_unshared()


def references(things: Iterable[Any]) -> list[int]:
    """Return how often each thing is referred to."""
    return [sys.getrefcount(thing) for thing in things]


ALONE = references([object()])[0]  # what is counted for a thing that only a list holds; differs between Pythons


def _evict() -> None:
    """Forget free blocks, and at the second limit any, of the sizes not asked for the longest."""
    pool = list(_pool.items())
    held = sum(size * len(blocks) for size, blocks in pool)
    if held <= _KEPT:
        return
    spare = sum(size * sum(n <= ALONE + 1 for n in references(list(blocks))) for size, blocks in pool) - _KEPT
    for size, blocks in pool:
        while spare > 0 and _free_block(blocks) is not None:
            spare, held = spare - size, held - size
        while held > _REMEMBERED and blocks:
            blocks.popleft()
            held -= size
        if not blocks:
            _pool.pop(size, None)


def empty_cache() -> None:
    """Give back to the system, and to the GPU's other users, the memory held for the next arrays."""
    _pool.clear()
    if "cupy" in sys.modules:
        sys.modules["cupy"].get_default_memory_pool().free_all_blocks()


if hasattr(os, "register_at_fork"):  # a child has use for other sizes
    os.register_at_fork(after_in_child=_pool.clear)
