"""Random bits as a function of position, so that rounding gives the same result however the work is split.

Every stochastic operation takes the next *site* of a `Stream`; its element i then reads 16-bit lane i mod 16 of the
256-bit block i // 16 of Philox4x64-10 with key (seed, 0) and counter (i // 16 + 1, site, 0, 0). An operation that wants
at most 8 bits a number reads 8-bit lane i mod 32 of block i // 32: half of Philox.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011; `numpy.random.Philox` is the generator.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from types import ModuleType
from typing import Any

import numpy as np

from .backend import empty
from .distributed import shards
from .replay import once
from .validate import integer

_CHUNK = 1 << 15  # words drawn at a time: still in the cache when they are copied; between them threads take turns
BLOCK = 256  # bits that Philox gives at a time
_ROUNDING, _HOST = 0, 1  # second key word: bits for arrays, and for host-side generators, never meet
_local = threading.local()
_lock = threading.RLock()  # held while a stream moves on; one for all, so that streams can be copied and pickled


def lane_width(wanted: int) -> int:
    """Return how many bits a random number has of which the highest `wanted` are wanted: 8, or 16 for more than 8."""
    return 8 if wanted <= 8 else 16


def blocks(start: int, stop: int, width: int) -> tuple[int, int, slice]:
    """Return the first block of elements `start` to `stop`, how many blocks they take, and their lanes in these."""
    lanes = BLOCK // width
    first = start // lanes
    return first, -(-stop // lanes) - first, slice(start - first * lanes, stop - first * lanes)


def bits(seed: int, site: int, start: int, stop: int, width: int = 16) -> np.ndarray:
    """Return the random numbers of elements `start` to `stop` at one site: uint16, or uint8 at a width of 8."""
    # Making a Philox costs 30 µs, setting the state of one 1 µs: keep one a thread. The counter is bumped before the
    # first output, hence `first` here and i // 16 + 1 in the definition; buffer_pos 4 says that nothing is buffered.
    first, count, lanes = blocks(start, stop, width)
    if not hasattr(_local, "philox"):
        _local.philox = np.random.Philox(key=0)
        _local.state = _local.philox.state
    _local.state["state"]["key"][:] = seed, _ROUNDING
    _local.state["state"]["counter"][:] = first, site, 0, 0
    _local.state["buffer_pos"] = 4
    _local.philox.state = _local.state
    words = empty((count * BLOCK // 64,), np.uint64)
    for i in range(0, len(words), _CHUNK):
        words[i : i + _CHUNK] = _local.philox.random_raw(min(_CHUNK, len(words) - i))
    return words.astype("<u8", copy=False).view(f"<u{width // 8}")[lanes]


def _generator(seed: int, site: int, shard: int = 0) -> np.random.Generator:
    # a list with a number of 2^63 or more would become an array of float64
    key, counter = np.array([seed, _HOST], np.uint64), np.array([0, site, shard, 0], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


class Stream:
    """A seed and the number of the next site. `state_dict()` is all that a checkpoint needs.

    No two threads get the same site of a stream, but which of them gets which is left to chance.

    Parameters: seed, an integer in [0, 2^64). Raises ValueError outside of it.
    """

    seed_call = 0  # the number of the last call of `manual_seed` that was for this stream

    def __init__(self, seed: int = 0) -> None:
        self.reset(seed)

    def reset(self, seed: int) -> None:
        """Start again at site 0 with another seed."""
        seed = integer("Stream", "seed", seed, 0, 2**64 - 1)
        with _lock:
            self.seed, self.site = seed, 0

    def take(self) -> tuple[int, int]:
        """Return (seed, site) of the next site, and move on."""
        return once(self._take)

    def _take(self) -> tuple[int, int]:
        with _lock:
            site, self.site = self.site, self.site + 1
            return self.seed, site

    def window(self, n: int) -> Window:
        """Return the next site, for an array of `n` elements."""
        return Window(*self.take(), 0)

    def draw(self, n: int) -> np.ndarray:
        """Return `n` 16-bit random numbers of the next site. A subclass may have others: the upper bits count most."""
        return self.window(n).draw(n)

    def generator(self) -> np.random.Generator:
        """Return a NumPy generator keyed by the next site: for initial weights and other draws made on the host."""
        return _generator(*self.take())

    def state_dict(self) -> dict[str, int]:
        """Return the seed and the next site."""
        return {"seed": self.seed, "site": self.site}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to the position that `state_dict` returned; raises ValueError for what is none."""
        site = integer("Stream", "site", state["site"], 0, 2**64 - 1)
        self.reset(state["seed"])
        self.site = site

    def __repr__(self) -> str:
        return f"Stream(seed={self.seed}, site={self.site})"


class Window(Stream):
    """The numbers of one site from element `start` on: what a chunk of a larger array draws."""

    def __init__(self, seed: int, site: int, start: int) -> None:
        self.seed, self.site, self.start = seed, site, start

    def window(self, n: int) -> Window:
        """Return this window."""
        return self

    def part(self, start: int) -> Window:
        """Return the window that begins `start` elements further on."""
        return Window(self.seed, self.site, self.start + start)

    def draw(self, n: int) -> np.ndarray:
        """Return the numbers of the window's first `n` elements."""
        return bits(self.seed, self.site, self.start, self.start + n)


class Part(Stream):
    """What a shard of a batch draws of a stream: at each site the numbers of the place that its samples have."""

    def __init__(self, stream: Stream, shard: shards.Shard) -> None:
        if type(stream) is not Stream:
            raise TypeError(
                f"a batch cannot be cut into shards where random bits come from a {type(stream).__name__}: "
                "what it draws depends on the order of its calls; use an lp.random.Stream"
            )
        self.stream, self.shard = stream, shard
        self.seed, self.site = stream.seed, stream.site

    def window(self, n: int) -> Window:
        """Return the place of the shard's `n` elements at the next site."""
        return Window(*self.take(), self.shard.place(n))

    def generator(self) -> np.random.Generator:
        """Return a NumPy generator keyed by the next site and the shard."""
        return _generator(*self.take(), self.shard.number)


default = Stream(0)  # of the main thread, and of every other one that has not called `manual_seed` itself
seed_calls = 0  # calls of manual_seed: a DataLoader sees by it that its position is of an earlier run
_seeded: ContextVar[Stream | None] = ContextVar("own", default=None)
_forked: ContextVar[Stream | None] = ContextVar("fork_rng", default=None)


def current(stream: Stream | None = None) -> Stream:
    """Return the stream to draw from: of the innermost `fork_rng` block, else `stream`, else the thread's default."""
    if isinstance(stream, Window | Part):  # whoever made it has chosen already
        return stream
    found, shard = _forked.get() or stream or thread_stream(), shards.current()
    if shard is None:
        return found
    return shard.drawn.setdefault(id(found), shard.drawn.get(id(found)) or Part(found, shard))


def thread_stream() -> Stream:
    """Return this thread's default stream: its own if it called `manual_seed`, else `default`."""
    return _seeded.get() or default


_Drawer = Callable[[Stream, int, ModuleType, int], Any]
_drawer: _Drawer


def draw_by(drawer: _Drawer) -> _Drawer:
    """Have `draw` done by a function of its arguments: the kernels, which know the GPU's, come after this file."""
    global _drawer
    _drawer = drawer
    return drawer


def draw(stream: Stream | None, n: int, xp: ModuleType, width: int = 16) -> Any:
    """Return `n` random numbers of the current stream's next site, of 16 or 8 bits: an array of `xp`, drawn there.

    Where a subclass has a `draw` of its own, they are the upper bits of what that returns.
    """
    found = current(stream)
    if type(found).draw not in (Stream.draw, Window.draw):
        return xp.asarray(found.draw(n) >> (16 - width))
    return _drawer(found, n, xp, width)


@contextlib.contextmanager
def fork_rng(seed: int = 0) -> Iterator[Stream]:
    """Within this block all draws come from a fresh stream: evaluating a model takes nothing from a training stream."""
    stream = Stream(seed)
    token = _forked.set(stream)
    try:
        yield stream
    finally:
        _forked.reset(token)


def manual_seed(seed: int) -> None:
    """Start again from `seed`: initial weights, dropout, rounding; every DataLoader goes back to its first epoch.

    In a thread other than the main one that is so for this thread alone, and from here on it draws from a stream of
    its own: two threads that seed disturb neither one another nor the main one.
    """
    global seed_calls
    stream = default if threading.current_thread() is threading.main_thread() else Stream()
    stream.reset(seed)
    with _lock:
        stream.seed_call = seed_calls = seed_calls + 1
    _seeded.set(stream)


def _after_fork() -> None:
    global _lock
    _lock = threading.RLock()  # a thread that this process does not have may have held it


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
