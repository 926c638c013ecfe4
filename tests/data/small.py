"""Small data sets in the true formats, written by the tests."""

import gzip
import io
import tarfile
from dataclasses import replace

import numpy as np

from lpnet.data import sources

CIFAR = replace(sources.CIFAR100, folders=("",))
RECORDS = {name: np.random.default_rng(0).integers(0, 20, (4, 3074)).astype(np.uint8).tobytes() for name in CIFAR.files}


def idx(array):
    """The bytes of an idx file."""
    array = np.asarray(array, np.uint8)
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def idx_files(train=30, test=10, seed=0):
    """File names and contents of a small MNIST, and its arrays."""
    rng = np.random.default_rng(seed)
    arrays = {
        "train-images-idx3-ubyte": rng.integers(0, 256, (train, 28, 28)),
        "train-labels-idx1-ubyte": rng.integers(0, 10, train),
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (test, 28, 28)),
        "t10k-labels-idx1-ubyte": rng.integers(0, 10, test),
    }
    return {name: idx(array) for name, array in arrays.items()}, arrays


def write(folder, contents, zipped=False):
    """Write files into a folder, plain or as .gz."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / (name + ".gz" * zipped)).write_bytes(gzip.compress(content, 1) if zipped else content)


def archive(contents=RECORDS):
    """The bytes of a .tar.gz archive."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz", format=tarfile.GNU_FORMAT) as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return file.getvalue()
