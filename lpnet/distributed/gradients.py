"""The sum of all shards' gradients, in one order for any number of processes.

The order is `shards.tree`'s. A process whose shards are a whole branch of it sends one array, their sum. Each process
then adds up its share of all numbers, and gives the result to the others: twice the gradients' bytes, however many they
are. Where each process has a GPU of its own they go from GPU to GPU, else by way of the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from ..backend import Array, get_array_module, on_host, to_device, to_device_of
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
        gpus = None if world.size == 1 or any(map(on_host, self.parts[0])) else world.gpus
        self.device = "cpu" if gpus is None else "cuda"
        self.carrier: Any = gpus or world.comm
        dtypes = sorted({array.dtype for array in self.parts[0]}, key=str)
        self.buffers = {} if world.size == 1 else {dtype: self._buffers(dtype) for dtype in dtypes}

    def _buffers(self, dtype: np.dtype) -> tuple[Array, Array, Array]:
        """Return what is sent to and got from each process, (processes, parts, share), and room for the result."""
        flat = [[to_device(a, self.device).ravel() for a in part if a.dtype == dtype] for part in self.parts]
        xp = get_array_module(flat[0][0])
        m, length, size = len(flat), sum(a.size for a in flat[0]), self.world.size
        share = -(-length // size)
        sent = xp.zeros((m, share * size), dtype)
        for row, arrays in zip(sent, flat, strict=True):
            xp.concatenate(arrays, out=row[:length])
        # (parts, processes * share) -> (processes, parts, share)
        sent = xp.ascontiguousarray(sent.reshape(m, size, share).swapaxes(0, 1))
        return sent, xp.empty_like(sent), xp.empty((size, share), dtype)

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
        self.carrier.Alltoall(sent, got)
        rows = got.reshape(-1, got.shape[-1])  # (processes, parts, share) -> (branches in order, share)
        while len(rows) > 1:  # `tree`, in place: of all rows at once CuPy would make a copy, for which memory may lack
            for a, b in zip(rows[::2], rows[1::2], strict=False):
                a += b
            rows = rows[::2]
        self.carrier.Allgather(rows[0], result)
        return result.reshape(-1)  # (processes, share) -> (numbers and what fills up the last share,)


class Codes(Protocol):
    """How numbers travel in fewer bits: `training.exchange` has it, as rounding comes after this package."""

    row: int  # numbers that share a scale

    def encode(self, x: Array, node: int, first: int) -> Array:
        """Return rows (n, row) of float32, rounded, as bytes (n, bytes of a row).

        What is rounded at another node, or is another row of it, counted from `first`, draws other random bits.
        """

    def decode(self, codes: Array) -> Array:
        """Return the numbers, (n, row) float32."""


class CompressedSum:
    """A `Sum` of which each shard's gradients, and each sum on the way to that of all, are codes.

    All numbers are one row of neighbours, cut into rows of `codes.row`. A node of the tree is rounded by its place in
    it, and a row by its own, whichever process does it. Codes are made, sent and read on the host, also where the
    gradients are on GPUs: they are for slow lines.
    """

    def __init__(self, world: World, parts: Sequence[Arrays], start: int, shards: int, codes: Codes) -> None:
        """Take the gradients of the shards of this process, from number `start` on, of so many in all."""
        self.world, self.codes, self.shards, self.like = world, codes, shards, parts[0]
        numbers = sum(array.size for array in self.like)
        self.share = -(-numbers // (codes.row * world.size))  # rows that a process adds up
        leaves = [codes.encode(self._rows(part), start + i, 0) for i, part in enumerate(parts)]
        whole_branch = world.size == 1 or len(leaves) & (len(leaves) - 1) == 0
        self.parts = [self._added(leaves, 0, start, 0)] if whole_branch else leaves
        # (parts, processes * share, bytes) -> (processes, parts, share, bytes)
        sent = np.stack(self.parts).reshape(len(self.parts), world.size, self.share, -1).swapaxes(0, 1)
        self.sent = np.ascontiguousarray(sent)
        self.got = np.empty_like(self.sent)
        self.result = np.empty((world.size * self.share, sent.shape[-1]), np.uint8)
        self.level = len(leaves).bit_length() - 1 if whole_branch else 0

    def _rows(self, part: Arrays) -> Array:
        """Return all numbers of one shard, (processes * share, row) float32, the last ones 0."""
        rows = np.zeros((self.world.size * self.share, self.codes.row), np.float32)
        flat = [to_device(array, "cpu").reshape(-1) for array in part]
        np.concatenate(flat, out=rows.reshape(-1)[: sum(array.size for array in flat)], casting="same_kind")
        return rows

    def _added(self, parts: Sequence[Array], level: int, start: int, first: int) -> Array:
        """Return the sum of parts in codes, as `tree` adds; they are rows from `first` on, nodes of `level` of it."""
        while len(parts) > 1:
            level, start, odd = level + 1, start // 2, parts[len(parts) & ~1 :]
            sums = [self.codes.decode(a) + self.codes.decode(b) for a, b in zip(parts[::2], parts[1::2], strict=False)]
            parts = [self.codes.encode(x, level * self.shards + start + i, first) for i, x in enumerate(sums)]
            parts += list(odd)
        return parts[0]

    def exchange(self) -> list[Array]:
        """Return the sums over all shards of all processes."""
        total = self.parts[0] if self.world.size == 1 else self._exchanged()
        flat, sums, start = self.codes.decode(total).reshape(-1), [], 0
        for array in self.like:
            own = flat[start : start + array.size].reshape(array.shape).astype(array.dtype)
            sums.append(to_device_of(own, array))
            start += array.size
        return sums

    def _exchanged(self) -> Array:
        self.world.comm.Alltoall(self.sent, self.got)
        # (processes, parts, share, bytes) -> (branches in order, share, bytes)
        branches = list(self.got.reshape(-1, *self.got.shape[2:]))
        own = self._added(branches, self.level, 0, self.world.rank * self.share)
        self.world.share("the sum of the gradients")  # where an error of one in between can be told
        self.world.comm.Allgather(own, self.result)
        return self.result
