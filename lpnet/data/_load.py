"""`load`: the public data sets by name, from the disk or downloaded.

It looks in this order: the folder given; else the folder LPNET_DATA, a Linux distribution's folder, the user's cache;
else it downloads into the cache.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ..registry import Registry
from . import files
from .datasets import Dataset, check_labels, statistics
from .sources import DIGITS, SOURCES, File, Source

Root = str | os.PathLike[str] | None  # the only folder to look in, or None
Arrays = tuple[np.ndarray, np.ndarray]  # images and labels
Contents = Mapping[str, bytes | memoryview]  # of files, by name
_DIGITS_TRAIN = 1297  # the other 500 of the 1,797 are the test set


def load(name: str, root: Root = None) -> tuple[Dataset, Dataset]:
    """Return the training and the test set of a public data set.

    Parameters
    ----------
    name : str
        "digits" (8x8, comes with the package), "mnist", "fashion_mnist", "cifar10" or "cifar100".
    root : path, optional
        The only folder to look in (or in its mnist/, fashion-mnist/, cifar-10-batches-bin/ ...), for idx files
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
    return _DATA_SETS[name](root)


def names() -> list[str]:
    """Return the names of the data sets that `load` knows."""
    return _DATA_SETS.names()


def register(name: str, loader: Loader) -> Loader:
    """Let `load`, and with it `lpnet train --data`, know a data set: a function of the folder, or None.

    It returns the training and the test set. Raises ValueError for a name that is another's.
    """
    return _DATA_SETS.register(name, loader)


def _pair(train: Arrays, test: Arrays, name: str, classes: tuple[str, ...], scale: float) -> tuple[Dataset, Dataset]:
    """Make both data sets; both are normalised by the training set."""
    mean, std = statistics(train[0], scale)
    return Dataset(*train, name, classes, mean, std, scale), Dataset(*test, name, classes, mean, std, scale)


def _digits(root: Root = None) -> tuple[Dataset, Dataset]:
    """Return the bundled digits, split 1297 / 500 by a fixed permutation."""
    path = Path(__file__).with_name(DIGITS.name)
    raw = files.read(path, DIGITS.size)
    files.verify(raw, DIGITS, path)
    with np.load(io.BytesIO(raw), allow_pickle=False) as content:
        images, labels = content["images"], content["labels"]
    order = np.argsort(np.random.Philox(key=0).random_raw(len(labels)), kind="stable")
    train, test = order[:_DIGITS_TRAIN], order[_DIGITS_TRAIN:]
    return _pair((images[train], labels[train]), (images[test], labels[test]), "digits", tuple("0123456789"), 16.0)


def _public(name: str, root: Root) -> tuple[Dataset, Dataset]:
    source = SOURCES[name]
    train, test = _read(source, root)
    return _pair(train, test, name, source.classes, 255.0)


Loader = Callable[[Root], tuple[Dataset, Dataset]]
_DATA_SETS: Registry[Loader] = Registry("data set", {"digits": _digits})
_DATA_SETS.update({name: functools.partial(_public, name) for name in SOURCES})


# Finding the files of a source: paths, then contents, then arrays.


def _read(source: Source, root: Root) -> tuple[Arrays, Arrays]:
    """Return (images, labels) of the training and of the test set, from wherever they are found."""
    for place, strict in _places(source, root):
        paths = _find(source, place)
        if paths:
            return _arrays(source, paths, strict)
    if root is not None:
        raise FileNotFoundError(_not_found(source, root) + "; with no folder given, lpnet downloads them")
    return _arrays(source, _download(source), strict=True)


def _places(source: Source, root: Root) -> list[tuple[Path, bool]]:
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
    contents: Contents = read
    if len(read) < len(source.files):  # an archive
        [(name, archive)] = read.items()
        contents = files.members(archive, limits, paths[name])
        paths = {file: paths[name] / file for file in source.files}
    return _parse(source, source.train, contents, paths), _parse(source, source.test, contents, paths)


def _parse(source: Source, names: tuple[str, ...], contents: Contents, paths: dict[str, Path]) -> Arrays:
    """Return images (N, C, H, W) uint8 and labels (N,) uint8 of the files `names`."""
    if not source.label_bytes:
        first, second = names
        images, labels = files.parse_idx_pair(contents[first], contents[second], (paths[first], paths[second]))
    else:
        parts = [files.parse_cifar(contents[n], source.label_bytes, paths[n]) for n in names]
        images, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    check_labels(labels, len(images), len(source.classes), f"{source.name}, {paths[names[-1]]}")
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


def _not_found(source: Source, root: Root = None) -> str:
    """Say which files were wanted and where they were looked for."""
    looked = ", ".join(str(place) for place, _ in _places(source, root))
    below = " or ".join(f"{folder}/" for folder in source.folders if folder)
    return (
        f"load: {source.title} is not in {looked} nor in {below} there; get {source.wanted} from "
        f"{source.addresses[0]} and name the folder with --data-dir or LPNET_DATA"
    )
