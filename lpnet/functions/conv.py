"""Convolution over one and two axes, and its mirror. The arithmetic is in kernels/, said plainly in kernels/twin.py."""

from __future__ import annotations

from typing import Any, Literal

from ..backend import Array, get_array_module
from ..kernels import kernel
from ..kernels.geometry import ConvGeometry
from ..tensor import Tensor
from ..validate import Pair, choice, integer, pair
from ._batch import of_batches
from ._product import Product

Padding = Pair | Literal["same", "valid"]


class Conv2d(Product):
    # y[n, o] = sum over c, i, j of W[o, c, i, j] * x[n, c, window place (i, j)] + b[o]
    name = "conv2d"

    def __init__(self, stride: Pair, padding: Any, dilation: Pair, groups: int) -> None:
        self.same = isinstance(padding, str) and choice(self.name, "padding", padding, ("same", "valid")) == "same"
        self.options = _options(self.name, stride, 0 if isinstance(padding, str) else padding, dilation, groups)
        if self.same and self.options["stride"] != (1, 1):
            raise ValueError(f'{self.name}: padding="same" needs a stride of 1, got {stride}')

    def forward(self, x: Array, W: Array, *b: Array) -> Array:
        channels, filters = _check(self.name, x, W, self.options["groups"], 0, *b)
        self.size = x.shape[2:]
        x = self._padded(x, W.shape[2:])
        self.geometry = ConvGeometry(x.shape[2:], W.shape[2:], channels=channels, filters=filters, **self.options)
        self.geometry.check(self.name)
        made = self.operand("x", x, 1, self.geometry.groups), self.operand("W", W, 1)
        self.x, self.W = self.kept(x, W, made)
        return self.conv2d(self.geometry, *made, *b)

    def _padded(self, x: Array, window: tuple[int, int]) -> Array:
        """Find the padding that is the same; return x, with the odd zeros, which it has behind it."""
        if not self.same:
            return x
        zeros = [d * (k - 1) for d, k in zip(self.options["dilation"], window, strict=True)]
        self.options["padding"] = tuple(n // 2 for n in zeros)
        return get_array_module(x).pad(x, [(0, 0), (0, 0), *((0, n % 2) for n in zeros)]) if any(zeros) else x

    def backward(self, gy: Array) -> tuple[Array | None, ...]:
        needs_x, needs_W, *needs_b = self.needs
        if self.precision.products is not None:
            gx = self._gradient_of_x(gy) if needs_x else None
            rest = [self._gradient_of_W(gy) if needs_W else None, gy.sum(axis=(0, 2, 3)) if any(needs_b) else None]
        else:
            x, W = self.x if needs_W else None, self.W if needs_x else None
            gx, *rest = kernel("conv2d_backward", get_array_module(gy))(self.geometry, gy, x, W, any(needs_b))
        if gx is not None and self.size != self.geometry.size:
            gx = gx[..., : self.size[0], : self.size[1]]
        return (gx, *rest)[: len(self.needs)]

    def _gradient_of_x(self, gy: Array) -> Array:
        groups = self.geometry.groups
        errors, W = self.operand("gy_input", gy, 1, groups), self.operand("W_input", self.W, 0, groups)
        return self.back("x", self.conv2d_input(self.geometry, errors, W), 1, groups)

    def _gradient_of_W(self, gy: Array) -> Array:
        errors, x = self.operand("gy_weight", gy, 0), self.operand("x_weight", self.x, 0)
        return self.back("W", self.conv2d_weight(self.geometry, errors, x), 1)


def conv2d(
    x: Any, W: Any, b: Any = None, stride: Pair = 1, padding: Padding = 0, dilation: Pair = 1, groups: int = 1
) -> Tensor:
    """Return the cross-correlation of x (N, C, H, W) with W (O, C/groups, K, K), plus b (O,): (N, O, H', W').

    stride, padding (of zeros) and dilation are in elements, one number or (vertical, horizontal). padding="same" gives
    images of x's size, the odd zero behind it, at a stride of 1; "valid" is 0. x may be one sample, (C, H, W). Raises
    ValueError for shapes that do not fit.
    """
    f = of_batches(Conv2d(stride, padding, dilation, groups), x, 4)
    return f(x, W) if b is None else f(x, W, b)


class Conv1d(Conv2d):
    # y is what conv2d makes of images of one row
    name = "conv1d"

    def __init__(self, stride: int, padding: int | str, dilation: int, groups: int) -> None:
        stride, padding, dilation = (_only(a) for a in (stride, padding, dilation))
        super().__init__((1, stride), padding if isinstance(padding, str) else (0, padding), (1, dilation), groups)

    def forward(self, x: Array, W: Array, *b: Array) -> Array:
        if x.ndim != 3 or W.ndim != 3:
            shapes = f"{x.shape}, {W.shape}"
            raise ValueError(f"conv1d: expected input (N, C, L) or (C, L) and weight (O, C, K), got {shapes}")
        return super().forward(x[:, :, None], W[:, :, None], *b)[:, :, 0]  # (N, C, L) -> (N, C, 1, L) -> (N, O, L')

    def backward(self, gy: Array) -> tuple[Array | None, ...]:
        gx, gW, *gb = (*super().backward(gy[:, :, None]), None)[:3]
        rows = tuple(None if g is None else g[:, :, 0] for g in (gx, gW))
        return (*rows, *gb)[: len(self.needs)]


def _only(value: Any) -> Any:
    return value[0] if isinstance(value, tuple | list) and len(value) == 1 else value  # PyTorch takes (3,) for 3


def conv1d(
    x: Any,
    W: Any,
    b: Any = None,
    stride: int = 1,
    padding: int | Literal["same", "valid"] = 0,
    dilation: int = 1,
    groups: int = 1,
) -> Tensor:
    """Return the cross-correlation of x (N, C, L) or (C, L) with W (O, C/groups, K), plus b (O,): (N, O, L').

    The rest is as for `conv2d`, one number each.
    """
    f = of_batches(Conv1d(stride, padding, dilation, groups), x, 3)
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
        made = self.operand("x", x, 1, self.geometry.groups), self.operand("W", W, 0, self.geometry.groups)
        self.x, self.W = self.kept(x, W, made)
        y = self.conv2d_input(self.geometry, *made)
        return y + b[0][:, None, None] if b else y

    def backward(self, gy: Array) -> tuple[Array | None, ...]:
        gx = self._gradient_of_x(gy) if self.needs[0] else None
        gW = self._gradient_of_W(gy) if self.needs[1] else None
        return (gx, gW, gy.sum(axis=(0, 2, 3)))[: len(self.needs)]

    def _gradient_of_x(self, gy: Array) -> Array:
        errors, W = self.operand("gy_input", gy, 1, self.geometry.groups), self.operand("W_input", self.W, 1)
        return self.back("x", self.conv2d(self.geometry, errors, W), 1, self.geometry.groups)

    def _gradient_of_W(self, gy: Array) -> Array:
        errors, x = self.operand("gy_weight", gy, 0), self.operand("x_weight", self.x, 0)
        return self.back("W", self.conv2d_weight(self.geometry, x, errors), 0, self.geometry.groups)


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

    x may be one sample, (C, H, W). H' = (H - 1) stride - 2 padding + dilation (K - 1) + 1 + output_padding, which must
    be less than the stride. All are in elements, one number or (vertical, horizontal), in PyTorch's order. Raises
    ValueError for shapes that do not fit.
    Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", section 4.
    """
    f = of_batches(ConvTranspose2d(stride, padding, output_padding, dilation, groups), x, 4)
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
        wanted = f"input (N, C, H, W) or (C, H, W) and weight {('(O, C, K, K)', '(C, O, K, K)')[out]}"
        raise ValueError(f"{name}: expected {wanted}, got {x.shape}, {W.shape}")
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
