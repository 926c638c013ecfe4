"""Losses. They do not round: the network's last error is exact (Algorithm 2 of the SWALP paper)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import Array, get_array_module, to_device_of
from ..tensor import Function, Tensor
from .activation import log_softmax_array


class CrossEntropy(Function):
    # y = mean over samples of -log softmax(x)[label],  gx = (softmax(x) - onehot) / N
    rounds = False

    def __init__(self, labels: Array) -> None:
        self.labels = labels

    def forward(self, x: Array) -> Array:
        _check_labels(x, self.labels)
        xp, k = get_array_module(x), x.shape[1]
        self.labels = to_device_of(self.labels, x)
        self.logp = log_softmax_array(x, 1)
        if xp is np:
            return -np.take_along_axis(self.logp, self.labels[:, None], axis=1).mean()
        right = ((self.labels >= 0) & (self.labels < k))[:, None]  # the check above would have waited for the GPU
        chosen = xp.take_along_axis(self.logp, xp.where(right, self.labels[:, None], 0), axis=1)
        return -xp.where(right, chosen, math.nan).mean()

    def backward(self, gy: Array) -> Array:
        xp, (n, k) = get_array_module(gy), self.logp.shape
        onehot = self.labels[:, None] == xp.arange(k)  # (N, 1) == (K,) -> (N, K)
        return (xp.exp(self.logp) - onehot) * (gy / n)


def _check_labels(x: Array, labels: Array) -> None:
    if x.ndim != 2:
        raise ValueError(f"cross_entropy: expected logits (N, classes), got shape {x.shape}")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"cross_entropy: labels must be integers, got dtype {labels.dtype}")
    if labels.shape != x.shape[:1]:
        raise ValueError(f"cross_entropy: labels of shape {labels.shape} do not fit logits of shape {x.shape}")
    if len(labels) == 0:
        raise ValueError("cross_entropy: the batch is empty")
    if isinstance(labels, np.ndarray) and not 0 <= labels.min() <= labels.max() < x.shape[1]:
        raise ValueError(f"cross_entropy: labels must be in 0..{x.shape[1] - 1}, "
                         f"got {labels.min()}..{labels.max()}")  # fmt: skip


def cross_entropy(logits: Any, labels: Any) -> Tensor:
    """Return the mean cross-entropy, in nats, of logits (N, classes) against integer labels (N,).

    Labels may be on the CPU where the logits are on the GPU. Raises TypeError for labels that are not integers,
    ValueError for labels out of range or shapes that do not fit; labels on the GPU are not waited for, and one out of
    range makes the loss NaN.
    """
    return CrossEntropy(labels if hasattr(labels, "dtype") else np.asarray(labels))(logits)


class MSELoss(Function):
    # y = mean (x - t)^2,  gx = 2 (x - t) / n
    rounds = False

    def forward(self, x: Array, t: Array) -> Array:
        if x.shape != t.shape:
            raise ValueError(f"mse_loss: prediction {x.shape} and target {t.shape} must have one shape")
        if not x.size:
            raise ValueError("mse_loss: the batch is empty")
        self.difference = x - t
        return (self.difference**2).mean()

    def backward(self, gy: Array) -> tuple[Array, Array]:
        gx = self.difference * (gy * 2 / self.difference.size)
        return gx, -gx


def mse_loss(x: Any, target: Any) -> Tensor:
    """Return the mean squared difference of two tensors of one shape; raises ValueError for two or empty ones."""
    return MSELoss()(x, target)
