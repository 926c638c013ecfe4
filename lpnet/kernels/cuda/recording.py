"""Work for the GPU recorded once as a CUDA graph, then launched as a whole: no launch of its kernels costs the host."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from ... import random
from . import cublas

_recording: Recording | None = None  # the one that is being made: a process makes one at a time


def current() -> Recording | None:
    """Return the recording that is being made, if one is."""
    return _recording


STREAMS = 256  # of random numbers that a recording may draw from
NOWHERE = {"sites": None, "seed": 0, "site": 0}  # for a kernel that draws nothing


def place(stream: random.Stream, n: int) -> tuple[dict[str, Any], int]:
    """Take the stream's next site for n numbers; return what tells a kernel where it is, and the first number's place.

    That is the seed and the site, or, for what is being recorded, where they will be read and how many sites later.
    """
    window = stream.window(n)
    where = {"sites": None, "seed": window.seed, "site": window.site}
    return where if _recording is None else where | _recording.place(stream, window.site), window.start


class Recording:
    """What a CUDA graph holds: its stream of work, memory that is only its own, and where random sites are read.

    with recording.made(): whatever is asked of the GPU; then recording.play(), any number of times. Each time the
    random numbers are those of the streams' next sites, as if the work had been asked for anew. Everything else is as
    it was when it was recorded: the arrays that are read and written, and all numbers that the host gave.
    """

    def __init__(self) -> None:
        cupy = sys.modules["cupy"]
        self.stream = cupy.cuda.Stream()  # what the default stream does waits for it, and it for that
        self.memory = cupy.cuda.MemoryPool()
        self.cublas = cublas.CuBLAS().on(self.stream)
        # What the host writes before the graph runs is no memory of the graph's own, which an earlier array of it,
        # gone by now, may have had.
        self.places = cupy.empty((STREAMS, 2), np.uint64)
        self.sites: dict[int, tuple[random.Stream, int, Any]] = {}  # with the first site, and where kernels read it
        self.taken: dict[int, int] = {}

    @contextlib.contextmanager
    def made(self) -> Iterator[None]:
        """Record what is asked of the GPU in this block, and do none of it; streams are then where they were."""
        global _recording
        cuda = sys.modules["cupy"].cuda
        if _recording is not None:
            raise RuntimeError("a recording is being made: one at a time")
        _recording = self
        try:
            with cuda.using_allocator(self.memory.malloc), self.stream:
                self.stream.begin_capture(cuda.runtime.streamCaptureModeRelaxed)
                try:
                    yield
                except BaseException:
                    with contextlib.suppress(Exception):  # the recording is spoilt, and says so once more
                        self.stream.end_capture()
                    raise
                self.graph = self.stream.end_capture()
        finally:
            _recording = None
            for key, (stream, first, _) in self.sites.items():
                self.taken[key] = stream.site - first
                stream.site = first

    def place(self, stream: random.Stream, site: int) -> dict[str, Any]:
        """Return how a kernel finds a site: so many after the one that is read when the graph is played."""
        if id(stream) not in self.sites:
            self.sites[id(stream)] = stream, site, self.places[len(self.sites)]
        _, first, at = self.sites[id(stream)]
        return {"sites": at, "site": site - first}

    def play(self) -> None:
        """Have the GPU do what was recorded, without waiting for it."""
        with self.stream:
            for key, (stream, _, at) in self.sites.items():
                at.set(np.array([stream.seed, stream.site], np.uint64))
                stream.site += self.taken[key]
            self.graph.launch()
