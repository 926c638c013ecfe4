"""Data of your own: a folder of pictures, arrays, a file of either, split by a seed."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..validate import integer, number
from .datasets import Dataset, statistics

PARTS = {"train": ("train", "training"), "val": ("val", "valid", "validation"), "test": ("test", "testing")}
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
_SPLIT = 4  # second key word of the generator: rounding, initial weights, order and augmentation have 0 to 3


def arrays(images: Any, labels: Any, classes: Sequence[str] | int | None = None, name: str = "arrays") -> Dataset:
    """Return a data set of arrays, normalised by its own mean and standard deviation.

    Parameters: images, (N, C, H, W), (N, H, W), or (N, H, W, C) with 1, 3 or 4 channels last, of uint8, or of numbers,
    which become float32; (N, F) is a table of F numbers a sample, each a channel of one pixel. labels, (N,) integers
    from 0, or texts, whose sorted set is the classes. Raises ValueError for what is neither.
    """
    images, labels = as_images(np.asarray(images), name), np.asarray(labels)
    if labels.ndim != 1 or len(labels) != len(images):
        raise ValueError(f"{name}: labels have shape {labels.shape}, {len(images)} images need ({len(images)},)")
    if labels.dtype.kind in "US":
        texts = sorted(set(labels.tolist()))
        labels, classes = np.searchsorted(texts, labels), classes or tuple(map(str, texts))
    elif labels.dtype.kind == "f" and (labels == np.rint(labels)).all():
        labels = labels.astype(np.int64)
    if classes is None:
        classes = int(labels.max()) + 1 if labels.dtype.kind in "iu" and labels.size else 1
    return normalized(Dataset(images, labels, name, classes if isinstance(classes, int) else tuple(classes)))


def as_images(images: np.ndarray, name: str) -> np.ndarray:
    """Return images as (N, C, H, W), uint8 or float32."""
    if images.dtype.kind not in "biuf":
        raise ValueError(f"{name}: images must be numbers, got {images.dtype}")
    if images.ndim == 2:
        images = images[:, :, None, None]  # (N, F) -> (N, F, 1, 1)
    elif images.ndim == 3:
        images = images[:, None]  # (N, H, W) -> (N, 1, H, W)
    elif images.ndim == 4 and images.shape[-1] in (1, 3, 4) and images.shape[1] not in (1, 3, 4):
        images = np.moveaxis(images, -1, 1)  # (N, H, W, C) -> (N, C, H, W)
    images = np.ascontiguousarray(images if images.dtype == np.uint8 else images.astype(np.float32))
    if not np.isfinite(images).all():
        raise ValueError(f"{name}: images hold numbers that are not finite")
    return images


def normalized(dataset: Dataset, by: Dataset | None = None) -> Dataset:
    """Return the data set normalised by its own statistics, or by those of another: the training set's."""
    source = dataset if by is None else by
    mean, std = statistics(source.images, source.scale)
    return replace(dataset, mean=mean, std=std, scale=source.scale)


def split(dataset: Dataset, share: float, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Return (rest, part): `part` has that share of every class, at least one sample, chosen by the seed.

    Both are normalised by the statistics of the rest. The order within each is that of the data set. Raises ValueError
    if a class has fewer than two samples, which the sentence names.
    """
    share, seed = number("split", "share", share, 0, 1, "()"), integer("split", "seed", seed, 0, 2**64 - 1)
    generator = np.random.Philox(key=np.array([seed, _SPLIT], np.uint64))
    chosen = np.zeros(len(dataset), bool)
    for label, name in enumerate(dataset.classes):
        members = np.flatnonzero(dataset.labels == label)
        if len(members) == 1:
            raise ValueError(f"split: class {name!r} has one sample, a split needs two")
        take = min(max(1, round(share * len(members))), len(members) - 1) if len(members) else 0
        chosen[members[np.argsort(generator.random_raw(len(members)), kind="stable")[:take]]] = True
    rest, part = dataset[np.flatnonzero(~chosen)], dataset[np.flatnonzero(chosen)]
    return normalized(rest), normalized(part, rest)


def folder(root: str | os.PathLike[str], size: int = 32, classes: Sequence[str] | None = None) -> Dataset:
    """Return the pictures of a folder that has a folder for each class, read by Pillow (extra `images`).

    Each picture is scaled so that its shorter side has `size` pixels, and its middle (size, size) cut out; all are grey
    if each is, else in three colours. Classes are the folders' names in order, or those given. Raises ValueError for a
    folder without classes or pictures and for a file that is no picture, ImportError without Pillow.
    """
    root, size = Path(root).expanduser(), integer("folder", "size", size, 1, 4096)
    names = tuple(classes) if classes is not None else tuple(path.name for path in _folders(root))
    files = [(path, label) for label, name in enumerate(names) for path in _pictures(root / name)]
    if not files:
        raise ValueError(f"{root}: no pictures; expected a folder for each class with {', '.join(PICTURES[:3])} in it")
    if len(names) < 2:
        raise ValueError(f"{root}: one class only, {names[0]!r}; expected a folder for each of two or more")
    if empty := [name for label, name in enumerate(names) if all(label != other for _, other in files)]:
        raise ValueError(f"{root / empty[0]}: no pictures in the folder of this class")
    pictures = [picture(path, size) for path, _ in files]
    if any(len(image) == 3 for image in pictures):
        pictures = [np.broadcast_to(image, (3, size, size)) for image in pictures]
    return normalized(Dataset(np.stack(pictures), np.array([label for _, label in files]), root.name, names))


def _folders(root: Path) -> list[Path]:
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder")
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))


def picture_classes(root: Path) -> list[str]:
    """Return the folders of `root`, or of its train/, that hold pictures."""
    inside = root / "train" if (root / "train").is_dir() else root
    return [f.name for f in _folders(inside) if any(path.suffix.lower() in PICTURES for path in f.iterdir())]


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder, which another part of the data has as a class")
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES and path.is_file())


def picture(path: Path, size: int, channels: int | None = None) -> np.ndarray:
    """Return a picture's middle, (channels, size, size) uint8; channels None: 3, or 1 where it has no colours.

    Raises ImportError without Pillow, ValueError for a file that is no picture.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise ImportError("pictures need Pillow: pip install 'lpnet[images]'") from error
    try:
        with Image.open(path) as opened:
            upright = ImageOps.exif_transpose(opened)
            grey = channels == 1 or (channels is None and upright.mode in ("1", "L", "LA", "I", "I;16", "F"))
            fitted = ImageOps.fit(upright.convert("L" if grey else "RGB"), (size, size), Image.Resampling.BILINEAR)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is no picture that can be read: {error}") from error
    values = np.asarray(fitted, np.uint8)
    return values[None] if grey else np.moveaxis(values, -1, 0)  # (H, W) -> (1, H, W); (H, W, 3) -> (3, H, W)


def parts(source: str | os.PathLike[str], size: int = 32) -> dict[str, Dataset]:
    """Return what a path holds: "train", and "val" and "test" where it has them; normalised by "train".

    A folder with a folder a class, or with train/, val/, test/ of that kind; an .npz of arrays x and y (images and
    labels), or x_train, y_train, x_test ...; a .csv with one line of names, a column `label` (or class, target, y)
    and numbers, pixels where the columns are named pixel0 ... or 1x1 .... Raises ValueError for anything else.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        found = _folder_parts(path, size)
    elif not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    elif path.suffix.lower() == ".npz":
        found = _npz_parts(path)
    elif path.suffix.lower() == ".csv":
        found = {"train": _table(path)}
    else:
        raise ValueError(f"{path}: expected a folder of pictures, an .npz or a .csv file")
    return {part: normalized(dataset, found["train"]) for part, dataset in found.items()}


def _folder_parts(path: Path, size: int) -> dict[str, Dataset]:
    inside = {part: path / name for part, names in PARTS.items() for name in names if (path / name).is_dir()}
    if "train" not in inside:
        return {"train": folder(path, size)}
    train = folder(inside.pop("train"), size)
    found = {part: folder(place, size, train.classes) for part, place in inside.items()}
    both = {"train": train, **found}
    if len({dataset.images.shape[1] for dataset in both.values()}) > 1:  # grey and coloured
        both = {
            part: replace(dataset, images=_coloured(dataset.images), mean=(), std=()) for part, dataset in both.items()
        }
    return {part: replace(dataset, name=path.name) for part, dataset in both.items()}


def _coloured(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.broadcast_to(images, (len(images), 3, *images.shape[2:])))


def _npz_parts(path: Path) -> dict[str, Dataset]:
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
            held = {name: content[name] for name in content.files}
    except Exception as error:  # zipfile, zlib and NumPy each have their own
        raise ValueError(f"{path} is no .npz file that can be read: {error}") from error
    found = {}
    for part, names in PARTS.items():
        endings = ("", *(f"_{name}" for name in names)) if part == "train" else tuple(f"_{name}" for name in names)
        keys = [(x + end, y + end) for end in endings for x, y in (("x", "y"), ("images", "labels"))]
        keys += [(f"{name}_{x}", f"{name}_{y}") for name in names for x, y in (("images", "labels"), ("x", "y"))]
        if pair := next((pair for pair in keys if pair[0] in held and pair[1] in held), None):
            found[part] = arrays(held[pair[0]], held[pair[1]], name=path.stem)
    if "train" not in found:
        raise ValueError(
            f"{path}: expected arrays x and y, images and labels, or x_train and y_train, got "
            f"{', '.join(held) or 'none'}"
        )
    most = max(len(dataset.classes) for dataset in found.values())
    numbered = tuple(map(str, range(most)))  # a part may lack the last ones
    return {
        part: replace(dataset, classes=numbered if dataset.classes[0] == "0" else dataset.classes)
        for part, dataset in found.items()
    }


_LABELS = ("label", "class", "target", "y")
_PIXEL = re.compile(r"(pixel|px|p)_?\d+|\d+x\d+")


def _table(path: Path) -> Dataset:
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            head, *lines = [line for line in csv.reader(file) if line]
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise ValueError(f"{path} is no table with a line of names: {error}") from error
    names = [name.strip().lower() for name in head]
    at = next((names.index(name) for name in _LABELS if name in names), None)
    if at is None:
        raise ValueError(f"{path}: no column named {', '.join(_LABELS)}; the first line has {', '.join(head[:5])}")
    wrong = next((i for i, line in enumerate(lines, 2) if len(line) != len(head)), None)
    if wrong or not lines:
        raise ValueError(f"{path}: line {wrong or 2} has not the {len(head)} cells of the first")
    labels = [line[at].strip() for line in lines]
    values = _numbers(path, [[cell for i, cell in enumerate(line) if i != at] for line in lines])
    side = round(values.shape[1] ** 0.5)
    if side * side == values.shape[1] and all(_PIXEL.fullmatch(n) for i, n in enumerate(names) if i != at):
        values = values.reshape(-1, side, side)  # (N, H * W) -> (N, H, W)
        if (values == values.astype(np.uint8)).all():
            values = values.astype(np.uint8)
    integers = all(re.fullmatch(r"\d{1,6}", label) for label in labels)
    return arrays(values, np.array(labels, np.int64) if integers else np.array(labels), name=path.stem)


def _numbers(path: Path, cells: list[list[str]]) -> np.ndarray:
    for i, line in enumerate(cells, 2):
        try:
            list(map(float, line))
        except ValueError as error:
            raise ValueError(f"{path}: line {i}: {error}") from error
    return np.array(cells, np.float64).astype(np.float32)
