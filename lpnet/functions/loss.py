"""Losses. They do not round: the network's last error is exact (Algorithm 2 of the SWALP paper)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..backend import Array, get_array_module, on_host, to_device_of
from ..tensor import Function, Tensor, as_array
from ..validate import choice, number
from .activation import log_softmax_array

REDUCTIONS = ("mean", "sum", "none")


class CrossEntropy(Function):
    # y_i = -sum over classes of t_ic log softmax(x_i)_c,  gx_i = softmax(x_i) sum t_i - t_i
    rounds = False

    def __init__(
        self, labels: Array, weight: Array | None, ignore_index: int, reduction: str, label_smoothing: float
    ) -> None:
        self.labels, self.weight, self.ignore_index = labels, weight, ignore_index
        self.reduction, self.label_smoothing = reduction, label_smoothing

    def forward(self, x: Array) -> Array:
        self._check(x)
        xp = get_array_module(x)
        self.logp = log_softmax_array(x, 1)
        self.targets, counted = self._targets(x)
        losses = -(self.targets * xp.where(self.targets != 0, self.logp, 0)).sum(axis=1)  # 0 * -inf is no loss
        self.count = 1 if self.reduction != "mean" else losses.size if counted is None else counted
        return (
            losses
            if self.reduction == "none"
            else losses.mean()
            if counted is None and self.reduction == "mean"
            else losses.sum() / self.count
        )

    def _check(self, x: Array) -> None:
        _check_labels(x, self.labels, self.ignore_index)

    def _targets(self, x: Array) -> tuple[Array, Array | None]:
        """Return t, (N, K, ...), and the sum of the labels' weights if it is not how many labels there are."""
        xp, k = get_array_module(x), x.shape[1]
        labels = to_device_of(self.labels, x)[:, None]  # (N, ...) -> (N, 1, ...)
        along = (1, k) + (1,) * (x.ndim - 2)
        onehot = (labels == xp.arange(k).reshape(along)).astype(x.dtype)  # (N, K, ...)
        ignored = labels == self.ignore_index
        t = onehot
        if self.label_smoothing:
            t = (1 - self.label_smoothing) * onehot + self.label_smoothing / k
        weights = xp.ones(along, x.dtype) if self.weight is None else self._weights(x, k).reshape(along)
        t = t if self.weight is None else t * weights
        if not on_host(x):  # the check would have waited
            t = xp.where(((labels < 0) | (labels >= k)) & ~ignored, math.nan, t)
        if self.weight is None and on_host(x) and not ignored.any():
            return t, None
        return xp.where(ignored, 0, t).astype(x.dtype), xp.where(ignored, 0, onehot * weights).sum()

    def _weights(self, x: Array, k: int) -> Array:
        weight = to_device_of(get_array_module(self.weight).asarray(self.weight, dtype=x.dtype), x)
        if weight.shape != (k,):
            raise ValueError(f"cross_entropy: weight has shape {weight.shape}, {k} classes need ({k},)")
        return weight

    def backward(self, gy: Array) -> Array:
        xp = get_array_module(gy)
        gy = gy[:, None] if self.reduction == "none" else gy / self.count
        whole = self.targets.sum(axis=1, keepdims=True)
        return (xp.exp(self.logp) * whole - self.targets) * gy


class OfProbabilities(CrossEntropy):
    # the same of targets t that are given, which get a gradient, too: gt_ic = -log softmax(x_i)_c
    def forward(self, x: Array, t: Array) -> Array:  # type: ignore[override]  # labels are no input
        self.labels = t
        return super().forward(x)

    def _check(self, x: Array) -> None:
        if self.ignore_index != -100:
            raise ValueError("cross_entropy: ignore_index is a label; probabilities have none")
        if not x.size:
            raise ValueError("cross_entropy: the batch is empty")

    def _targets(self, x: Array) -> tuple[Array, None]:
        k = x.shape[1]
        weight = 1 if self.weight is None else self._weights(x, k).reshape((1, k) + (1,) * (x.ndim - 2))
        self.slope = (1 - self.label_smoothing) * weight  # of the targets' own by the given
        return (self.slope * self.labels + self.label_smoothing / k * weight).astype(x.dtype), None

    def backward(self, gy: Array) -> tuple[Array, Array]:
        each = gy[:, None] if self.reduction == "none" else gy / self.count
        return super().backward(gy), -self.slope * self.logp * each


def _check_labels(x: Array, labels: Array, ignore_index: int) -> None:
    if x.ndim < 2:
        raise ValueError(f"cross_entropy: expected logits (N, classes), got shape {x.shape}")
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"cross_entropy: labels must be integers, or probabilities {x.shape} as the logits, "
            f"got {labels.shape} of dtype {labels.dtype}"
        )
    if labels.shape != (x.shape[0], *x.shape[2:]):
        raise ValueError(f"cross_entropy: labels of shape {labels.shape} do not fit logits of shape {x.shape}")
    if labels.size == 0:
        raise ValueError("cross_entropy: the batch is empty")
    if not on_host(labels):
        return
    counted = labels[labels != ignore_index]
    if counted.size and not 0 <= counted.min() <= counted.max() < x.shape[1]:
        raise ValueError(f"cross_entropy: labels must be in 0..{x.shape[1] - 1}, got {counted.min()}..{counted.max()}")


def cross_entropy(
    logits: Any,
    labels: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return the cross-entropy, in nats, of logits (N, classes, ...) against integer labels (N, ...).

    Parameters: weight, one a class, (classes,), by which the mean is weighted; ignore_index, a label that does not
    count; reduction, "mean", "sum" or "none" for one loss a label; label_smoothing, the share of each target that is
    spread evenly over all classes (Szegedy et al., CVPR 2016).

    Labels may be probabilities, (N, classes, ...) as the logits, which get a gradient if they require one. Integers may
    be on the CPU where the logits are on the GPU. Raises TypeError for labels that are neither, ValueError for labels
    out of range or shapes that do not fit; labels on the GPU are not waited for, and one out of range makes the loss
    NaN.
    """
    labels = labels if hasattr(labels, "dtype") else np.asarray(labels)
    smoothing = number("cross_entropy", "label_smoothing", label_smoothing, 0, 1)
    weight = weight.data if isinstance(weight, Tensor) else weight
    weight = np.asarray(weight) if isinstance(weight, list | tuple) else weight
    options = weight, int(ignore_index), choice("cross_entropy", "reduction", reduction, REDUCTIONS), smoothing
    if labels.dtype.kind == "f" and labels.shape == as_array(logits).shape and labels.ndim > 1:
        return OfProbabilities(None, *options)(logits, labels)
    return CrossEntropy(labels, *options)(logits)


class Elementwise(Function):
    """A loss of the difference d = x - t of two tensors of one shape, element by element, then reduced."""

    rounds = False
    name = ""

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = choice(self.name, "reduction", reduction, REDUCTIONS)

    def forward(self, x: Array, t: Array) -> Array:
        if x.shape != t.shape:
            raise ValueError(f"{self.name}: prediction {x.shape} and target {t.shape} must have one shape")
        if not x.size:
            raise ValueError(f"{self.name}: the batch is empty")
        self.difference = x - t
        losses = self.loss(self.difference)
        return losses if self.reduction == "none" else losses.mean() if self.reduction == "mean" else losses.sum()

    def backward(self, gy: Array) -> tuple[Array, Array]:
        gx = self.slope(self.difference, gy / self.difference.size if self.reduction == "mean" else gy)
        return gx, -gx

    def loss(self, d: Array) -> Array:
        """Return the loss of each difference."""
        raise NotImplementedError

    def slope(self, d: Array, gy: Array) -> Array:
        """Return the derivative of the loss at each difference, times gy."""
        raise NotImplementedError


class MSELoss(Elementwise):
    # y = d^2
    name = "mse_loss"

    def loss(self, d: Array) -> Array:
        return d**2

    def slope(self, d: Array, gy: Array) -> Array:
        return d * (gy * 2)


def mse_loss(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Return the squared difference of two tensors of one shape: "mean", "sum" or, for each element, "none".

    Raises ValueError for two shapes, for empty tensors, for another reduction.
    """
    return MSELoss(reduction)(x, target)


class L1Loss(Elementwise):
    # y = |d|, flat at 0
    name = "l1_loss"

    def loss(self, d: Array) -> Array:
        return abs(d)

    def slope(self, d: Array, gy: Array) -> Array:
        return get_array_module(d).sign(d) * gy


def l1_loss(x: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Return the absolute difference of two tensors of one shape, reduced as by `mse_loss`; its gradient at 0 is 0."""
    return L1Loss(reduction)(x, target)
