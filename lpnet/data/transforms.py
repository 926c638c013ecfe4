"""Random transforms: functions (x, rng) -> x on float32 batches (N, C, H, W); every sample gets its own draw.

A transform takes all it draws from `rng`, so that a batch comes out the same after a resume.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..validate import integer, number

Transform = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def random_flip(p: float = 0.5) -> Transform:
    """Mirror each image left to right with probability `p`. Raises ValueError unless it is a number in [0, 1]."""
    p = number("random_flip", "p", p, 0, 1)

    def flip(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        _check(x, "random_flip")
        return np.where(rng.random((len(x), 1, 1, 1)) < p, x[..., ::-1], x)

    return flip


def random_crop(padding: int = 4) -> Transform:
    """Surround each image with `padding` pixels of zero, then cut out a window of the old size at a random place.

    Raises ValueError unless `padding` is a positive integer. Source: He et al., CVPR 2016, section 4.2.
    """
    padding = integer("random_crop", "padding", padding, 1)

    def crop(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        _check(x, "random_crop")
        padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        # (N, C, H + 2p, W + 2p) -> (N, C, 2p + 1, 2p + 1, H, W), a view
        windows = np.lib.stride_tricks.sliding_window_view(padded, x.shape[2:], axis=(2, 3))
        top, left = rng.integers(0, 2 * padding + 1, (2, len(x)))
        return windows[np.arange(len(x)), :, top, left]  # (N, C, H, W)

    return crop


def compose(*transforms: Transform) -> Transform:
    """One transform that applies `transforms` in turn. Raises ValueError when one is not a function."""
    for one in transforms:
        if not callable(one):
            raise ValueError(f"compose: a transform must be a function (x, rng) -> x, got {one!r}")

    def apply(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        for transform in transforms:
            x = transform(x, rng)
        return x

    return apply


def _check(x: np.ndarray, who: str) -> None:
    if np.ndim(x) != 4:
        raise ValueError(f"{who}: a batch must be (N, C, H, W), got shape {np.shape(x)}")
