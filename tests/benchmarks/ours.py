"""The networks, batches and training steps that lpnet is timed with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import lpnet as lp
import lpnet.functions as F

NETWORKS = {"lenet": (1, 28, 28), "vgg16": (3, 32, 32), "preresnet20": (3, 32, 32)}
BATCH = 128


def batch(shape: tuple[int, ...], n: int = BATCH) -> tuple[np.ndarray, np.ndarray]:
    """Return images and labels."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, *shape), np.float32), rng.integers(0, 10, n)


def network(name: str, low: bool) -> lp.nn.Module:
    """Return a network, with its layers marked for bfp8 if `low`."""
    lp.manual_seed(0)
    return lowered(lp.models.build(name, NETWORKS[name], 10), low)


def lowered(model: lp.nn.Module, low: bool) -> lp.nn.Module:
    """Return the model, with its layers marked for bfp8 if `low`."""
    lp.nn.lower(model, "bfp8" if low else None)
    return model


def trainer(
    model: lp.nn.Module, precision: lp.Precision | str | None, x: np.ndarray, labels: np.ndarray
) -> Callable[[], float]:
    """Return a function that takes one training step and returns the loss."""
    optimizer = lp.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, precision=precision)

    def train() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(lp.Tensor(x)), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return train
