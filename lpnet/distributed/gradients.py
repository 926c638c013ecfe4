"""The sum of all shards' gradients, in one order for any number of processes.

The order is `shards.tree`'s. A process whose shards are a whole branch of it sends one array, their sum. Each process
then adds up its share of all numbers, and gives the result to the others: twice the gradients' bytes, however many they
are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..backend import Array, to_device, to_device_of
from .processes import World
from .shards import tree

Arrays = Sequence[Array]


class Sum:
    """Gradients of this process's shards, [shard][array], about to be added to those of the others.

    All that needs memory is done here, where an error can still be told.
    """

    def __init__(self, world: World, parts: Sequence[Arrays]) -> None:
        whole_branch = len(parts) & (len(parts) - 1) == 0
        self.world = world
        self.parts = [[tree(column) for column in zip(*parts, strict=True)]] if whole_branch else parts
        dtypes = sorted({array.dtype for array in self.parts[0]}, key=str)
        self.buffers = {} if world.size == 1 else {dtype: self._buffers(dtype) for dtype in dtypes}

    def _buffers(self, dtype: np.dtype) -> tuple[Array, Array, Array]:
        """Return what is sent to and got from each process, (processes, parts, share), and room for the result."""
        flat = [[to_device(a, "cpu").ravel() for a in part if a.dtype == dtype] for part in self.parts]
        m, length, size = len(flat), sum(a.size for a in flat[0]), self.world.size
        share = -(-length // size)
        sent = np.zeros((m, share * size), dtype)
        for row, arrays in zip(sent, flat, strict=True):
            np.concatenate(arrays, out=row[:length])
        # (parts, processes * share) -> (processes, parts, share)
        sent = np.ascontiguousarray(sent.reshape(m, size, share).swapaxes(0, 1))
        return sent, np.empty_like(sent), np.empty((size, share), dtype)

    def exchange(self) -> list[Array]:
        """Return the sums over all shards of all processes."""
        if self.world.size == 1:
            return [tree(column) for column in zip(*self.parts, strict=True)]
        flat = {dtype: self._exchanged(*buffers) for dtype, buffers in self.buffers.items()}
        sums, start = [], dict.fromkeys(flat, 0)
        for array in self.parts[0]:
            dtype = array.dtype
            stop = start[dtype] + array.size
            sums.append(to_device_of(flat[dtype][start[dtype] : stop].reshape(array.shape), array))
            start[dtype] = stop
        return sums

    def _exchanged(self, sent: Array, got: Array, result: Array) -> Array:
        self.world.comm.Alltoall(sent, got)
        rows = got.reshape(-1, got.shape[-1])  # (processes, parts, share) -> (branches in order, share)
        while len(rows) > 1:  # `tree`, in place
            rows[: len(rows) & ~1 : 2] += rows[1::2]
            rows = rows[::2]
        self.world.comm.Allgather(rows[0], result)
        return result.reshape(-1)  # (processes, share) -> (numbers and what fills up the last share,)
