"""The readable twins of kernels: what convolution and batch normalization compute, as their definitions say it.

Each takes what the kernel of its name takes and returns what it returns; tests/test_twin.py holds them equal. Nobody
calls them: they are slow, and here to be read.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..backend import Array
from .geometry import ConvGeometry


def windows(geometry: ConvGeometry, padded: Array) -> Array:
    """Return a view of x (N, C, H, W) with its border, (N, G, C/G, H', W', K, L): what each output sees."""
    (dh, dw), (sh, sw) = geometry.dilation, geometry.stride
    reach = [d * (k - 1) + 1 for d, k in zip(geometry.dilation, geometry.window, strict=True)]
    groups = padded.reshape(len(padded), geometry.groups, -1, *padded.shape[2:])  # (N, C, ...) -> (N, G, C/G, ...)
    return sliding_window_view(groups, reach, axis=(3, 4), writeable=True)[..., ::sh, ::sw, ::dh, ::dw]


def pad(geometry: ConvGeometry, x: Array) -> Array:
    """Return x (N, C, H, W) with its border of zeros."""
    return np.pad(x, [(0, 0), (0, 0), *((p, p) for p in geometry.padding)])


def conv2d(geometry: ConvGeometry, x: Array, W: Array, b: Array | None = None) -> Array:
    """Return y[n, o, h, w] = sum over c, i, j of W[o, c, i, j] x[n, c, what (h, w) sees at (i, j)] + b[o]."""
    W = W.reshape(geometry.groups, -1, *W.shape[1:])  # (O, C/G, K, L) -> (G, O/G, C/G, K, L)
    y = np.einsum("ngchwij,gocij->ngohw", windows(geometry, pad(geometry, x)), W)
    y = y.reshape(len(x), geometry.filters, *geometry.out)  # (N, G, O/G, H', W') -> (N, O, H', W')
    return y if b is None else y + b[:, None, None]


def conv2d_backward(
    geometry: ConvGeometry, gy: Array, x: Array | None = None, W: Array | None = None, bias: bool = False
) -> tuple[Array | None, Array | None, Array | None]:
    """Return the gradients of x, W and b: each share W x of y gives W gy back to x, and x gy to W."""
    errors = gy.reshape(len(gy), geometry.groups, -1, *geometry.out)  # (N, O, H', W') -> (N, G, O/G, H', W')
    gx = gW = None
    if x is not None:
        gW = np.einsum("ngohw,ngchwij->gocij", errors, windows(geometry, pad(geometry, x)))
        gW = gW.reshape(geometry.weight_shape)  # (G, O/G, C/G, K, L) -> (O, C/G, K, L)
    if W is not None:
        shares = np.einsum("ngohw,gocij->ngchwij", errors, W.reshape(geometry.groups, -1, *W.shape[1:]))
        wide = np.zeros((len(gy), geometry.channels, *geometry.bordered), shares.dtype)
        for i, j in np.ndindex(*geometry.window):  # at one place each window sees another input
            windows(geometry, wide)[..., i, j] += shares[..., i, j]
        gx = wide[geometry.inside]
    return gx, gW, gy.sum(axis=(0, 2, 3)) if bias else None


def moments(x: Array) -> tuple[Array, Array]:
    """Return the mean and variance of each channel of x (N, C, ...), (C,)."""
    over = (0, *range(2, x.ndim))
    return x.mean(axis=over), x.var(axis=over)


def batch_norm(x: Array, mean: Array, var: Array, weight: Array, bias: Array, eps: float) -> tuple[Array, Array]:
    """Return y = weight xhat + bias, where xhat = (x - mean) / sqrt(var + eps), and one over that root."""
    inverse, c = 1 / np.sqrt(var + eps), (-1, *[1] * (x.ndim - 2))  # (C,) -> (C, 1, ...)
    xhat = (x - mean.reshape(c)) * inverse.reshape(c)
    return weight.reshape(c) * xhat + bias.reshape(c), inverse


def batch_norm_backward(
    gy: Array, x: Array, mean: Array, inverse: Array, weight: Array, constant: bool, needs_x: bool
) -> tuple[Array | None, Array, Array]:
    """Return the gradients of x, weight and bias: gx = (g - mean(g) - xhat mean(g xhat)) inverse, g = weight gy."""
    over, c = (0, *range(2, x.ndim)), (-1, *[1] * (x.ndim - 2))
    xhat = (x - mean.reshape(c)) * inverse.reshape(c)
    g = gx = weight.reshape(c) * gy
    if not constant:  # x moves the mean and the variance, too
        gx = g - g.mean(axis=over, keepdims=True) - xhat * (g * xhat).mean(axis=over, keepdims=True)
    return gx * inverse.reshape(c) if needs_x else None, (gy * xhat).sum(axis=over), gy.sum(axis=over)
