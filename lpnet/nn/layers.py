"""The layers, with PyTorch's layouts and parameter names so that weights can be exchanged."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .. import functions as F
from ..distributed.shards import leads
from ..functions.norm import BatchNorm
from ..tensor import Tensor
from ..validate import Pair, choice, integer, number, pair
from . import init
from .module import Buffer, Module


class Sequential(Module):
    """Modules run one after another; their names are "0", "1", ..."""

    def __init__(self, *layers: Module) -> None:
        for i, layer in enumerate(layers):
            if not isinstance(layer, Module):
                raise TypeError(f"Sequential: item {i} must be a Module, got {layer!r}")
            setattr(self, str(i), layer)

    def __iter__(self) -> Iterator[Module]:
        return (layer for _, layer in self._members() if isinstance(layer, Module))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, i: int) -> Module:
        return list(self)[i]

    def forward(self, x: Any) -> Tensor:
        """Return the last layer's output."""
        for layer in self:
            x = layer(x)
        return x


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


class Conv2d(Module):
    """Cross-correlation of x (N, C, H, W); weight (out, C/groups, K, K), bias (out,)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Pair,
        stride: Pair = 1,
        padding: Pair = 0,
        dilation: Pair = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        in_channels = integer("Conv2d", "in_channels", in_channels, 1)
        out_channels = integer("Conv2d", "out_channels", out_channels, 1)
        groups = integer("Conv2d", "groups", groups, 1)
        if in_channels % groups or out_channels % groups:
            raise ValueError(f"Conv2d: groups={groups} must divide {in_channels} and {out_channels} channels")
        self.geometry = (
            pair("Conv2d", "stride", stride),
            pair("Conv2d", "padding", padding, 0),
            pair("Conv2d", "dilation", dilation),
            groups,
        )
        shape = (out_channels, in_channels // groups, *pair("Conv2d", "kernel_size", kernel_size))
        bound = 1 / math.sqrt(math.prod(shape[1:]))
        self.weight = init.uniform(shape, bound)
        self.bias = init.uniform((out_channels,), bound) if bias else None

    def forward(self, x: Any) -> Tensor:
        """Return (N, out, H', W')."""
        return F.conv2d(x, self.weight, self.bias, *self.geometry)

    def extra_repr(self) -> str:
        """Return channels, window and geometry."""
        (o, c, *kernel), (stride, padding, dilation, groups) = self.weight.shape, self.geometry
        rest = f"{dilation=}, {groups=}, bias={self.bias is not None}"
        return f"{c * groups}, {o}, kernel_size={tuple(kernel)}, {stride=}, {padding=}, {rest}"


class _BatchNorm(Module):
    ndim = 0

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        owner = type(self).__name__
        num_features, self.eps = integer(owner, "num_features", num_features, 1), number(owner, "eps", eps)
        self.momentum = None if momentum is None else number(owner, "momentum", momentum, 0, 1)
        self.weight, self.bias = init.ones(num_features), init.zeros(num_features)
        self.running_mean = Buffer(np.zeros(num_features, np.float32))
        self.running_var = Buffer(np.ones(num_features, np.float32))
        if momentum is None:
            self.num_batches_tracked = Buffer(np.float32(0))

    def forward(self, x: Any) -> Tensor:
        """Return x normalized by the batch's statistics in training, by the running ones in evaluation."""
        if len(x.shape) != self.ndim:
            raise ValueError(f"{type(self).__name__}: expected an input of {self.ndim} axes, got shape {x.shape}")
        if not self.training:
            return F.batch_norm(x, self.weight, self.bias, self.running_mean.data, self.running_var.data, self.eps)
        norm = BatchNorm(self.eps)
        y = norm(x, self.weight, self.bias)
        if leads():
            self.update_running_stats(*norm.batch)
        return y

    def update_running_stats(self, mean: Any, var: Any, count: int) -> None:
        """Move the running statistics towards those of a batch of `count` values a channel.

        Without a momentum they are the mean over all batches.
        """
        momentum = self.momentum
        if momentum is None:
            self.num_batches_tracked.data = self.num_batches_tracked.data + 1
            momentum = (1 / self.num_batches_tracked.data).astype(mean.dtype)
        unbiased = var * (count / (count - 1))
        for running, new in ((self.running_mean, mean), (self.running_var, unbiased)):
            running.data = running.data + momentum * (new - running.data)

    def extra_repr(self) -> str:
        """Return the number of channels."""
        return str(self.weight.size)


class BatchNorm1d(_BatchNorm):
    """Batch normalization of x (N, C); parameters weight, bias (C,), buffers running_mean, running_var (C,)."""

    ndim = 2


class BatchNorm2d(_BatchNorm):
    """Batch normalization of x (N, C, H, W); parameters weight, bias (C,), buffers running_mean, running_var (C,)."""

    ndim = 4


class LayerNorm(Module):
    """Normalization of each sample over its last axes, of shape `normalized_shape`, that of weight and bias too."""

    def __init__(self, normalized_shape: int | tuple[int, ...], eps: float = 1e-5) -> None:
        sizes = normalized_shape if isinstance(normalized_shape, tuple | list) else (normalized_shape,)
        shape = tuple(integer("LayerNorm", "normalized_shape", n, 1) for n in sizes)
        self.eps, self.weight, self.bias = number("LayerNorm", "eps", eps), init.ones(*shape), init.zeros(*shape)

    def forward(self, x: Any) -> Tensor:
        """Return x normalized."""
        return F.layer_norm(x, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return the shape of what is normalized."""
        return str(self.weight.shape)


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


class Activation(Module):
    """An elementwise function without parameters."""

    function: Any = None

    def forward(self, x: Any) -> Tensor:
        """Return the function of every element of x."""
        return type(self).function(x)


class ReLU(Activation):
    """Return max(x, 0)."""

    function = F.relu


class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    function = F.sigmoid


class Tanh(Activation):
    """The hyperbolic tangent."""

    function = F.tanh


class GELU(Activation):
    """The Gaussian error linear unit; approximate="tanh" takes the formula with tanh."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = choice("GELU", "approximate", approximate, ("none", "tanh"))

    def forward(self, x: Any) -> Tensor:
        """Return the function of every element of x."""
        return F.gelu(x, self.approximate)

    def extra_repr(self) -> str:
        """Return the formula."""
        return f"approximate={self.approximate!r}"


class _Pool2d(Module):
    function: Any = None

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0) -> None:
        name = type(self).__name__
        size = pair(name, "kernel_size", kernel_size)
        stride = size if stride is None else pair(name, "stride", stride)
        self.geometry = size, stride, pair(name, "padding", padding, 0)

    def forward(self, x: Any) -> Tensor:
        """Return one value a window of x (N, C, H, W)."""
        return type(self).function(x, *self.geometry)

    def extra_repr(self) -> str:
        """Return window, stride and padding."""
        size, stride, padding = self.geometry
        return f"{size}, {stride=}, {padding=}"


class MaxPool2d(_Pool2d):
    """The largest value of each window; stride None is the window's size."""

    function = F.max_pool2d


class AvgPool2d(_Pool2d):
    """The mean of each window, padding included; stride None is the window's size."""

    function = F.avg_pool2d


class Flatten(Module):
    """(N, ...) -> (N, D)."""

    def forward(self, x: Any) -> Tensor:
        """Return x with all axes but the first joined."""
        return F.reshape(x, (x.shape[0], math.prod(x.shape[1:])))


class CrossEntropyLoss(Module):
    """Mean cross-entropy of logits (N, classes) against integer labels (N,)."""

    def forward(self, logits: Any, labels: Any) -> Tensor:
        """Return the loss, a tensor of no axes."""
        return F.cross_entropy(logits, labels)


class MSELoss(Module):
    """Mean squared difference."""

    def forward(self, x: Any, target: Any) -> Tensor:
        """Return the loss, a tensor of no axes."""
        return F.mse_loss(x, target)
