"""What the outputs of a convolution see of its input, as matrices for BLAS."""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...backend import empty
from ..geometry import ConvGeometry

FLAT = 32  # rows of a matrix; with fewer, products are slow
TOGETHER = 32  # samples side by side in one matrix, at most


class Patches:
    """The patches of samples x (n, C, H, W), one for each of the places `out`, as matrices.

    Place (i, j) of the patch of output (h, w) is position (h, w) * stride + (i, j) * dilation + first of x, and 0
    outside of it.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        groups: int,
        window: tuple[int, int],
        out: tuple[int, int],
        first: tuple[int, int],
        stride: tuple[int, int],
        dilation: tuple[int, int],
    ) -> None:
        (self.channels, *self.size), (self.K, self.L) = shape, window
        self.groups, self.out = groups, out
        # At stride 1 what the rows of the window see is the same, so many rows further down, and copied once for all.
        self.down = dilation[0] if stride[0] == 1 else 0
        self.height = out[0] + self.down * (self.K - 1)
        starts = [first[0] + i * dilation[0] for i in range(1 if self.down else self.K)]
        self.rows = [overlap(self.height, self.size[0], stride[0], start) for start in starts]
        self.columns = [overlap(out[1], self.size[1], stride[1], first[1] + j * dilation[1]) for j in range(self.L)]
        self.whole_rows = out[1] == self.size[1] and stride == (1, 1)  # places see whole rows, moved sideways
        self.is_input = self.whole_rows and (self.K, self.L, *first) == (1, 1, 0, 0) and out == tuple(self.size)
        self.clears = [
            (_ALL, r, *_all(3), part) for r, (to, _) in enumerate(self.rows) for part in _outside(to, self.height)
        ]
        self.clears += [
            (_ALL, r, _ALL, j, _ALL, to, part)
            for r, (to, _) in enumerate(self.rows)
            for j, (there, _) in enumerate(self.columns)
            for part in _outside(there, out[1])
        ]

    @classmethod
    def forward(cls, geometry: ConvGeometry) -> Patches:
        """Return what makes the patches of a convolution's input."""
        first = -geometry.padding[0], -geometry.padding[1]
        return cls(
            (geometry.channels, *geometry.size),
            geometry.groups,
            geometry.window,
            geometry.out,
            first,
            geometry.stride,
            geometry.dilation,
        )

    @classmethod
    def backward(cls, geometry: ConvGeometry) -> Patches:
        """Return what makes the patches of its errors, at stride 1: those that an input has been seen by."""
        fields = zip(geometry.padding, geometry.dilation, geometry.window, strict=True)
        top, left = (p - d * (k - 1) for p, d, k in fields)
        return cls(
            (geometry.filters, *geometry.out),
            geometry.groups,
            geometry.window,
            geometry.size,
            (top, left),
            (1, 1),
            geometry.dilation,
        )

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Return matrices (m, T, G, L C/G, H' W' p), one for each row of the window: T = K.

        p of the n = m p samples are side by side. If the matrices are flat they come as one, of K L C/G rows: T = 1.
        """
        p, C, L = together(len(x), self.channels, math.prod(self.out)), self.channels, self.L
        m, G, C = len(x) // p, self.groups, C // self.groups
        x = side_by_side(x, p)
        if self.is_input:
            return x.reshape(m, 1, G, C, -1)  # (m, G C, H W, p) -> (m, 1, G, C, H W p)
        seen = empty((m, len(self.rows), G, L, C, self.height, self.out[1], p), x.dtype)
        self._copy(x.reshape(m, G, C, *self.size, p), seen)
        for index in self.clears:
            seen[index] = 0
        # (m, R, G, L, C, H'', W', p) -> (m, T, G, L C, H' W' p)
        row = self.out[1] * p
        matrices = seen.reshape(m, -1, G, L * C, self.height * row)
        if self.down:
            first, _, *strides = matrices.strides
            shape, next_row = (m, self.K, G, L * C, self.out[0] * row), self.down * row * x.itemsize
            matrices = as_strided(matrices, shape, (first, next_row, *strides))
        if as_one(L * C):
            return matrices.swapaxes(1, 2).reshape(m, 1, G, self.K * L * C, -1)
        return matrices

    def _copy(self, x: np.ndarray, seen: np.ndarray) -> None:
        """Write x (m, G, C, H, W, p) to where it is seen, (m, R, G, L, C, H'', W', p)."""
        if self.whole_rows:
            self._copy_rows(x, seen[:, 0])
            return
        for r, (to, of) in enumerate(self.rows):
            for j, (there, here) in enumerate(self.columns):
                seen[:, r, :, j, :, to, there] = x[:, :, :, of, here]

    def _copy_rows(self, x: np.ndarray, seen: np.ndarray) -> None:
        """Write x (m, G, C, H, W, p) to (m, G, L, C, H'', W, p), a long copy a place. Rows' ends are cleared after."""
        (to, of), p, row = self.rows[0], x.shape[-1], self.size[1] * x.shape[-1]
        x, seen = x.reshape(*x.shape[:3], -1), seen.reshape(*seen.shape[:4], -1)  # rows one after the other
        start, length = to.start * row, (to.stop - to.start) * row
        for j, (there, here) in enumerate(self.columns):
            shift = (here.start - there.start) * p
            first, count = max(0, -shift), max(0, length - abs(shift))
            source = of.start * row + first + shift
            seen[:, :, j, :, start + first : start + first + count] = x[..., source : source + count]


def as_one(height: int) -> bool:
    """Return whether the matrices of the rows of a window, each so high, are joined."""
    return height < FLAT


def as_matrices(W: np.ndarray) -> np.ndarray:
    """Return weights (G, M, N, K, L), by which M channels are made from N, as they multiply patches: (K, G, M, L N)."""
    G, M, N, K, L = W.shape
    if as_one(L * N):
        return W.transpose(0, 1, 3, 4, 2).reshape(1, G, M, K * L * N)  # -> (G, M, K, L, N) -> (1, G, M, K L N)
    return W.transpose(3, 0, 1, 4, 2).reshape(K, G, M, L * N)  # -> (K, G, M, L, N) -> (K, G, M, L N)


def from_matrices(gW: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return what `as_matrices` arranged as (G, M, N, K, L)."""
    G, M, N, K, L = shape
    if as_one(L * N):
        return gW.reshape(G, M, K, L, N).transpose(0, 1, 4, 2, 3)
    return gW.reshape(K, G, M, L, N).transpose(1, 2, 4, 0, 3)


def together(n: int, channels: int, places: int) -> int:
    """Return how many of n samples to put side by side, so that matrices are about as wide as high."""
    return divisor(n, min(TOGETHER, channels // places))


def divisor(n: int, most: int) -> int:
    """Return the largest divisor of n up to `most`, at least 1."""
    return max((p for p in range(1, min(most, n) + 1) if n % p == 0), default=1)


def side_by_side(x: np.ndarray, p: int) -> np.ndarray:
    """Return x (n, C, ...) as (n/p, C, S, p)."""
    n, C = x.shape[:2]
    if p == 1:
        return x.reshape(n, C, -1, 1)
    y = empty((n // p, C, math.prod(x.shape[2:]), p), x.dtype)
    y[...] = x.reshape(n // p, p, C, -1).transpose(0, 2, 3, 1)  # (n, C, S) -> (n/p, p, C, S) -> (n/p, C, S, p)
    return y


def overlap(n: int, size: int, step: int, offset: int) -> tuple[slice, slice]:
    """Return the k in 0..n and the k * step + offset in 0..size that belong together."""
    start = max(0, -(offset // step))
    stop = max(start, min(n, (size - 1 - offset) // step + 1))
    first = start * step + offset
    return slice(start, stop, 1), slice(first, max(first, (stop - 1) * step + offset + 1), step)


_ALL = slice(None)


def _all(n: int) -> tuple[slice, ...]:
    return (_ALL,) * n


def _outside(part: slice, size: int) -> list[slice]:
    """Return what a part leaves of 0..size."""
    return [rest for rest in (slice(0, part.start), slice(part.stop, size)) if rest.start < rest.stop]
