"""Data sets: images, labels and how to normalise them; `load` finds the public ones, or downloads them.

`load` looks in this order: the folder given; else the folder LPNET_DATA, a Linux distribution's folder, the user's
cache; else it downloads into the cache.
"""

from __future__ import annotations

import difflib
import io
import math
import numbers
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, overload

import numpy as np

from . import files
from .sources import DIGITS, SOURCES, File, Source

Arrays: TypeAlias = tuple[np.ndarray, np.ndarray]  # images (N, C, H, W) and labels (N,)
NAMES = ("digits", *SOURCES)
_DIGITS_TRAIN = 1297  # the other 500 of the 1,797 are the test set


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
        self, images: Any, labels: Any, name: str = "data", classes: tuple[str, ...] | int = 10,
        mean: Sequence[float] = (), std: Sequence[float] = (), scale: float | None = None,
    ) -> None:  # fmt: skip
        images, labels, names = np.asarray(images), np.asarray(labels), _names(classes, name)
        _check_images(images, name)
        _check_labels(labels, len(images), len(names), name)
        channels = images.shape[1]
        vars(self).update(
            images=images, labels=labels.astype(np.int64), name=name, classes=names,
            mean=_per_channel(mean, 0.0, channels, "mean"), std=_per_channel(std, 1.0, channels, "std"),
            scale=_scale(scale, images.dtype),
        )  # fmt: skip

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
    return _positive(scale, "Dataset")


def _positive(scale: float, who: str) -> float:
    if isinstance(scale, bool | np.bool_) or not isinstance(scale, numbers.Real) or not 0 < scale < math.inf:
        raise ValueError(f"{who}: scale must be a number above 0, got {scale!r}")
    return float(scale)


def _check_labels(labels: np.ndarray, count: int, classes: int, where: object) -> None:
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
    scale = _positive(scale, "statistics")
    total, squares = np.zeros((2, images.shape[1]))
    for chunk in np.array_split(images, max(1, len(images) // 1000)):
        x = chunk.astype(np.float64)  # sums of squares of uint8 are exact: below 2^53 up to 10^11 pixels
        total += x.sum((0, 2, 3))
        squares += np.einsum("nchw,nchw->c", x, x)
    count = images.size // images.shape[1]
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return tuple((mean / scale).tolist()), tuple((np.where(std > 0, std, scale) / scale).tolist())


def load(name: str, root: str | os.PathLike[str] | None = None) -> tuple[Dataset, Dataset]:
    """Return the training and the test set of a public data set.

    Parameters
    ----------
    name : "digits" (8x8, comes with the package), "mnist", "fashion_mnist", "cifar10" or "cifar100".
    root : the only folder to look in (or in its mnist/, fashion-mnist/, cifar-10-batches-bin/ ...), for idx files
        plain or .gz, CIFAR's .bin files or .tar.gz. None = LPNET_DATA, /usr/share/datasets (Fashion-MNIST), the
        cache ($XDG_CACHE_HOME or ~/.cache)/lpnet, then the official addresses. Not needed for "digits".

    Raises
    ------
    ValueError
        Unknown name; a file of the wrong length, type or checksum. Every file is checked for its structure. SHA-256 is
        checked of downloads, of idx files and archives in the cache and the distribution's folder, and in a folder of
        the user's where these have the published length.
    FileNotFoundError
        Found nowhere; the message says where it looked and how to get it.
    OSError
        The cache cannot be written.
    """
    if name == "digits":
        return _digits()
    if name not in SOURCES:
        near = difflib.get_close_matches(str(name), NAMES, n=2, cutoff=0.4)
        hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"load: unknown data set {name!r}, expected one of {', '.join(NAMES)}{hint}")
    train, test = _read(SOURCES[name], root)
    return _pair(train, test, name, SOURCES[name].classes, 255.0)


def _pair(train: Arrays, test: Arrays, name: str, classes: tuple[str, ...], scale: float) -> tuple[Dataset, Dataset]:
    """Make both data sets; both are normalised by the training set."""
    mean, std = statistics(train[0], scale)
    return Dataset(*train, name, classes, mean, std, scale), Dataset(*test, name, classes, mean, std, scale)


def _digits() -> tuple[Dataset, Dataset]:
    """Return the bundled digits, split 1297 / 500 by a fixed permutation."""
    path = Path(__file__).with_name(DIGITS.name)
    raw = files.read(path, DIGITS.size)
    files.verify(raw, DIGITS, path)
    with np.load(io.BytesIO(raw), allow_pickle=False) as content:
        images, labels = content["images"], content["labels"]
    order = np.argsort(np.random.Philox(key=0).random_raw(len(labels)), kind="stable")
    train, test = order[:_DIGITS_TRAIN], order[_DIGITS_TRAIN:]
    return _pair((images[train], labels[train]), (images[test], labels[test]), "digits", tuple("0123456789"), 16.0)


# Finding the files of a source: paths, then contents, then arrays.


def _read(source: Source, root: str | os.PathLike[str] | None) -> tuple[Arrays, Arrays]:
    """Return (images, labels) of the training and of the test set, from wherever they are found."""
    for place, strict in _places(source, root):
        paths = _find(source, place)
        if paths:
            return _arrays(source, paths, strict)
    if root is not None:
        raise FileNotFoundError(_not_found(source, root) + "; with no folder given, lpnet downloads them")
    return _arrays(source, _download(source), strict=True)


def _places(source: Source, root: str | os.PathLike[str] | None) -> list[tuple[Path, bool]]:
    """Return (folder, whether everything in it must have the published checksum), in the order to look."""
    if root is not None:
        return [(Path(root).expanduser(), False)]
    user = os.environ.get("LPNET_DATA")
    places = [(Path(user).expanduser(), False)] if user else []
    return places + ([(source.system, True)] if source.system else []) + [(_cache(), True)]


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lpnet"


def _find(source: Source, place: Path) -> dict[str, Path]:
    """Return the paths by file name of a complete set in one folder below `place`, or of its archive, or nothing."""
    for folder in source.folders:
        for names in (source.files, tuple(file.name for file in source.downloads)):
            paths = {name: path for name in names if (path := _exists(place / folder / name))}
            if len(paths) == len(names):
                return paths
    return {}


def _exists(path: Path) -> Path | None:
    return next((p for p in (path, path.with_name(path.name + ".gz")) if p.is_file()), None)


def _arrays(source: Source, paths: dict[str, Path], strict: bool) -> tuple[Arrays, Arrays]:
    limits = {name: source.limit(name) for name in source.files}
    # An archive is no longer than what is in it, and is checked before it is unpacked.
    whole = sum(limits.values()) + files.TAR_ROOM
    read = {name: files.read(path, limits.get(name, whole)) for name, path in paths.items()}
    for file in source.downloads:
        if file.name in read and (strict or len(read[file.name]) == file.size):
            files.verify(read[file.name], file, paths[file.name])
    contents: Mapping[str, bytes | memoryview] = read
    if len(read) < len(source.files):  # an archive
        [(name, archive)] = read.items()
        contents = files.members(archive, limits, paths[name])
        paths = {file: paths[name] / file for file in source.files}
    return _parse(source, source.train, contents, paths), _parse(source, source.test, contents, paths)


def _parse(source: Source, names: tuple[str, ...], contents: Mapping[str, bytes | memoryview], paths: dict[str, Path]
           ) -> Arrays:  # fmt: skip
    """Return images (N, C, H, W) uint8 and labels (N,) uint8 of the files `names`."""
    if not source.label_bytes:
        first, second = names
        images, labels = files.parse_idx_pair(contents[first], contents[second], (paths[first], paths[second]))
    else:
        parts = [files.parse_cifar(contents[n], source.label_bytes, paths[n]) for n in names]
        images, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    _check_labels(labels, len(images), len(source.classes), f"{source.name}, {paths[names[-1]]}")
    return images, labels


def _download(source: Source) -> dict[str, Path]:
    """Download what is missing in the cache; return the paths by file name."""
    folder = _cache() / source.name
    return {file.name: _exists(folder / file.name) or _fetch(source, file, folder) for file in source.downloads}


def _fetch(source: Source, file: File, folder: Path) -> Path:
    """Download one file from the first of the official addresses that gives it."""
    from . import download  # urllib takes longer to import than the rest of this package

    name = file.name if file.name.endswith(".gz") else file.name + ".gz"
    failed = []
    for address in source.addresses:
        try:
            download.fetch(address + name, folder / name, lambda path: _verify(path, file), file.size)
            return folder / name
        except download.DownloadError as error:
            failed.append(str(error))
    raise FileNotFoundError(f"{_not_found(source)}, and there was no download from {' or '.join(failed)}")


def _verify(path: Path, file: File) -> None:
    files.verify(files.read(path, file.size), file, path)


def _not_found(source: Source, root: str | os.PathLike[str] | None = None) -> str:
    """Say which files were wanted and where they were looked for."""
    looked = ", ".join(str(place) for place, _ in _places(source, root))
    below = " or ".join(f"{folder}/" for folder in source.folders if folder)
    return (
        f"load: {source.title} is not in {looked} nor in {below} there; get {source.wanted} from "
        f"{source.addresses[0]} and name the folder with --data-dir or LPNET_DATA"
    )
