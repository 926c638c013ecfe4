"""Two-dimensional convolution as matrix products, one for each row of the output and a few samples at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..backend import get_array_module, parallel, slices
from ..tensor import Array, Function, Tensor

Pair = int | tuple[int, int]
_SMALL = 10**6  # multiplications of one matrix product: up to here OpenBLAS takes its operands as they lie
_NARROW = 32  # columns of a matrix; with fewer, products are slow
_WIDE = 96  # output channels; see `_weight_gradient`
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
        xp, bias = get_array_module(x), b[0].reshape(self.groups, 1, -1, 1) if b else None
        y = xp.empty((x.shape[0], W.shape[0], *self.out), dtype=xp.result_type(x, W))
        # (O, C/G, K, L) -> (G, 1, O/G, K L C/G)
        weights = xp.ascontiguousarray(W.transpose(0, 2, 3, 1)).reshape(self.groups, 1, -1, W[0].size)

        def convolve(samples: slice) -> None:
            _multiply(weights, self._seen(x[samples]), bias, y[samples])

        parallel(convolve, self._slices())
        return y

    def backward(self, gy: Array) -> tuple[Array | None, ...]:
        xp, (x, W) = get_array_module(gy), (self.x, self.W)
        gx = xp.empty(x.shape, dtype=x.dtype) if self.needs[0] else None
        K, L = W.shape[2:]
        # (O, C/G, K, L) -> (G, O/G, C/G, K, L), turned by 180 degrees -> (G, 1, C/G, K L O/G)
        turned = W.reshape(self.groups, -1, *W.shape[1:])[..., ::-1, ::-1].transpose(0, 2, 3, 4, 1)
        turned = xp.ascontiguousarray(turned).reshape(self.groups, 1, W.shape[1], -1)

        def differentiate(lane: list[slice]) -> Array:
            gW = xp.zeros((self.groups, K * L * W.shape[1], W.shape[0] // self.groups), dtype=W.dtype)
            for samples in lane:
                if self.needs[1]:
                    gW += self._weight_gradient(x[samples], gy[samples])
                if gx is not None:
                    _multiply(turned, self._seen_back(gy[samples]), None, gx[samples])
            return gW

        parts = self._slices()
        each = -(-len(parts) // _LANES)
        lanes = parallel(differentiate, [parts[i : i + each] for i in range(0, len(parts), each)])
        # (G, K L C/G, O/G) -> (G, O/G, C/G, K, L) -> (O, C/G, K, L)
        gW = sum(lanes[1:], lanes[0]).reshape(self.groups, K, L, W.shape[1], -1).transpose(0, 4, 3, 1, 2)
        gb = gy.sum(axis=(0, 2, 3)) if len(self.needs) == 3 else None
        return (gx, gW.reshape(W.shape) if self.needs[1] else None, gb)[: len(self.needs)]

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

    def _slices(self) -> list[slice]:
        return slices(len(self.x), math.prod(self.x.shape[1:]) * self.W.shape[3] // self.stride[1])

    def _seen(self, x: Array) -> Array:
        """Return what each row of the output sees of samples x, (G, H', K L C/G, n W')."""
        first = -self.padding[0], -self.padding[1]
        return rows(x, self.groups, self.W.shape[2:], self.out, first, self.stride, self.dilation, (1, 1))

    def _seen_back(self, gy: Array) -> Array:
        """Return what each row of the input's gradient sees of errors gy `stride` apart, (G, H, K L O/G, n W)."""
        K, L = self.W.shape[2:]
        first = self.padding[0] - self.dilation[0] * (K - 1), self.padding[1] - self.dilation[1] * (L - 1)
        return rows(gy, self.groups, (K, L), self.x.shape[2:], first, (1, 1), self.dilation, self.stride)

    def _weight_gradient(self, x: Array, gy: Array) -> Array:
        """Return the sum over outputs of what they saw times their errors, (G, K L C/G, O/G)."""
        seen, (n, O, H, W), xp = self._seen(x), gy.shape, get_array_module(gy)  # noqa: E741
        errors = gy.reshape(n, self.groups, -1, H, W)
        if O // self.groups < _WIDE:  # (n, G, O/G, H', W') -> (G, H', O/G, n W')
            errors = xp.ascontiguousarray(errors.transpose(1, 3, 2, 0, 4)).reshape(self.groups, H, -1, n * W)
            return (seen @ errors.swapaxes(-1, -2)).sum(axis=1)
        # One long product: here copying the windows costs less than adding up the products of the rows.
        errors = xp.ascontiguousarray(errors.transpose(1, 2, 3, 0, 4)).reshape(self.groups, -1, H * n * W)
        seen = xp.ascontiguousarray(seen.swapaxes(1, 2)).reshape(self.groups, -1, H * n * W)
        return seen @ errors.swapaxes(-1, -2)


def rows(x: Array, groups: int, kernel: tuple[int, int], out: tuple[int, int], first: tuple[int, int],
         stride: tuple[int, int], dilation: tuple[int, int], apart: tuple[int, int]) -> Array:  # fmt: skip
    """Return the windows of samples x (n, C, H, W), as matrices for each row of the output: (G, H', K L C/G, n W').

    Place (i, j) of the window of output (h, w) sees position (h, w) * stride + (i, j) * dilation + first, where x lies
    `apart` positions apart in a plane of zeros; stride or apart is 1. Only the L shifts along a row are copied: output
    row h sees the K rows of them from h on, which lie one after the other in memory, so its matrix is a view.
    """
    (n, C, H, W), (K, L), xp = x.shape, kernel, get_array_module(x)
    height = (out[0] - 1) * stride[0] + dilation[0] * (K - 1) + 1
    shifted = xp.empty((groups, height, L, C // groups, n, out[1]), dtype=x.dtype)
    x = x.reshape(n, groups, -1, H, W).transpose(1, 3, 2, 0, 4)  # -> (G, H, C/G, n, W)
    here, there = _both(H, height, apart[0], -first[0])
    _clear(shifted, 1, there)
    for j in range(L):
        offset = first[1] + j * dilation[1]
        if apart[1] == 1:
            to, of = _both(out[1], W, stride[1], offset)
        else:
            of, to = _both(W, out[1], apart[1], -offset)
        _clear(shifted[:, :, j], 4, to)
        shifted[:, there, j, :, :, to] = x[:, here, :, :, of]
    group, row, _, matrix_row, _, item = shifted.strides
    windows = xp.lib.stride_tricks.as_strided(
        shifted,
        (groups, out[0], K, L * C // groups, n * out[1]),
        (group, stride[0] * row, dilation[0] * row, matrix_row, item),
    )
    return windows.reshape(groups, out[0], -1, n * out[1])  # copies only where dilated rows are not neighbours


def _both(n: int, size: int, step: int, offset: int) -> tuple[slice, slice]:
    """Return the k in 0..n and the k * step + offset in 0..size that belong together."""
    start = max(0, -(offset // step))
    stop = max(start, min(n, (size - 1 - offset) // step + 1))
    first = start * step + offset
    return slice(start, stop, 1), slice(first, max(first, (stop - 1) * step + offset + 1), step)


def _clear(x: Array, axis: int, but: slice) -> None:
    """Set x to zero outside of a slice of an axis."""
    outside = [slice(but.start), slice(but.stop, None)] if but.step == 1 else [slice(None)]
    for part in outside:
        x[(slice(None),) * axis + (part,)] = 0


def _multiply(W: Array, seen: Array, bias: Array | None, y: Array) -> None:
    """Write W (G, 1, O, K) times seen (G, H, K, n W), plus bias (G, 1, O, 1), into y (n, G O, H, W).

    A product takes so many samples that it stays small.
    """
    (n, _, H, width), (G, _, O, K) = y.shape, W.shape  # noqa: E741
    most = max(_NARROW, _SMALL // (O * K)) // width
    each = max(m for m in range(1, n + 1) if n % m == 0 and (m == 1 or m <= most))
    # (G, H, K, n W) -> (G, H, n/m, K, m W)
    product = W[:, :, None] @ seen.reshape(G, H, K, -1, each * width).swapaxes(2, 3)
    if bias is not None:
        product += bias[:, :, None]
    # (G, H, n/m, O, m W) -> (n/m, m, G, O, H, W)
    product = product.reshape(G, H, -1, O, each, width).transpose(2, 4, 0, 3, 1, 5)
    y.reshape(product.shape)[...] = product


def conv2d(x: Any, W: Any, b: Any = None, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1, groups: int = 1
           ) -> Tensor:  # fmt: skip
    """Return the cross-correlation of x (N, C, H, W) with W (O, C/groups, K, K), plus b (O,): (N, O, H', W').

    stride, padding (of zeros) and dilation are in elements, one number or (vertical, horizontal). Raises ValueError
    for shapes that do not fit.
    """
    f = Conv2d(stride, padding, dilation, groups)
    return f(x, W) if b is None else f(x, W, b)
