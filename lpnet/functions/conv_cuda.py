"""Convolution on the GPU: the windows are copied into the columns of a matrix, and one product has all samples."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import carry_digits, get_array_module, launch, slices
from ..kernels.tensorcores import product

Array = Any  # cupy.ndarray
FILE = "windows.cu"
AT_A_TIME = 1 << 28  # numbers in the matrix of windows: 1 GiB


def forward(conv: Any, x: Array, W: Array, *b: Array) -> Array:
    """Return y (N, O, H', W') of a `Conv2d` function whose shapes have been checked."""
    xp, G = get_array_module(x), conv.groups
    y = xp.empty((len(x), len(W), *conv.out), dtype=xp.result_type(x, W))
    for samples in _slices(conv):
        columns = _columns(conv, x[samples])
        # (G, O/G, C/G K L) times (G, C/G K L, n P) -> (O, n, P) -> (n, O, P)
        products = _product(W.reshape(G, len(W) // G, -1), columns)
        products = products.reshape(len(W), -1, math.prod(conv.out)).transpose(1, 0, 2)
        part = y[samples].reshape(products.shape)
        part[...] = products + b[0][:, None] if b else products
    return y


def backward(conv: Any, gy: Array) -> tuple[Array | None, ...]:
    """Return the gradients of x, W and b, as far as they are needed, given that of y."""
    (x, W), xp, G = (conv.x, conv.W), get_array_module(gy), conv.groups
    weights = W.reshape(G, len(W) // G, -1)
    gx = xp.empty(x.shape, x.dtype) if conv.needs[0] else None
    gW = None
    for samples in _slices(conv):
        # (n, O, P) -> (O, n, P) -> (G, O/G, n P)
        turned = gy[samples].reshape(-1, len(W), math.prod(conv.out)).transpose(1, 0, 2)
        errors = xp.ascontiguousarray(turned).reshape(G, len(W) // G, -1)
        carry_digits(errors, gy)
        if conv.needs[1]:
            part = _product(errors, _columns(conv, x[samples]).swapaxes(1, 2))
            gW = part if gW is None else gW + part
        if gx is not None:
            shares = _product(weights.swapaxes(1, 2), errors)  # (G, C/G K L, n P)
            _back(conv, shares, gx[samples])
    gb = gy.sum(axis=(0, 2, 3)) if len(conv.needs) == 3 else None
    return (gx, None if gW is None else gW.reshape(W.shape), gb)[: len(conv.needs)]


def _product(a: Array, b: Array) -> Array:
    """Return the products of the groups' matrices; one group needs no stack."""
    return product(a[0], b[0])[None] if len(a) == 1 else product(a, b)


def _columns(conv: Any, x: Array) -> Array:
    """Return what the outputs of samples x see: (G, C/G K L, n P)."""
    xp, (K, L) = get_array_module(x), conv.W.shape[2:]
    x = xp.ascontiguousarray(x)
    n = len(x) * math.prod(conv.out)
    y = xp.empty((conv.groups, x.shape[1] // conv.groups * K * L, n), x.dtype)
    launch(FILE, "windows", n, x.dtype, x, y, *_geometry(conv, len(x)), rows=x.shape[1] * K * L)
    carry_digits(y, x)
    return y


def _back(conv: Any, shares: Array, gx: Array) -> None:
    """Write into gx (n, C, H, W) what each input gets of the gradients of the windows, shaped as `_columns`."""
    n = len(gx) * math.prod(gx.shape[2:])
    launch(FILE, "windows_back", n, gx.dtype, shares, gx, *_geometry(conv, len(gx)), rows=gx.shape[1])


def _geometry(conv: Any, n: int) -> list[np.int32]:
    """Return the numbers that the kernels take of n samples."""
    (_, C, *size), window = conv.x.shape, conv.W.shape[2:]
    return [np.int32(v) for v in (C, n, *size, *conv.out, *window, *conv.stride, *conv.padding, *conv.dilation)]


def _slices(conv: Any) -> list[slice]:
    return slices(len(conv.x), conv.x.shape[1] * math.prod(conv.W.shape[2:]) * math.prod(conv.out), AT_A_TIME)
