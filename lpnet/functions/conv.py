"""Two-dimensional convolution as matrix products: unfold the windows of a few samples, multiply, fold back."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..backend import get_array_module, parallel
from ..tensor import Array, Function, Tensor

Pair = int | tuple[int, int]
_COLUMNS = 1 << 19  # floats of unfolded windows at a time: they stay in the processor's cache
_LANES = 8  # sums of the weight's gradient kept apart, then added in order: the same whatever the number of threads


def pair(value: Pair, name: str, least: int = 1) -> tuple[int, int]:
    """Return `value` as (vertical, horizontal); raises ValueError unless both are integers of at least `least`."""
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2 or not all(isinstance(v, int | np.integer) and v >= least for v in both):
        raise ValueError(f"{name} must be an integer of at least {least} or two of them, got {value!r}")
    return both


def out_size(n: int, k: int, stride: int, padding: int, dilation: int = 1) -> int:
    """Return how many windows of `k` elements fit into a length of `n`."""
    return (n + 2 * padding - dilation * (k - 1) - 1) // stride + 1


def taps(kernel: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int], out: tuple[int, int]
         ) -> Iterator[tuple[Any, ...]]:  # fmt: skip
    """Yield for each place in the window the index that selects from (..., H, W) what it sees, (..., H', W')."""
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            starts = i * dilation[0], j * dilation[1]
            yield (..., *(slice(a, a + s * (n - 1) + 1, s) for a, s, n in zip(starts, stride, out, strict=True)))


def padded(x: Array, padding: tuple[int, int], value: float = 0.0) -> Array:
    """Return x (..., H, W) with a border of `value`; x itself if there is none."""
    if padding == (0, 0):
        return x
    (ph, pw), (h, w) = padding, x.shape[-2:]
    y = get_array_module(x).full((*x.shape[:-2], h + 2 * ph, w + 2 * pw), value, dtype=x.dtype)
    y[..., ph : ph + h, pw : pw + w] = x
    return y


class Conv2d(Function):
    # y[n, o] = sum over c, i, j of W[o, c, i, j] * x[n, c, window place (i, j)] + b[o]
    def __init__(self, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> None:
        self.stride, self.dilation = pair(stride, "conv2d: stride"), pair(dilation, "conv2d: dilation")
        self.padding = pair(padding, "conv2d: padding", least=0)
        self.groups = groups

    def forward(self, x: Array, W: Array, *b: Array) -> Array:
        self._check(x, W, *b)
        self.x, self.W = x, W
        xp, O = get_array_module(x), W.shape[0]  # noqa: E741
        y = xp.empty((x.shape[0], O, *self.out), dtype=xp.result_type(x, W))

        def convolve(samples: slice) -> None:
            # (G, O/G, C/G K K) @ (G, C/G K K, N P) -> (G, O/G, N P)
            product = self._flat(W) @ self._unfolded(samples)
            # (G, O/G, N P) -> (O, N, H', row) -> (O, N, H', W') -> (N, O, H', W')
            y[samples] = product.reshape(O, -1, self.out[0], self.row)[..., : self.out[1]].swapaxes(0, 1)
            if b:
                y[samples] += b[0][:, None, None]

        parallel(convolve, self._slices())
        return y

    def backward(self, gy: Array) -> tuple[Array | None, ...]:
        xp, (x, W) = get_array_module(gy), (self.x, self.W)
        gx = xp.empty_like(x) if self.needs[0] else None

        def differentiate(lane: list[slice]) -> Array:
            gW = xp.zeros_like(self._flat(W))
            for samples in lane:
                g = self._rows(gy[samples])
                if self.needs[1]:
                    gW += g @ self._unfolded(samples).swapaxes(-1, -2)
                if gx is not None:
                    gx[samples] = self._folded(self._flat(W).swapaxes(-1, -2) @ g)
            return gW

        slices = self._slices()
        each = -(-len(slices) // _LANES)
        lanes = parallel(differentiate, [slices[i : i + each] for i in range(0, len(slices), each)])
        gW = sum(lanes[1:], lanes[0]).reshape(W.shape)
        gb = gy.sum(axis=(0, 2, 3)) if len(self.needs) == 3 else None
        return (gx, gW if self.needs[1] else None, gb)[: len(self.needs)]

    def _check(self, x: Array, W: Array, *b: Array) -> None:
        """Raise ValueError if the shapes do not fit; find the output's height and width."""
        if x.ndim != 4 or W.ndim != 4:
            raise ValueError(f"conv2d: expected input (N, C, H, W) and weight (O, C, K, K), got {x.shape}, {W.shape}")
        if not isinstance(self.groups, int) or self.groups < 1 or x.shape[1] % self.groups or W.shape[0] % self.groups:
            raise ValueError(f"conv2d: groups={self.groups} must divide {x.shape[1]} channels into {W.shape[0]}")
        if x.shape[1] != W.shape[1] * self.groups:
            raise ValueError(f"conv2d: input has {x.shape[1]} channels, the weight expects {W.shape[1] * self.groups}")
        if b and b[0].shape != W.shape[:1]:
            raise ValueError(f"conv2d: bias of shape {b[0].shape} does not fit a weight of shape {W.shape}")
        geometry = zip(x.shape[2:], W.shape[2:], self.stride, self.padding, self.dilation, strict=True)
        self.out = tuple(out_size(*numbers) for numbers in geometry)
        if min(self.out) < 1:
            raise ValueError(f"conv2d: a window of {W.shape[2:]} does not fit into an input of {x.shape[2:]}")
        self.row = x.shape[3] + 2 * self.padding[1] if self.stride == (1, 1) else self.out[1]  # see `_windows`

    def _flat(self, W: Array) -> Array:
        # (O, C/G, K, K) -> (G, O/G, C/G K K)
        return W.reshape(self.groups, W.shape[0] // self.groups, -1)

    def _slices(self) -> list[slice]:
        """Return slices of the batch whose unfolded windows fit into the cache."""
        each = self.x.shape[1] * math.prod(self.W.shape[2:]) * self.out[0] * self.row
        step = max(1, _COLUMNS // max(1, each))
        return [slice(i, i + step) for i in range(0, self.x.shape[0], step)]

    def _unfolded(self, samples: slice) -> Array:
        """Return the windows of some samples as columns (G, C/G K K, N P), P = H' * row."""
        (H, W), (ph, pw) = self.x.shape[2:], self.padding
        x = self.x[samples].swapaxes(0, 1)  # (C, N, H, W)
        bordered = self._bordered(*x.shape[:2])
        bordered[:, :, ph : ph + H, pw : pw + W] = x
        columns = get_array_module(x).ascontiguousarray(self._windows(bordered))
        # (C, K, K, N, H', row) -> (G, C/G K K, N P)
        return columns.reshape(self.groups, -1, math.prod(columns.shape[3:]))

    def _folded(self, columns: Array) -> Array:
        """Return the sum of the columns' windows, each at its place, (N, C, H, W): the transpose of unfolding."""
        (_, C, H, W), (ph, pw), kernel = self.x.shape, self.padding, self.W.shape[2:]
        # (G, C/G K K, N P) -> (C, K, K, N, H', row)
        columns = columns.reshape(C, *kernel, -1, self.out[0], self.row)
        bordered = self._bordered(C, columns.shape[3])
        windows = self._windows(bordered)
        for i, j in np.ndindex(*kernel):
            windows[:, i, j] += columns[:, i, j]
        return bordered[:, :, ph : ph + H, pw : pw + W].swapaxes(0, 1)

    def _rows(self, gy: Array) -> Array:
        """Return errors (N, O, H', W') as columns (G, O/G, N P), zeros where a row has more than W'."""
        (N, O, H, W), xp = gy.shape, get_array_module(gy)  # noqa: E741
        rows = xp.empty((O, N, H, self.row), dtype=gy.dtype)
        rows[..., :W] = gy.swapaxes(0, 1)
        rows[..., W:] = 0
        return rows.reshape(self.groups, O // self.groups, -1)

    def _bordered(self, channels: int, samples: int) -> Array:
        """Return zeros for padded samples (C, N, H + 2 ph + 1, W + 2 pw); the row at the end belongs to nobody."""
        (H, W), (ph, pw) = self.x.shape[2:], self.padding
        return get_array_module(self.x).zeros((channels, samples, H + 2 * ph + 1, W + 2 * pw), dtype=self.x.dtype)

    def _windows(self, x: Array) -> Array:
        """Return the view (C, K, K, N, H', row) of the bordered x: [:, i, j] is what place (i, j) of the window sees.

        With a stride of 1 the windows of a row are neighbours in memory, and so are those of the next row but for the
        few that reach over its end: taking those too, as numbers that nobody uses, makes one long run of all.
        """
        (C, N), (K, L), (H, _) = x.shape[:2], self.W.shape[2:], self.out
        channel, sample, down, right = x.strides
        (si, sj), (di, dj) = self.stride, self.dilation
        strides = channel, di * down, dj * right, sample, si * down, sj * right
        as_strided = get_array_module(x).lib.stride_tricks.as_strided
        return as_strided(x, (C, K, L, N, H, self.row), strides)


def conv2d(x: Any, W: Any, b: Any = None, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1, groups: int = 1
           ) -> Tensor:  # fmt: skip
    """Return the cross-correlation of x (N, C, H, W) with W (O, C/groups, K, K), plus b (O,): (N, O, H', W').

    stride, padding (of zeros) and dilation are in elements, one number or (vertical, horizontal). Raises ValueError
    for shapes that do not fit.
    """
    f = Conv2d(stride, padding, dilation, groups)
    return f(x, W) if b is None else f(x, W, b)
