"""Losses as modules."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import functions as F
from ..functions.loss import REDUCTIONS
from ..tensor import Tensor
from ..validate import choice, number
from .module import Buffer, Module


class CrossEntropyLoss(Module):
    """Cross-entropy of logits (N, classes, ...) against integer labels (N, ...), with the options of its function."""

    def __init__(
        self, weight: Any = None, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0
    ) -> None:
        self.weight = None if weight is None else Buffer(np.asarray(weight, np.float32))
        self.options: dict[str, Any] = {
            "ignore_index": ignore_index,
            "reduction": choice("CrossEntropyLoss", "reduction", reduction, REDUCTIONS),
            "label_smoothing": number("CrossEntropyLoss", "label_smoothing", label_smoothing, 0, 1),
        }

    def forward(self, logits: Any, labels: Any) -> Tensor:
        """Return the loss, a tensor of no axes unless reduction is "none"."""
        return F.cross_entropy(logits, labels, self.weight, **self.options)


class _Difference(Module):
    function: Any = None

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = choice(type(self).__name__, "reduction", reduction, REDUCTIONS)

    def forward(self, x: Any, target: Any) -> Tensor:
        """Return the loss, a tensor of no axes unless reduction is "none"."""
        return type(self).function(x, target, self.reduction)


class MSELoss(_Difference):
    """Mean squared difference; reduction may be "sum", or "none" for that of each element."""

    function = F.mse_loss


class L1Loss(_Difference):
    """Mean absolute difference; reduction may be "sum", or "none" for that of each element."""

    function = F.l1_loss
