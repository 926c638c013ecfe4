"""One table of layers, which the tests of gradients, devices and empty batches walk: a row added is a row tested."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from lpnet import nn


@dataclass(frozen=True)
class Case:
    """How a layer is made, and the shape of an input, its batch first."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    statistics: bool = False  # of the batch, so that it cannot be empty
    rows: int = 0  # that it has, for an input of so many integers; else the input is of real numbers


LAYERS: dict[str, Case] = {
    "Linear": Case(lambda: nn.Linear(5, 3), (4, 5)),
    "Linear, no bias": Case(lambda: nn.Linear(5, 3, bias=False), (4, 5)),
    "Conv2d": Case(lambda: nn.Conv2d(3, 4, 3), (2, 3, 5, 5)),
    "Conv2d, strided, padded, grouped": Case(lambda: nn.Conv2d(4, 6, 3, 2, 1, groups=2), (2, 4, 5, 6)),
    "Conv2d, dilated, no bias": Case(
        lambda: nn.Conv2d(2, 2, (3, 2), dilation=2, padding=(2, 1), bias=False), (1, 2, 6, 5)
    ),
    "Conv2d, the same size": Case(lambda: nn.Conv2d(2, 3, (2, 3), padding="same"), (2, 2, 4, 5)),
    "Conv1d": Case(lambda: nn.Conv1d(4, 2, 3, stride=2, padding=1, groups=2), (2, 4, 7)),
    "Conv1d, the same size": Case(lambda: nn.Conv1d(2, 3, 4, padding="same", dilation=2), (2, 2, 5)),
    "ConvTranspose2d": Case(lambda: nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2), (2, 4, 3, 2)),
    "ConvTranspose2d, dilated, no bias": Case(
        lambda: nn.ConvTranspose2d(2, 1, (2, 3), bias=False, dilation=2), (1, 2, 3, 2)
    ),
    "Embedding": Case(lambda: nn.Embedding(5, 3), (4, 2), rows=5),
    "BatchNorm1d": Case(lambda: nn.BatchNorm1d(4), (6, 4), statistics=True),
    "BatchNorm1d, cumulative": Case(lambda: nn.BatchNorm1d(4, momentum=None), (6, 4), statistics=True),
    "BatchNorm1d, of rows": Case(lambda: nn.BatchNorm1d(3), (3, 3, 4), statistics=True),
    "BatchNorm1d, not affine": Case(lambda: nn.BatchNorm1d(4, affine=False), (6, 4), statistics=True),
    "BatchNorm2d, not tracking": Case(
        lambda: nn.BatchNorm2d(3, track_running_stats=False), (3, 3, 2, 2), statistics=True
    ),
    "BatchNorm2d": Case(lambda: nn.BatchNorm2d(3), (3, 3, 2, 4), statistics=True),
    "BatchNorm2d, in evaluation": Case(lambda: nn.BatchNorm2d(3).eval(), (3, 3, 2, 2)),
    "LayerNorm": Case(lambda: nn.LayerNorm(6), (4, 6)),
    "LayerNorm, over two axes": Case(lambda: nn.LayerNorm((2, 3)), (4, 2, 3)),
    "GroupNorm": Case(lambda: nn.GroupNorm(2, 4), (3, 4, 2, 2)),
    "GroupNorm, not affine": Case(lambda: nn.GroupNorm(3, 3, affine=False), (2, 3, 4)),
    "Dropout": Case(lambda: nn.Dropout(0.4), (5, 7)),
    "ReLU": Case(nn.ReLU, (3, 5)),
    "Sigmoid": Case(nn.Sigmoid, (3, 5)),
    "Tanh": Case(nn.Tanh, (3, 5)),
    "GELU": Case(nn.GELU, (3, 5)),
    "GELU, by tanh": Case(lambda: nn.GELU("tanh"), (3, 5)),
    "LeakyReLU": Case(lambda: nn.LeakyReLU(0.2), (3, 5)),
    "ELU": Case(lambda: nn.ELU(0.5), (3, 5)),
    "SiLU": Case(nn.SiLU, (3, 5)),
    "Softplus": Case(lambda: nn.Softplus(2), (3, 5)),
    "MaxPool2d": Case(lambda: nn.MaxPool2d(2), (2, 2, 4, 6)),
    "MaxPool2d, overlapping, padded": Case(lambda: nn.MaxPool2d(3, 2, 1), (1, 2, 5, 5)),
    "MaxPool2d, dilated, reaching": Case(lambda: nn.MaxPool2d(2, 2, dilation=2, ceil_mode=True), (1, 2, 6, 6)),
    "AvgPool2d": Case(lambda: nn.AvgPool2d(2), (2, 2, 4, 6)),
    "AvgPool2d, reaching, padding aside": Case(
        lambda: nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), (1, 2, 4, 6)
    ),
    "AdaptiveAvgPool2d": Case(lambda: nn.AdaptiveAvgPool2d((2, None)), (2, 2, 5, 3)),
    "Flatten": Case(nn.Flatten, (3, 2, 2)),
    "Sequential": Case(
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 3)),
        (3, 1, 4, 4),
    ),
}
LOSSES: dict[str, tuple[nn.Module, np.ndarray]] = {  # and a target for numbers of shape (3, 4)
    "CrossEntropyLoss": (nn.CrossEntropyLoss(), np.array([1, 0, 3])),
    "CrossEntropyLoss, weighted, smooth": (
        nn.CrossEntropyLoss([1, 2, 0.5, 1], ignore_index=3, label_smoothing=0.1),
        np.array([1, 0, 3]),
    ),
    "MSELoss": (nn.MSELoss(), np.random.default_rng(0).standard_normal((3, 4))),
    "L1Loss, summed": (nn.L1Loss("sum"), np.random.default_rng(0).standard_normal((3, 4))),
}
