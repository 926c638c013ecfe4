"""Normalizing layers."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import functions as F
from .. import replay
from ..distributed.shards import leads
from ..functions.norm import BatchNorm
from ..tensor import Parameter, Tensor
from ..validate import flag, integer, number
from . import init
from .module import Buffer, Module


def _affine(channels: int, affine: bool) -> tuple[Parameter | None, Parameter | None]:
    return (init.ones(channels), init.zeros(channels)) if affine else (None, None)


class _BatchNorm(Module):
    ndims: tuple[int, ...] = ()

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ) -> None:
        owner = type(self).__name__
        self.num_features, self.eps = integer(owner, "num_features", num_features, 1), number(owner, "eps", eps)
        self.momentum = None if momentum is None else number(owner, "momentum", momentum, 0, 1)
        self.affine = flag(owner, "affine", affine)
        self.track_running_stats = flag(owner, "track_running_stats", track_running_stats)
        self.weight, self.bias = _affine(self.num_features, self.affine)
        if not self.track_running_stats:
            return
        self.running_mean = Buffer(np.zeros(self.num_features, np.float32))
        self.running_var = Buffer(np.ones(self.num_features, np.float32))
        if momentum is None:
            self.num_batches_tracked = Buffer(np.float32(0))

    def forward(self, x: Any) -> Tensor:
        """Return x normalized by the batch's statistics in training, by the running ones, if any, in evaluation."""
        if len(x.shape) not in self.ndims:
            axes = " or ".join(map(str, self.ndims))
            raise ValueError(f"{type(self).__name__}: expected an input of {axes} axes, got shape {x.shape}")
        if not self.training and self.track_running_stats:
            return F.batch_norm(x, self.weight, self.bias, self.running_mean.data, self.running_var.data, self.eps)
        norm = BatchNorm(self.eps)
        y = norm.affine(x, self.weight, self.bias)
        if self.track_running_stats and leads():
            replay.once(lambda: self.update_running_stats(*norm.batch))
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
        """Return the number of channels, and what it does without."""
        without = [name for name in ("affine", "track_running_stats") if not getattr(self, name)]
        return ", ".join([str(self.num_features), *(f"{name}=False" for name in without)])


class BatchNorm1d(_BatchNorm):
    """Batch normalization of x (N, C) or (N, C, L); parameters and buffers as for BatchNorm2d."""

    ndims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalization of x (N, C, H, W); parameters weight, bias (C,), buffers running_mean, running_var (C,).

    Without `affine` there are no parameters; without `track_running_stats` the batch's statistics normalize in
    evaluation too; momentum=None makes the running ones means over all batches.
    """

    ndims = (4,)


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


class GroupNorm(Module):
    """Normalization of each sample of x (N, C, ...) over each of `num_groups` groups of its channels."""

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        self.num_groups = integer("GroupNorm", "num_groups", num_groups, 1)
        self.num_channels = integer("GroupNorm", "num_channels", num_channels, 1)
        if self.num_channels % self.num_groups:
            raise ValueError(f"GroupNorm: num_groups={num_groups} must divide {num_channels} channels")
        self.eps = number("GroupNorm", "eps", eps)
        self.weight, self.bias = _affine(self.num_channels, flag("GroupNorm", "affine", affine))

    def forward(self, x: Any) -> Tensor:
        """Return x normalized."""
        if x.shape[1:2] != (self.num_channels,):
            raise ValueError(f"GroupNorm: expected an input of {self.num_channels} channels, got shape {x.shape}")
        return F.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        """Return groups and channels."""
        return f"{self.num_groups}, {self.num_channels}" + ("" if self.weight is not None else ", affine=False")
