"""Data sets: images, labels and how to normalise them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np

from ..validate import number


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Dataset:
    """Labelled images, and the numbers that normalise them.

    `dataset[2:10]` (a slice or an index array) is a Dataset of those samples with the same normalisation;
    `dataset[3]` is one image (C, H, W) and its label.

    Raises
    ------
    ValueError
        Shapes or types that do not fit, labels that are not integers or outside [0, number of classes), a scale that
        is not above 0.
    """

    images: np.ndarray  # (N, C, H, W), uint8 or float32
    labels: np.ndarray  # (N,), int64
    name: str
    classes: tuple[str, ...]  # names; a number n given stands for "0" .. "n-1"
    mean: tuple[float, ...]  # per channel, of images / scale over the training set; () = 0
    std: tuple[float, ...]  # likewise; () = 1
    scale: float  # the value that counts as 1; None given = 255 for uint8, 1 for float32

    def __init__(
        self,
        images: Any,
        labels: Any,
        name: str = "data",
        classes: tuple[str, ...] | int = 10,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        scale: float | None = None,
    ) -> None:
        images, labels, names = np.asarray(images), np.asarray(labels), _names(classes, name)
        _check_images(images, name)
        check_labels(labels, len(images), len(names), name)
        channels = images.shape[1]
        vars(self).update(
            images=images,
            labels=labels.astype(np.int64),
            name=name,
            classes=names,
            mean=_per_channel(mean, 0.0, channels, "mean"),
            std=_per_channel(std, 1.0, channels, "std"),
            scale=_scale(scale, images.dtype),
        )

    def __len__(self) -> int:
        return len(self.labels)

    @overload
    def __getitem__(self, index: int) -> tuple[np.ndarray, np.int64]: ...
    @overload
    def __getitem__(self, index: slice | np.ndarray) -> Dataset: ...
    def __getitem__(self, index: slice | np.ndarray | int) -> Dataset | tuple[np.ndarray, np.int64]:
        if isinstance(index, int | np.integer):
            return self.images[index], self.labels[index]
        return replace(self, images=self.images[index], labels=self.labels[index])

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.images.shape))
        return f"Dataset({self.name}: {size} {self.images.dtype}, {len(self.classes)} classes)"

    def scaled(self, index: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Return images / scale of the samples `index`, (n, C, H, W) float32: in [0, 1] for the public sets."""
        return self.images[index] / np.float32(self.scale)

    def normalize(self, x: np.ndarray) -> np.ndarray:
        """Return (x - mean) / std per channel, float32, for x (N, C, H, W) as `scaled` gives it."""
        mean, std = (np.asarray(v, np.float32).reshape(-1, 1, 1) for v in (self.mean, self.std))  # (C,) -> (C, 1, 1)
        out = np.subtract(x, mean, dtype=np.float32)
        out /= std
        return out


def _check_images(images: np.ndarray, name: str) -> None:
    if images.ndim != 4 or images.dtype not in (np.uint8, np.float32) or 0 in images.shape[1:]:
        raise ValueError(
            f"Dataset {name}: images must be (N, C, H, W) uint8 or float32, got {images.shape} {images.dtype}"
        )


def _names(classes: tuple[str, ...] | int, where: object) -> tuple[str, ...]:
    if isinstance(classes, int | np.integer) and not isinstance(classes, bool) and classes > 0:
        return tuple(map(str, range(classes)))
    if not isinstance(classes, str) and np.iterable(classes) and (names := tuple(classes)):
        return names
    raise ValueError(f"Dataset {where}: classes must be names in a tuple or a number above 0, got {classes!r}")


def _scale(scale: float | None, dtype: np.dtype) -> float:
    if scale is None:
        return 255.0 if dtype == np.uint8 else 1.0
    return number("Dataset", "scale", scale, ends="(]")


def check_labels(labels: np.ndarray, count: int, classes: int, where: object) -> None:
    """Raise ValueError unless `labels` are `count` integers in [0, classes)."""
    if labels.dtype.kind not in "iu":
        raise ValueError(f"Dataset {where}: labels must be integers, got {labels.dtype}")
    if labels.shape != (count,):
        raise ValueError(f"Dataset {where}: labels have shape {labels.shape}, {count} images need ({count},)")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        at = wrong[0]
        raise ValueError(f"Dataset {where}: label {labels[at]} of sample {at} is outside of 0..{classes - 1}")


def _per_channel(given: Sequence[float], default: float, channels: int, what: str) -> tuple[float, ...]:
    values = tuple(float(v) for v in given) or (default,) * channels
    if len(values) != channels or not np.isfinite(values).all() or (what == "std" and min(values) <= 0):
        raise ValueError(f"Dataset: {what} must be {channels} numbers, one a channel (std above 0), got {values}")
    return values


def statistics(images: np.ndarray, scale: float = 255.0) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel of images / scale, for images (N, C, H, W).

    The standard deviation of a constant channel is given as 1, so that it can be divided by. Raises ValueError for
    images without a pixel or of another shape, and for a scale that is not above 0.
    """
    if not isinstance(images, np.ndarray) or images.ndim != 4 or not images.size:
        raise ValueError(f"statistics: images must be (N, C, H, W) with at least one pixel, got {np.shape(images)}")
    scale = number("statistics", "scale", scale, ends="(]")
    total, squares = np.zeros((2, images.shape[1]))
    for chunk in np.array_split(images, max(1, len(images) // 1000)):
        x = chunk.astype(np.float64)  # sums of squares of uint8 are exact: below 2^53 up to 10^11 pixels
        total += x.sum((0, 2, 3))
        squares += np.einsum("nchw,nchw->c", x, x)
    count = images.size // images.shape[1]
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return tuple((mean / scale).tolist()), tuple((np.where(std > 0, std, scale) / scale).tolist())
