"""Two-dimensional convolution, and its mirror. The arithmetic is in kernels/; kernels/twin.py says what it does."""

from __future__ import annotations

from typing import Any

from ..backend import Array, get_array_module
from ..kernels import kernel
from ..kernels.geometry import ConvGeometry
from ..tensor import Tensor
from ..validate import Pair, integer, pair
from ._product import Product


class Conv2d(Product):
    # y[n, o] = sum over c, i, j of W[o, c, i, j] * x[n, c, window place (i, j)] + b[o]
    def __init__(self, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> None:
        self.options = _options("conv2d", stride, padding, dilation, groups)

    def forward(self, x: Array, W: Array, *b: Array) -> Array:
        channels, filters = _check("conv2d", x, W, self.options["groups"], 0, *b)
        self.geometry = ConvGeometry(x.shape[2:], W.shape[2:], channels=channels, filters=filters, **self.options)
        self.geometry.check("conv2d")
        self.x, self.W = x, W
        x, W = self.operand("x", x, 1, self.geometry.groups), self.operand("W", W, 1)
        return self.conv2d(self.geometry, x, W, *b)

    def backward(self, gy: Array) -> tuple[Array | None, ...]:
        needs_x, needs_W, *needs_b = self.needs
        if self.precision.products is not None:
            gx = self._gradient_of_x(gy) if needs_x else None
            gW = self._gradient_of_W(gy) if needs_W else None
            return (gx, gW, gy.sum(axis=(0, 2, 3)) if any(needs_b) else None)[: len(self.needs)]
        x, W = self.x if needs_W else None, self.W if needs_x else None
        gradients = kernel("conv2d_backward", get_array_module(gy))(self.geometry, gy, x, W, any(needs_b))
        return gradients[: len(self.needs)]

    def _gradient_of_x(self, gy: Array) -> Array:
        groups = self.geometry.groups
        errors, W = self.operand("gy_input", gy, 1, groups), self.operand("W_input", self.W, 0, groups)
        return self.conv2d_input(self.geometry, errors, W)

    def _gradient_of_W(self, gy: Array) -> Array:
        errors, x = self.operand("gy_weight", gy, 0), self.operand("x_weight", self.x, 0)
        return self.conv2d_weight(self.geometry, errors, x)


def conv2d(
    x: Any, W: Any, b: Any = None, stride: Pair = 1, padding: Pair = 0, dilation: Pair = 1, groups: int = 1
) -> Tensor:
    """Return the cross-correlation of x (N, C, H, W) with W (O, C/groups, K, K), plus b (O,): (N, O, H', W').

    stride, padding (of zeros) and dilation are in elements, one number or (vertical, horizontal). Raises ValueError
    for shapes that do not fit.
    """
    f = Conv2d(stride, padding, dilation, groups)
    return f(x, W) if b is None else f(x, W, b)


class ConvTranspose2d(Product):
    # y is what a conv2d from y's channels to x's gives back for errors x; so gx is conv2d of gy, and in gW they swap
    def __init__(self, stride: Pair, padding: Pair, output_padding: Pair, dilation: Pair, groups: int) -> None:
        self.options = _options("conv_transpose2d", stride, padding, dilation, groups)
        self.extra = pair("conv_transpose2d", "output_padding", output_padding, 0)

    def forward(self, x: Array, W: Array, *b: Array) -> Array:
        filters, channels = _check("conv_transpose2d", x, W, self.options["groups"], 1, *b)
        size = _mirrored(x.shape[2:], W.shape[2:], self.extra, **self.options)
        self.geometry = ConvGeometry(size, W.shape[2:], channels=channels, filters=filters, **self.options)
        self.x, self.W = x, W
        x, W = self.operand("x", x, 1, self.geometry.groups), self.operand("W", W, 0, self.geometry.groups)
        y = self.conv2d_input(self.geometry, x, W)
        return y + b[0][:, None, None] if b else y

    def backward(self, gy: Array) -> tuple[Array | None, ...]:
        gx = self._gradient_of_x(gy) if self.needs[0] else None
        gW = self._gradient_of_W(gy) if self.needs[1] else None
        return (gx, gW, gy.sum(axis=(0, 2, 3)))[: len(self.needs)]

    def _gradient_of_x(self, gy: Array) -> Array:
        errors, W = self.operand("gy_input", gy, 1, self.geometry.groups), self.operand("W_input", self.W, 1)
        return self.conv2d(self.geometry, errors, W)

    def _gradient_of_W(self, gy: Array) -> Array:
        errors, x = self.operand("gy_weight", gy, 0), self.operand("x_weight", self.x, 0)
        return self.conv2d_weight(self.geometry, x, errors)


def conv_transpose2d(
    x: Any,
    W: Any,
    b: Any = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Tensor:
    """Return what `conv2d` gives back for errors x (N, C, H, W) and W (C, O/groups, K, K), plus b (O,): (N, O, H', W').

    H' = (H - 1) stride - 2 padding + dilation (K - 1) + 1 + output_padding, which must be less than the stride. All are
    in elements, one number or (vertical, horizontal), in PyTorch's order. Raises ValueError for shapes that do not fit.
    Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", section 4.
    """
    f = ConvTranspose2d(stride, padding, output_padding, dilation, groups)
    return f(x, W) if b is None else f(x, W, b)


def _options(name: str, stride: Pair, padding: Pair, dilation: Pair, groups: int) -> dict[str, Any]:
    return {
        "stride": pair(name, "stride", stride),
        "dilation": pair(name, "dilation", dilation),
        "padding": pair(name, "padding", padding, 0),
        "groups": integer(name, "groups", groups, 1),
    }


def _check(name: str, x: Array, W: Array, groups: int, out: int, *b: Array) -> tuple[int, int]:
    """Return the numbers of channels of x and of the result, for which is the weight's axis `out`.

    Raises ValueError if the shapes do not fit.
    """
    if x.ndim != 4 or W.ndim != 4:
        weight = ("(O, C, K, K)", "(C, O, K, K)")[out]
        raise ValueError(f"{name}: expected input (N, C, H, W) and weight {weight}, got {x.shape}, {W.shape}")
    if x.shape[1] % groups or len(W) % groups:
        raise ValueError(f"{name}: groups={groups} must divide {x.shape[1]} channels into {W.shape[out]}")
    channels = len(W), W.shape[1] * groups
    if x.shape[1] != channels[1 - out]:
        raise ValueError(f"{name}: input has {x.shape[1]} channels, the weight expects {channels[1 - out]}")
    if b and b[0].shape != (channels[out],):
        raise ValueError(f"{name}: bias of shape {b[0].shape} does not fit a weight of shape {W.shape}")
    return channels[1 - out], channels[out]


def _mirrored(
    out: tuple[int, int],
    window: tuple[int, int],
    extra: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> tuple[int, int]:
    """Return the size of the images of which a convolution makes images of size `out`; raises ValueError if none is."""
    if any(e >= s for e, s in zip(extra, stride, strict=True)):
        raise ValueError(f"conv_transpose2d: output_padding {extra} must be less than the stride {stride}")
    fields = zip(out, window, extra, stride, padding, dilation, strict=True)
    size = tuple((n - 1) * s - 2 * p + d * (k - 1) + 1 + e for n, k, e, s, p, d in fields)
    if min(size) < 1:
        raise ValueError(f"conv_transpose2d: a padding of {padding} leaves nothing of an input of {out}")
    return size
