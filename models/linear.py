"""Linear models and the multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from ..nn import Flatten, Linear, ReLU, Sequential


def linear_regression(in_features: int, out_features: int = 1) -> Sequential:
    """Return y = x W^T + b for inputs (N, ...) of `in_features` numbers each; use it with `mse_loss`."""
    return Sequential(Flatten(), Linear(in_features, out_features))


def logistic_regression(in_features: int, num_classes: int = 2) -> Sequential:
    """Return the linear classifier: logits (N, num_classes) for inputs (N, ...) of `in_features` numbers each."""
    return Sequential(Flatten(), Linear(in_features, num_classes))


def mlp(in_features: int, num_classes: int = 10, hidden: Sequence[int] = (256, 128)) -> Sequential:
    """Return fully connected layers with ReLU between them: logits (N, num_classes)."""
    widths = (in_features, *hidden)
    layers = [layer for a, b in pairwise(widths) for layer in (Linear(a, b), ReLU())]
    return Sequential(Flatten(), *layers, Linear(widths[-1], num_classes))
