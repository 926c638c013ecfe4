"""Layers with weights, dropout and Flatten, with PyTorch's layouts and parameter names: weights can be exchanged."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import functions as F
from ..functions.conv import Padding
from ..tensor import Tensor
from ..validate import Pair, choice, integer, number, pair
from . import init
from .module import Module


class Linear(Module):
    """Return y = x W^T + b for x (N, in); weight (out, in), bias (out,)."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        in_features = integer("Linear", "in_features", in_features, 1)
        out_features = integer("Linear", "out_features", out_features, 1)
        bound = 1 / math.sqrt(in_features)
        self.weight = init.uniform((out_features, in_features), bound)
        self.bias = init.uniform((out_features,), bound) if bias else None

    def forward(self, x: Any) -> Tensor:
        """Return (N, out)."""
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return in, out and whether there is a bias."""
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}, bias={self.bias is not None}"


class Convolution(Module):
    """What layers that convolve have in common: channels, a window, where it goes; a subclass says how many axes."""

    axes = 2
    mirrored = False  # the weight's first axis is that of the inputs

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Padding = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        name = type(self).__name__
        c, o = integer(name, "in_channels", in_channels, 1), integer(name, "out_channels", out_channels, 1)
        groups = integer(name, "groups", groups, 1)
        if c % groups or o % groups:
            raise ValueError(f"{name}: groups={groups} must divide {c} and {o} channels")
        self.geometry: tuple[Any, ...] = (
            self._sizes("stride", stride),
            self._padding(padding),
            self._sizes("dilation", dilation),
            groups,
        )
        first = (c, o // groups) if self.mirrored else (o, c // groups)
        shape = (*first, *np.atleast_1d(self._sizes("kernel_size", kernel_size)).tolist())
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        self.weight = init.uniform(shape, bound)
        self.bias = init.uniform((o,), bound) if bias else None

    def _sizes(self, what: str, value: Any, low: int = 1) -> Any:
        name = type(self).__name__
        return pair(name, what, value, low) if self.axes == 2 else integer(name, what, value, low)

    def _padding(self, padding: Any) -> Any:
        if isinstance(padding, str) and not self.mirrored:
            return choice(type(self).__name__, "padding", padding, ("same", "valid"))
        return self._sizes("padding", padding, 0)

    def extra_repr(self) -> str:
        """Return channels, window and geometry."""
        (first, second, *kernel), (stride, padding, dilation, groups) = self.weight.shape, self.geometry
        c, o = (first, second * groups) if self.mirrored else (second * groups, first)
        rest = f"{dilation=}, {groups=}, bias={self.bias is not None}"
        return f"{c}, {o}, kernel_size={tuple(kernel)}, {stride=}, {padding=}, {rest}"


class Conv2d(Convolution):
    """Cross-correlation of x (N, C, H, W) or (C, H, W); weight (out, C/groups, K, K), bias (out,)."""

    def forward(self, x: Any) -> Tensor:
        """Return (N, out, H', W')."""
        return F.conv2d(x, self.weight, self.bias, *self.geometry)


class Conv1d(Convolution):
    """Cross-correlation of x (N, C, L) or (C, L); weight (out, C/groups, K), bias (out,)."""

    axes = 1

    def forward(self, x: Any) -> Tensor:
        """Return (N, out, L')."""
        return F.conv1d(x, self.weight, self.bias, *self.geometry)


class ConvTranspose2d(Convolution):
    """What a Conv2d gives back for errors x (N, C, H, W) or (C, H, W); weight (C, out/groups, K, K), bias (out,)."""

    mirrored = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        output_padding: Pair = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Pair = 1,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias)
        self.output_padding = pair("ConvTranspose2d", "output_padding", output_padding, 0)

    def forward(self, x: Any) -> Tensor:
        """Return (N, out, H', W')."""
        stride, padding, dilation, groups = self.geometry
        return F.conv_transpose2d(x, self.weight, self.bias, stride, padding, self.output_padding, groups, dilation)


class Embedding(Module):
    """A row of the weight (num_embeddings, embedding_dim) for each integer; that of padding_idx stays as it is, 0."""

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None) -> None:
        rows = integer("Embedding", "num_embeddings", num_embeddings, 1)
        self.weight = init.normal((rows, integer("Embedding", "embedding_dim", embedding_dim, 1)), 1)
        self.padding_idx = padding_idx
        if padding_idx is not None:
            self.padding_idx = integer("Embedding", "padding_idx", padding_idx, -rows, rows - 1)
            self.weight.data[self.padding_idx] = 0

    def forward(self, x: Any) -> Tensor:
        """Return (..., embedding_dim) for integers x (...)."""
        return F.embedding(x, self.weight, self.padding_idx)

    def extra_repr(self) -> str:
        """Return rows and their length."""
        rest = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.weight.shape[0]}, {self.weight.shape[1]}{rest}"


class Dropout(Module):
    """Sets elements to 0 with probability `p` in training and divides the others by 1 - p."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = number("Dropout", "p", p, 0, 1, "[)")

    def forward(self, x: Any) -> Tensor:
        """Return x, with elements dropped in training."""
        return F.dropout(x, self.p) if self.training and self.p else x

    def extra_repr(self) -> str:
        """Return p."""
        return f"p={self.p}"


class Flatten(Module):
    """(N, ...) -> (N, D)."""

    def forward(self, x: Any) -> Tensor:
        """Return x with all axes but the first joined."""
        return F.reshape(x, (x.shape[0], math.prod(x.shape[1:])))
