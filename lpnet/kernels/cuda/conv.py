"""Convolution on the GPU: the windows are copied into the columns of a matrix, and one product has all samples."""

from __future__ import annotations

import math

from ...backend import Array, get_array_module, slices
from ..geometry import ConvGeometry
from .digits import carry_digits
from .launch import launch
from .tensorcores import matmul

FILE = "windows.cu"
AT_A_TIME = 1 << 28  # numbers in the matrix of windows: 1 GiB


def conv2d(geometry: ConvGeometry, x: Array, W: Array, b: Array | None = None) -> Array:
    """Return the cross-correlation of x (N, C, H, W) with W (O, C/G, K, L), plus b (O,): (N, O, H', W')."""
    xp, (G, O) = get_array_module(x), (geometry.groups, geometry.filters)  # noqa: E741
    y = xp.empty((len(x), O, *geometry.out), dtype=xp.result_type(x, W))
    for samples in _slices(geometry, len(x)):
        # (G, O/G, C/G K L) times (G, C/G K L, n P) -> (O, n, P) -> (n, O, P)
        products = _product(W.reshape(G, O // G, -1), _columns(geometry, x[samples]))
        products = products.reshape(O, -1, math.prod(geometry.out)).transpose(1, 0, 2)
        part = y[samples].reshape(products.shape)
        part[...] = products if b is None else products + b[:, None]
    return y


def conv2d_backward(
    geometry: ConvGeometry, gy: Array, x: Array | None = None, W: Array | None = None, bias: bool = False
) -> tuple[Array | None, Array | None, Array | None]:
    """Return the gradients of x, which takes W, of W, which takes x, and of b if `bias`, given that of y."""
    xp, (G, O) = get_array_module(gy), (geometry.groups, geometry.filters)  # noqa: E741
    gx: Array = None if W is None else xp.empty((len(gy), geometry.channels, *geometry.size), xp.result_type(gy, W))
    gW: Array = None if x is None or len(gy) else xp.zeros(geometry.weight_shape, gy.dtype)
    for samples in _slices(geometry, len(gy)):
        # (n, O, P) -> (O, n, P) -> (G, O/G, n P)
        turned = gy[samples].reshape(-1, O, math.prod(geometry.out)).transpose(1, 0, 2)
        errors = xp.ascontiguousarray(turned).reshape(G, O // G, -1)
        carry_digits(errors, gy)
        if x is not None:
            part = _product(errors, _columns(geometry, x[samples]).swapaxes(1, 2))
            gW = part if gW is None else gW + part
        if W is not None:
            shares = _product(W.reshape(G, O // G, -1).swapaxes(1, 2), errors)  # (G, C/G K L, n P)
            _back(geometry, shares, gx[samples])
    return gx, None if x is None else gW.reshape(geometry.weight_shape), gy.sum(axis=(0, 2, 3)) if bias else None


def _product(a: Array, b: Array) -> Array:
    """Return the products of the groups' matrices; one group needs no stack."""
    return matmul(a[0], b[0])[None] if len(a) == 1 else matmul(a, b)


def _columns(geometry: ConvGeometry, x: Array) -> Array:
    """Return what the outputs of samples x see: (G, C/G K L, n P)."""
    xp, G, columns = get_array_module(x), geometry.groups, len(x) * math.prod(geometry.out)
    x, rows = xp.ascontiguousarray(x), geometry.channels * math.prod(geometry.window)
    y = xp.empty((G, rows // G, columns), x.dtype)
    launch(FILE, "windows", (columns, geometry.channels), x.dtype, x=x, y=y, **_numbers(geometry, len(x)))
    carry_digits(y, x)
    return y


def _back(geometry: ConvGeometry, shares: Array, gx: Array) -> None:
    """Write into gx (n, C, H, W) what each input gets of the gradients of the windows, shaped as `_columns`."""
    n = len(gx) * math.prod(geometry.size)
    launch(FILE, "windows_back", (n, geometry.channels), gx.dtype, gy=shares, gx=gx, **_numbers(geometry, len(gx)))


def _numbers(geometry: ConvGeometry, n: int) -> dict[str, int]:
    """Return what the kernels take of the geometry of n samples."""
    names = ("size", "out", "window", "stride", "padding", "dilation")
    pairs = {f"{name}_{side}": v for name in names for side, v in zip("yx", getattr(geometry, name), strict=True)}
    return {"channels": geometry.channels, "samples": n, **pairs}


def _slices(geometry: ConvGeometry, n: int) -> list[slice]:
    size = geometry.channels * math.prod(geometry.window) * math.prod(geometry.out)
    return slices(n, size, AT_A_TIME)
