"""Data to train on: two-dimensional, so that a network's decision can be drawn, or the digits."""

from __future__ import annotations

from typing import Any

import numpy as np

import lpnet as lp


def samples(data: str, seed: int) -> tuple[Any, Any]:
    """Return a training and a test set: of points in a square of side 2 as pairs (x, y), or of the digits."""
    if data == "digits":
        return lp.data.load("digits")
    rng, n = np.random.default_rng(seed), 600
    label = np.arange(n) % 2
    radius, turns = rng.random(n) ** 0.5, rng.random(n)
    if data == "spirals":
        turns = label / 2 + 1.25 * radius
    else:
        radius = np.where(label == 1, 0.45 * radius, 0.6 + 0.4 * radius)
    x = radius[:, None] * np.stack([np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)], 1)
    x = (x + rng.normal(0, 0.03, x.shape)).astype(np.float32)
    return (x[: n // 2], label[: n // 2]), (x[n // 2 :], label[n // 2 :])
