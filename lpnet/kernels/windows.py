"""Convolution and its gradients as products of matrices that hold every window: slow, for products of the caller's.

`matmul` multiplies stacks of matrices. Terms come in the order of the weight in memory, zeros of the border included;
those of the weight's gradient in the order of samples and places.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..backend import Array, get_array_module
from .geometry import ConvGeometry

Matmul = Callable[[Array, Array], Array]


def seen(geometry: ConvGeometry, x: Array) -> Array:
    """Return what the outputs see of x (N, C, H, W): (N, G, C/G K L, H' W')."""
    sides = [(0, 0), (0, 0), *((p, p) for p in geometry.padding)]
    padded = get_array_module(x).pad(x, sides)
    return _columns(geometry, [padded[tap] for tap in geometry.taps])


def seen_by(geometry: ConvGeometry, gy: Array) -> Array:
    """Return the errors of the outputs that saw each input, 0 for none: (N, G, O/G K L, H W)."""
    xp, taps = get_array_module(gy), []
    for tap in geometry.taps:
        wide = xp.zeros((len(gy), geometry.filters, *geometry.bordered), gy.dtype)
        wide[tap] = gy
        taps.append(wide[geometry.inside])
    return _columns(geometry, taps)


def _columns(geometry: ConvGeometry, taps: list[Array]) -> Array:
    stacked = get_array_module(taps[0]).stack(taps, axis=2)  # (N, C, K L, ...)
    # (N, C, K L, ...) -> (N, G, C/G K L, places)
    return stacked.reshape(len(stacked), geometry.groups, -1, math.prod(stacked.shape[3:]))


def conv2d(matmul: Matmul, geometry: ConvGeometry, x: Array, W: Array) -> Array:
    """Return the cross-correlation of x (N, C, H, W) with W (O, C/G, K, L): (N, O, H', W')."""
    weights = W.reshape(geometry.groups, geometry.filters // geometry.groups, -1)  # -> (G, O/G, C/G K L)
    y = matmul(weights, seen(geometry, x))
    return y.reshape(len(x), geometry.filters, *geometry.out)  # (N, G, O/G, H' W') -> (N, O, H', W')


def conv2d_input(matmul: Matmul, geometry: ConvGeometry, gy: Array, W: Array) -> Array:
    """Return what errors gy (N, O, H', W') give back to the input: (N, C, H, W)."""
    G, O = geometry.groups, geometry.filters  # noqa: E741
    weights = W.reshape(G, O // G, -1, math.prod(geometry.window)).swapaxes(1, 2)  # -> (G, C/G, O/G, K L)
    gx = matmul(weights.reshape(G, weights.shape[1], -1), seen_by(geometry, gy))
    return gx.reshape(len(gy), geometry.channels, *geometry.size)  # (N, G, C/G, H W) -> (N, C, H, W)


def conv2d_weight(matmul: Matmul, geometry: ConvGeometry, gy: Array, x: Array) -> Array:
    """Return the gradient of the weight, (O, C/G, K, L), for errors gy (N, O, H', W') of inputs x."""
    G, O = geometry.groups, geometry.filters  # noqa: E741
    errors = gy.reshape(len(gy), G, O // G, -1).transpose(1, 2, 0, 3)  # -> (G, O/G, N, P)
    inputs = seen(geometry, x).transpose(1, 0, 3, 2)  # (N, G, C/G K L, P) -> (G, N, P, C/G K L)
    rows = len(gy) * math.prod(geometry.out)
    gW = matmul(errors.reshape(G, O // G, rows), inputs.reshape(G, rows, -1))
    return gW.reshape(geometry.weight_shape)  # (G, O/G, C/G K L) -> (O, C/G, K, L)
