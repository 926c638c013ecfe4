"""Convolution as matrix products, one for each sample and row of the window. Twin: kernels/twin.py."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...backend import Array, empty, parallel, slices
from ..geometry import ConvGeometry
from .patches import TOGETHER, Patches, as_matrices, divisor, from_matrices, overlap, side_by_side, together

AT_A_TIME = 1 << 17  # numbers of input or output: enough that threads do not often wait for the interpreter
SHORT = 16  # outputs in a row that is short
LANES = 8  # sums of the weight's gradient kept apart, then added in order: the same whatever the number of threads


def conv2d(geometry: ConvGeometry, x: Array, W: Array, b: Array | None = None) -> Array:
    """Return the cross-correlation of x (N, C, H, W) with W (O, C/G, K, L), plus b (O,): (N, O, H', W')."""
    y = empty((len(x), geometry.filters, *geometry.out), np.result_type(x, W))
    weights, patches = as_matrices(_grouped(geometry, W)), Patches.forward(geometry)

    def convolve(samples: slice) -> None:
        correlate(weights, patches(x[samples]), y[samples])
        if b is not None:
            y[samples] += b[:, None, None]

    parallel(convolve, _slices(geometry, len(x)))
    return y


def conv2d_backward(
    geometry: ConvGeometry, gy: Array, x: Array | None = None, W: Array | None = None, bias: bool = False
) -> tuple[Array | None, Array | None, Array | None]:
    """Return the gradients of x, which takes W, of W, which takes x, and of b if `bias`, given that of y."""
    gy = np.ascontiguousarray(gy)
    gx = None if W is None else empty((len(gy), geometry.channels, *geometry.size), np.result_type(gy, W))
    if not len(gy):  # an empty batch has no sums
        zeros = np.zeros(geometry.weight_shape, gy.dtype)
        return gx, None if x is None else zeros, zeros[:, 0, 0, 0] if bias else None
    step, restored = (_by_errors if W is not None and _covered(geometry) else _by_inputs)(geometry, W)

    def differentiate(lane: list[slice]) -> tuple[Array, Array]:
        gW = gb = 0
        for samples in lane:
            gW += step(gy[samples], None if x is None else x[samples], None if gx is None else gx[samples])
            gb += channel_sums(gy[samples]) if bias else 0
        return gW, gb

    parts = _slices(geometry, len(gy))
    each = -(-len(parts) // LANES)
    lanes = parallel(differentiate, [parts[i : i + each] for i in range(0, len(parts), each)])
    gW, gb = map(sum, zip(*lanes, strict=True))
    return gx, None if x is None else restored(gW), gb if bias else None


Step = Callable[[Array, Array | None, Array | None], Array]  # of gy, x and gx: writes gx, returns a part of gW


def _covered(geometry: ConvGeometry) -> bool:
    """Return whether every input is seen from as many places as there are in the window, up to the border."""
    return geometry.stride == (1, 1) and math.prod(geometry.size) <= math.prod(geometry.out)


def _by_errors(geometry: ConvGeometry, W: Array) -> tuple[Step, Callable[[Array], Array]]:
    """Return what takes a step of the gradients, and what brings the sum of the weight's into order.

    The input's gradient is a convolution too: of the errors, with the windows turned by 180 degrees. What it sees of
    them, times the input, is the weight's gradient.
    """
    turned = _grouped(geometry, W)[..., ::-1, ::-1].swapaxes(1, 2)  # -> (G, C/G, O/G, K, L)
    weights, patches = as_matrices(turned), Patches.backward(geometry)

    def step(gy: Array, x: Array | None, gx: Array) -> Array:
        seen = patches(gy)
        correlate(weights, seen, gx)
        return 0 if x is None else products_with(seen, x)

    def restored(gW: Array) -> Array:
        return from_matrices(gW.swapaxes(2, 3), turned.shape)[..., ::-1, ::-1].swapaxes(1, 2).reshape(W.shape)

    return step, restored


def _by_inputs(geometry: ConvGeometry, W: Array | None) -> tuple[Step, Callable[[Array], Array]]:
    """Return the same for any geometry: by what the outputs saw of the input."""
    (O, *rest), G, patches = geometry.weight_shape, geometry.groups, Patches.forward(geometry)  # noqa: E741

    def step(gy: Array, x: Array | None, gx: Array | None) -> Array:
        if gx is not None:
            spread(geometry, W, gy, gx)
        return 0 if x is None else products_with(patches(x), gy)

    def restored(gW: Array) -> Array:
        return from_matrices(gW.swapaxes(2, 3), (G, O // G, *rest)).reshape(O, *rest)

    return step, restored


def spread(geometry: ConvGeometry, W: Array, gy: Array, gx: Array) -> None:
    """Write into gx (n, C, H, W) what each output gives back to the inputs that it saw."""
    W = _grouped(geometry, W).transpose(3, 0, 4, 2, 1)  # -> (K, G, L, C/G, O/G)
    (n, _, *out), (K, G, L, C, O) = gy.shape, W.shape  # noqa: E741
    # Short rows, added again and again, take longer than laying samples side by side does.
    p = divisor(n, TOGETHER) if K * L > 1 and out[1] < SHORT else 1
    m = n // p
    errors, inputs = side_by_side(gy, p).reshape(m, G, O, -1), np.zeros((m, G, C, *geometry.size, p), gx.dtype)
    products = empty((m, G, L * C, errors.shape[-1]), gx.dtype)
    for i, w in enumerate(W):
        np.matmul(w.reshape(G, L * C, O), errors, out=products)
        shares = products.reshape(m, G, L, C, *out, p)
        for j in range(L):
            offsets = (k * d - b for k, d, b in zip((i, j), geometry.dilation, geometry.padding, strict=True))
            (h, to_h), (v, to_v) = map(overlap, out, geometry.size, geometry.stride, offsets)
            inputs[..., to_h, to_v, :] += shares[:, :, j, :, h, v]
    gx.reshape(m, p, G * C, -1)[...] = inputs.reshape(m, G * C, -1, p).transpose(0, 3, 1, 2)


def correlate(W: Array, seen: Array, y: Array) -> None:
    """Write the sum of W (T, G, M, N) times the matrices that were `seen` (m, T, G, N, H W p) into y (n, G M, H, W)."""
    (T, G, M, _), (m, *_, width) = W.shape, seen.shape
    p = len(y) // m
    total = y.reshape(m, G, M, width) if p == 1 else empty((m, G, M, width), y.dtype)
    # One product after the other would see all samples T times, and ask for the interpreter as often.
    products = empty((m, T, G, M, width), y.dtype) if T > 1 else total[:, None]
    np.matmul(W, seen, out=products)
    if T > 1:
        np.add.reduce(products, axis=1, out=total)
    if p > 1:  # (m, G, M, H W p) -> (m, p, G M, H W)
        y.reshape(m, p, G * M, -1)[...] = total.reshape(m, G * M, -1, p).transpose(0, 3, 1, 2)


def products_with(seen: Array, gy: Array) -> Array:
    """Return the sum of what was `seen` (m, T, G, N, H W p) times errors gy (n, G M, H, W), (T, G, N, M)."""
    m, T, G, N, width = seen.shape
    errors = side_by_side(gy, len(gy) // m).reshape(m, 1, G, -1, width).swapaxes(-1, -2)  # -> (m, 1, G, H W p, M)
    products = np.matmul(seen, errors, out=empty((m, T, G, N, errors.shape[-1]), gy.dtype))
    return products.sum(axis=0) if m > 1 else products[0]


def channel_sums(gy: Array) -> Array:
    """Return the sums of gy (n, C, H, W) over samples and places, (C,); BLAS adds faster than `sum`."""
    rows = gy.reshape(-1, math.prod(gy.shape[2:]))  # (n, C, H, W) -> (n C, H W)
    return (rows @ np.ones(rows.shape[1], gy.dtype)).reshape(len(gy), -1).sum(axis=0)


def _grouped(geometry: ConvGeometry, W: Array) -> Array:
    return W.reshape(geometry.groups, -1, *W.shape[1:])  # (O, C/G, K, L) -> (G, O/G, C/G, K, L)


def _slices(geometry: ConvGeometry, n: int) -> list[slice]:
    """Return the samples to work on at a time."""
    places = math.prod(geometry.out)
    size = max(geometry.channels * math.prod(geometry.size), geometry.filters * places)
    return slices(n, size, max(AT_A_TIME, size * together(TOGETHER, geometry.filters, places)))
