"""The tables of data sets and of transforms, which `test_every.py` walks: a row added is a row tested."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from lpnet.data import sources, transforms

from .small import idx_files, write


def cifar_files(source: sources.Source, records: int = 4) -> tuple[dict[str, bytes], dict]:
    """Return file names and contents of a small CIFAR, with the images and (fine) labels in them."""
    rng, contents, arrays = np.random.default_rng(0), {}, {}
    for name in source.files:
        rows = rng.integers(0, 256, (records, source.label_bytes + 3072)).astype(np.uint8)
        rows[:, 0] = 19  # CIFAR-100: the coarse label
        rows[:, source.label_bytes - 1] = rng.integers(0, len(source.classes), records)
        contents[name] = rows.tobytes()
        arrays[name] = rows[:, source.label_bytes :], rows[:, source.label_bytes - 1]
    return contents, arrays


DATA_SETS: dict[str, Callable[[Path], None]] = {  # each writes a small one of its format into a folder
    "digits": lambda folder: None,  # comes with the package
    "mnist": lambda folder: write(folder, idx_files()[0]),
    "fashion_mnist": lambda folder: write(folder, idx_files()[0]),
    "cifar10": lambda folder: write(folder, cifar_files(sources.CIFAR10)[0]),
    "cifar100": lambda folder: write(folder, cifar_files(sources.CIFAR100)[0]),
}
TRANSFORMS: dict[str, transforms.Transform] = {  # all take images of 6 x 6 to such
    "random_flip": transforms.random_flip(),
    "random_crop": transforms.random_crop(2),
    "random_resized_crop": transforms.random_resized_crop(6),
    "compose": transforms.compose(transforms.random_crop(1), transforms.random_flip()),
}
