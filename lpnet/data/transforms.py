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


def random_resized_crop(
    size: int, scale: tuple[float, float] = (0.08, 1.0), ratio: tuple[float, float] = (3 / 4, 4 / 3)
) -> Transform:
    """Cut out a window of random area and shape, and scale it to (size, size), between pixels linearly.

    Parameters: scale, the least and largest area as a share of the image; ratio, the least and largest width / height,
    drawn by its logarithm. Raises ValueError for numbers out of range. Source: Szegedy et al., CVPR 2015, section 6.
    """
    size = integer("random_resized_crop", "size", size, 1)
    low, high = _interval("scale", scale, 1)
    narrow, wide = np.log(_interval("ratio", ratio, np.inf))

    def crop(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        _check(x, "random_resized_crop")
        area, shape = rng.uniform(low, high, len(x)), np.exp(rng.uniform(narrow, wide, len(x)))
        sides = np.minimum(np.sqrt(area * np.array([1 / shape, shape])), 1)  # (2, N): height, width as shares
        starts = rng.random((2, len(x))) * (1 - sides)
        rows, columns = (
            _between(start, side, size, n) for start, side, n in zip(starts, sides, x.shape[2:], strict=True)
        )
        x = _blend(x, rows, 2)  # (N, C, H, W) -> (N, C, size, W)
        return _blend(x, columns, 3)  # -> (N, C, size, size)

    return crop


def _interval(name: str, ends: tuple[float, float], most: float) -> tuple[float, float]:
    try:
        low, high = (number("random_resized_crop", name, end, 0, most, "(]") for end in ends)
    except TypeError as error:
        raise ValueError(f"random_resized_crop: {name} must be two numbers, got {ends!r}") from error
    if low > high:
        raise ValueError(f"random_resized_crop: {name} must be (least, largest), got {ends!r}")
    return low, high


def _between(start: np.ndarray, side: np.ndarray, size: int, n: int) -> np.ndarray:
    """Return where each of `size` new pixels lies among n old ones, (N, size)."""
    centres = start[:, None] + side[:, None] * (np.arange(size) + 0.5) / size
    return np.clip(centres * n - 0.5, 0, n - 1)


def _blend(x: np.ndarray, places: np.ndarray, axis: int) -> np.ndarray:
    """Return x with its axis (2 or 3) read at `places` (N, size), between two pixels linearly."""
    low = np.floor(places).astype(np.int64)
    spread = (slice(None), None, slice(None), None) if axis == 2 else (slice(None), None, None, slice(None))
    share = (places - low).astype(np.float32)[spread]
    a = np.take_along_axis(x, low[spread], axis)
    b = np.take_along_axis(x, np.minimum(low + 1, x.shape[axis] - 1)[spread], axis)
    return a + share * (b - a)


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
