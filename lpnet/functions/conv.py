"""Two-dimensional convolution as matrix products, one for each row of the window and some samples at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..backend import empty, get_array_module, parallel, slices
from ..tensor import Array, Function, Tensor
from ..validate import Pair, integer, pair
from . import conv_cuda

_AT_A_TIME = 1 << 17  # numbers of input or output: enough that threads do not often wait for the interpreter
_FLAT = 32  # rows of a matrix; with fewer, products are slow
_TOGETHER = 32  # samples side by side in one matrix, at most
_LANES = 8  # sums of the weight's gradient kept apart, then added in order: the same whatever the number of threads


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
        self.stride, self.dilation = pair("conv2d", "stride", stride), pair("conv2d", "dilation", dilation)
        self.padding = pair("conv2d", "padding", padding, 0)
        self.groups = integer("conv2d", "groups", groups, 1)

    def forward(self, x: Array, W: Array, *b: Array) -> Array:
        self._check(x, W, *b)
        self.x, self.W, xp = x, W, get_array_module(x)
        if xp is not np:
            return conv_cuda.forward(self, x, W, *b)
        y = empty((len(x), len(W), *self.out), xp.result_type(x, W), xp)
        weights, look = as_matrices(self._grouped()), self._windows()

        def convolve(samples: slice) -> None:
            correlate(weights, look(x[samples]), y[samples])
            if b:
                y[samples] += b[0][:, None, None]

        parallel(convolve, self._slices())
        return y

    def backward(self, gy: Array) -> tuple[Array | None, ...]:
        if not len(gy):  # an empty batch
            xp = get_array_module(gy)
            gxs = gy.reshape(self.x.shape), xp.zeros_like(self.W), xp.zeros_like(self.W[:, 0, 0, 0])
            return gxs[: len(self.needs)]
        if get_array_module(gy) is not np:
            return conv_cuda.backward(self, gy)
        (x, W), gy = (self.x, self.W), np.ascontiguousarray(gy)
        gx = empty(x.shape, x.dtype) if self.needs[0] else None
        step, restored = self._from_errors() if gx is not None and self._covered() else self._from_inputs()

        def differentiate(lane: list[slice]) -> tuple[Array, Array]:
            gW = gb = 0
            for samples in lane:
                gW += step(x[samples], gy[samples], None if gx is None else gx[samples])
                if len(self.needs) == 3:
                    gb += channel_sums(gy[samples])
            return gW, gb

        parts = self._slices()
        each = -(-len(parts) // _LANES)
        lanes = parallel(differentiate, [parts[i : i + each] for i in range(0, len(parts), each)])
        gW, gb = map(sum, zip(*lanes, strict=True))
        return (gx, restored(gW).reshape(W.shape) if self.needs[1] else None, gb)[: len(self.needs)]

    def _covered(self) -> bool:
        """Return whether every input is seen from as many places as there are in the window, up to the border."""
        return self.stride == (1, 1) and math.prod(self.x.shape[2:]) <= math.prod(self.out)

    def _from_errors(self) -> tuple[Callable[..., Array], Callable[[Array], Array]]:
        """Return what writes the gradient of some inputs and gives the weight's, and what brings that into order.

        The input's gradient is a convolution too: of the errors, with the windows turned by 180 degrees. What it sees
        of them, times the input, is the weight's gradient.
        """
        turned = self._grouped()[..., ::-1, ::-1].swapaxes(1, 2)  # -> (G, C/G, O/G, K, L)
        weights, look = as_matrices(turned), self._windows_back()

        def step(x: Array, gy: Array, gx: Array) -> Array:
            seen = look(gy)
            correlate(weights, seen, gx)
            return products_with(seen, x) if self.needs[1] else 0

        return step, lambda gW: from_matrices(gW.swapaxes(2, 3), turned.shape)[..., ::-1, ::-1].swapaxes(1, 2)

    def _from_inputs(self) -> tuple[Callable[..., Array], Callable[[Array], Array]]:
        """Return the same for any geometry: by what the outputs saw of the input."""
        look = self._windows()

        def step(x: Array, gy: Array, gx: Array | None) -> Array:
            if gx is not None:
                self._spread(gy, gx)
            return products_with(look(x), gy) if self.needs[1] else 0

        return step, lambda gW: from_matrices(gW.swapaxes(2, 3), self._grouped().shape)

    def _check(self, x: Array, W: Array, *b: Array) -> None:
        """Raise ValueError if the shapes do not fit; find the output's height and width."""
        if x.ndim != 4 or W.ndim != 4:
            raise ValueError(f"conv2d: expected input (N, C, H, W) and weight (O, C, K, K), got {x.shape}, {W.shape}")
        if x.shape[1] % self.groups or len(W) % self.groups:
            raise ValueError(f"conv2d: groups={self.groups} must divide {x.shape[1]} channels into {W.shape[0]}")
        if x.shape[1] != W.shape[1] * self.groups:
            raise ValueError(f"conv2d: input has {x.shape[1]} channels, the weight expects {W.shape[1] * self.groups}")
        if b and b[0].shape != W.shape[:1]:
            raise ValueError(f"conv2d: bias of shape {b[0].shape} does not fit a weight of shape {W.shape}")
        geometry = zip(x.shape[2:], W.shape[2:], self.stride, self.padding, self.dilation, strict=True)
        self.out = tuple(out_size(*numbers) for numbers in geometry)
        if min(self.out) < 1:
            raise ValueError(f"conv2d: a window of {W.shape[2:]} does not fit into an input of {x.shape[2:]}")

    def _slices(self) -> list[slice]:
        size = max(math.prod(self.x.shape[1:]), len(self.W) * math.prod(self.out))
        return slices(len(self.x), size, max(_AT_A_TIME, size * together(_TOGETHER, len(self.W), math.prod(self.out))))

    def _grouped(self) -> Array:
        return self.W.reshape(self.groups, -1, *self.W.shape[1:])  # (O, C/G, K, L) -> (G, O/G, C/G, K, L)

    def _windows(self) -> Windows:
        first = -self.padding[0], -self.padding[1]
        return Windows(self.x.shape, self.groups, self.W.shape[2:], self.out, first, self.stride, self.dilation)

    def _windows_back(self) -> Windows:
        first = [p - d * (k - 1) for p, d, k in zip(self.padding, self.dilation, self.W.shape[2:], strict=True)]
        return Windows((len(self.x), len(self.W), *self.out), self.groups, self.W.shape[2:], self.x.shape[2:], first,
                       (1, 1), self.dilation)  # fmt: skip

    def _spread(self, gy: Array, gx: Array) -> None:
        """Give the gradient of each output back to the inputs that it saw."""
        gx[...] = 0
        W = self._grouped().transpose(3, 0, 4, 2, 1)  # -> (K, G, L, C/G, O/G)
        (n, _, *out), (_, G, L, C, O) = gy.shape, W.shape  # noqa: E741
        inputs, errors = gx.reshape(n, G, C, *gx.shape[2:]), gy.reshape(n, G, O, -1)
        for i, w in enumerate(W):
            shares = (w.reshape(G, L * C, O) @ errors).reshape(n, G, L, C, *out)
            for j in range(L):
                offsets = (k * d - p for k, d, p in zip((i, j), self.dilation, self.padding, strict=True))
                (h, to_h), (v, to_v) = map(_both, out, gx.shape[2:], self.stride, offsets)
                inputs[..., to_h, to_v] += shares[:, :, j, :, h, v]


class Windows:
    """What the outputs of a convolution see of its input, as matrices.

    Place (i, j) of the window of output (h, w) sees position (h, w) * stride + (i, j) * dilation + first, and 0 outside
    of x (N, C, H, W).
    """

    def __init__(self, shape: tuple[int, ...], groups: int, kernel: tuple[int, int], out: tuple[int, int],
                 first: tuple[int, int], stride: tuple[int, int], dilation: tuple[int, int]) -> None:  # fmt: skip
        (_, C, *self.size), (K, self.L) = shape, kernel
        self.channels, self.groups, self.out = C, groups, out
        starts = [first[0] + i * dilation[0] for i in range(K)]
        # At stride 1 what the rows of the window see overlaps, and is copied once for all.
        self.offsets = [start - first[0] for start in starts] if stride[0] == 1 else None
        self.height = out[0] + (self.offsets[-1] if self.offsets else 0)
        self.rows = [_both(self.height, self.size[0], stride[0], start)
                     for start in (starts[:1] if self.offsets else starts)]  # fmt: skip
        self.columns = [_both(out[1], self.size[1], stride[1], first[1] + j * dilation[1]) for j in range(self.L)]
        self.moves = out[1] == self.size[1] and stride == (1, 1)  # places see whole rows, moved sideways
        self.is_input = self.moves and (K, self.L, *first) == (1, 1, 0, 0) and out == tuple(self.size)
        self.clears = [(r, *_all(4), part) for r, (to, _) in enumerate(self.rows) for part in _outside(to, self.height)]
        self.clears += [(r, *_all(2), j, _ALL, to, part) for r, (to, _) in enumerate(self.rows)
                        for j, (there, _) in enumerate(self.columns) for part in _outside(there, out[1])]  # fmt: skip

    def __call__(self, x: Array) -> list[Array]:
        """Return a matrix (m, G, L C/G, H' W' p) for each row of the window; p of the n = m p samples are side by side.

        If the matrices are flat they come as one, (m, G, K L C/G, H' W' p).
        """
        p, C, L, xp = together(len(x), self.channels, math.prod(self.out)), self.channels, self.L, get_array_module(x)
        m, G, C = len(x) // p, self.groups, C // self.groups
        x = side_by_side(x, p)
        if self.is_input:
            return [x.reshape(m, G, C, -1)]
        seen = empty((len(self.rows), m, G, L, C, self.height, self.out[1], p), x.dtype, xp)
        self._copy(x.reshape(m, G, C, *self.size, p), seen)
        for index in self.clears:
            seen[index] = 0
        flat, row = seen.reshape(-1, m, G, L * C, self.height * self.out[1] * p), self.out[1] * p
        parts = [flat[0, ..., i * row : (i + self.out[0]) * row] for i in self.offsets] if self.offsets else list(flat)
        return [xp.concatenate(parts, axis=2)] if as_one(L * C) and len(parts) > 1 else parts

    def _copy(self, x: Array, seen: Array) -> None:
        """Write x (m, G, C, H, W, p) to where it is seen, (R, m, G, L, C, H', W', p)."""
        if not self.moves:
            for r, (to, of) in enumerate(self.rows):
                for j, (there, here) in enumerate(self.columns):
                    seen[r, :, :, j, :, to, there] = x[:, :, :, of, here]
            return
        # All rows as one: a long copy instead of many short ones. The ends of rows are cleared after.
        wide, x = seen.reshape(*seen.shape[1:5], -1), x.reshape(*x.shape[:3], -1)
        (to, of), row = self.rows[0], self.size[1] * seen.shape[-1]
        start, length = to.start * row, (to.stop - to.start) * row
        for j, (there, here) in enumerate(self.columns):
            shift = (here.start - there.start) * seen.shape[-1]
            first, count = max(0, -shift), max(0, length - abs(shift))
            source = of.start * row + first + shift
            wide[:, :, j, :, start + first : start + first + count] = x[..., source : source + count]


def as_one(height: int) -> bool:
    """Return whether the matrices of the rows of a window, each so high, are joined."""
    return height < _FLAT


def as_matrices(W: Array) -> Array:
    """Return weights (G, M, N, K, L), by which M channels are made from N, as they multiply windows: (K, G, M, L N)."""
    G, M, N, K, L = W.shape
    if as_one(L * N):
        return W.transpose(0, 1, 3, 4, 2).reshape(1, G, M, K * L * N)
    return W.transpose(3, 0, 1, 4, 2).reshape(K, G, M, L * N)


def from_matrices(gW: Array, shape: tuple[int, ...]) -> Array:
    """Return what `as_matrices` arranged as (G, M, N, K, L)."""
    G, M, N, K, L = shape
    if as_one(L * N):
        return gW.reshape(G, M, K, L, N).transpose(0, 1, 4, 2, 3)
    return gW.reshape(K, G, M, L, N).transpose(1, 2, 4, 0, 3)


def together(n: int, channels: int, places: int) -> int:
    """Return how many of n samples to put side by side, so that matrices are about as wide as high."""
    most = min(_TOGETHER, channels // places, n)
    return max((p for p in range(1, most + 1) if n % p == 0), default=1)


def side_by_side(x: Array, p: int) -> Array:
    """Return x (n, C, ...) as (n/p, C, S, p)."""
    n, C = x.shape[:2]
    if p == 1:
        return x.reshape(n, C, -1, 1)
    y = empty((n // p, C, math.prod(x.shape[2:]), p), x.dtype, get_array_module(x))
    y[...] = x.reshape(n // p, p, C, -1).transpose(0, 2, 3, 1)
    return y


def correlate(W: Array, seen: list[Array], y: Array) -> None:
    """Write the sum of W (T, G, M, N) times what was `seen`, T matrices (m, G, N, H W p), into y (n, G M, H, W)."""
    (T, G, M, _), (m, *_, width), xp = W.shape, seen[0].shape, get_array_module(y)
    p = len(y) // m
    total = y.reshape(m, G, M, width) if p == 1 else empty((m, G, M, width), y.dtype, xp)
    products = empty((T, *total.shape), y.dtype, xp) if T > 1 else [total]
    for w, matrix, product in zip(W, seen, products, strict=True):
        xp.matmul(w, matrix, out=product)
    if T > 1:
        xp.add.reduce(products, axis=0, out=total)
    if p > 1:  # (m, G, M, H W p) -> (m, p, G M, H W)
        y.reshape(m, p, G * M, -1)[...] = total.reshape(m, G * M, -1, p).transpose(0, 3, 1, 2)


def products_with(seen: list[Array], gy: Array) -> Array:
    """Return what was `seen`, T matrices (m, G, N, H W p), times errors gy (n, G M, H, W), summed up: (T, G, N, M)."""
    (m, G, N, width), xp = seen[0].shape, get_array_module(gy)
    errors = side_by_side(gy, len(gy) // m).reshape(m, G, -1, width).swapaxes(-1, -2)
    products = empty((len(seen), m, G, N, errors.shape[-1]), gy.dtype, xp)
    for matrix, product in zip(seen, products, strict=True):
        xp.matmul(matrix, errors, out=product)
    return products.sum(axis=1) if m > 1 else products[:, 0]


def channel_sums(gy: Array) -> Array:
    """Return the sums of gy (n, C, H, W) over samples and places, (C,); BLAS adds faster than `sum`."""
    rows = gy.reshape(-1, math.prod(gy.shape[2:]))
    return (rows @ get_array_module(gy).ones(rows.shape[1], gy.dtype)).reshape(len(gy), -1).sum(axis=0)


_ALL = slice(None)


def _all(n: int) -> tuple[slice, ...]:
    return (_ALL,) * n


def _outside(part: slice, size: int) -> list[slice]:
    """Return what a part leaves of 0..size."""
    return [rest for rest in (slice(0, part.start), slice(part.stop, size)) if rest.start < rest.stop]


def _both(n: int, size: int, step: int, offset: int) -> tuple[slice, slice]:
    """Return the k in 0..n and the k * step + offset in 0..size that belong together."""
    start = max(0, -(offset // step))
    stop = max(start, min(n, (size - 1 - offset) // step + 1))
    first = start * step + offset
    return slice(start, stop, 1), slice(first, max(first, (stop - 1) * step + offset + 1), step)


def conv2d(x: Any, W: Any, b: Any = None, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1, groups: int = 1
           ) -> Tensor:  # fmt: skip
    """Return the cross-correlation of x (N, C, H, W) with W (O, C/groups, K, K), plus b (O,): (N, O, H', W').

    stride, padding (of zeros) and dilation are in elements, one number or (vertical, horizontal). Raises ValueError
    for shapes that do not fit.
    """
    f = Conv2d(stride, padding, dilation, groups)
    return f(x, W) if b is None else f(x, W, b)
