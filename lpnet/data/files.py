"""Readers of the idx format (MNIST, Fashion-MNIST) and of CIFAR's binary format, plain or compressed.

Every reader takes `where`, the file's name for its errors, and raises ValueError with one sentence when the content is
not what the format says.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import tarfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np

from .sources import File

_CIFAR_PIXELS = 3 * 32 * 32
_PIECE = 1 << 20  # bytes
TAR_ROOM = 1 << 20  # bytes for headers, a readme and class names
_ARCHIVE = ".tar.gz archive"


def read(path: Path, limit: int) -> bytes:
    """Return the content of a file, decompressed when its name ends in .gz (but a .tar.gz as it is).

    Raises ValueError when it is no complete gzip file or has more than `limit` bytes, of which no more are read.
    """
    zipped = path.suffix == ".gz" and not path.name.endswith(".tar.gz")
    with open(path, "rb") as file:
        return _gunzip(file, path, limit) if zipped else _bounded(file, path, limit)


def _bounded(file: BinaryIO | gzip.GzipFile, where: object, limit: int) -> bytes:
    """Return all that `file` has, in pieces, so that what is promised takes no memory before it is there."""
    pieces, room = [], limit
    while piece := file.read(min(_PIECE, room + 1)):
        pieces.append(piece)
        room -= len(piece)
        if room < 0:
            raise ValueError(f"{where}: more than {limit} bytes, the data set has no file as long as that")
    return b"".join(pieces)


def _gunzip(file: BinaryIO, where: object, limit: int, kind: str = "gzip file") -> bytes:
    """Return the decompressed content; gzip compares its checksum at the end, which `_bounded` reaches."""
    try:
        with gzip.GzipFile(fileobj=file) as content:
            return _bounded(content, where, limit)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{where}: not a complete {kind} ({error})") from error


def verify(content: bytes, file: File, where: object) -> None:
    """Raise ValueError unless the SHA-256 of `content` is the published one."""
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise ValueError(
            f"{where}: damaged, or another data set's: SHA-256 {found[:12]}..., published {file.sha256[:12]}... "
            "(in lpnet's cache: remove the file to download it again)"
        )


def parse_idx(content: bytes | memoryview, where: object) -> np.ndarray:
    """Return the uint8 array of an idx file: two zero bytes, 8 (= uint8), ndim, ndim big-endian uint32, the values.

    Source: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", section on file formats.
    """
    ndim = content[3] if len(content) > 3 else 0
    if content[:3] != b"\0\0\x08" or not 1 <= ndim <= 4:
        raise ValueError(f"{where}: not an idx file of unsigned bytes, it begins with {content[:4].hex() or 'nothing'}")
    start = 4 + 4 * ndim
    shape = tuple(int(n) for n in np.frombuffer(bytes(content[4:start]).ljust(4 * ndim, b"\0"), ">u4"))
    expected = start + math.prod(shape)
    if len(content) != expected:
        raise ValueError(f"{where}: {len(content)} bytes long, an idx file of shape {shape} has {expected}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def parse_idx_pair(
    images: bytes | memoryview, labels: bytes | memoryview, where: tuple[object, object]
) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, 1, 28, 28) uint8 and labels (N,) uint8 from the contents of two idx files."""
    x, y = parse_idx(images, where[0]), parse_idx(labels, where[1])
    if x.ndim != 3 or x.shape[1:] != (28, 28) or not len(x):
        raise ValueError(f"{where[0]}: the array has shape {x.shape}, expected (N, 28, 28)")
    if y.shape != x.shape[:1]:
        raise ValueError(f"{where[1]}: labels of shape {y.shape} for {len(x)} images")
    return x[:, None], y  # (N, 28, 28) -> (N, 1, 28, 28)


def parse_cifar(content: bytes | memoryview, label_bytes: int, where: object) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, 3, 32, 32) uint8 and labels (N,) uint8 of one CIFAR .bin file.

    A record is `label_bytes` labels, of which the last is meant (CIFAR-100: coarse, then fine), then 3 * 32 * 32
    pixels. Source: Krizhevsky, www.cs.toronto.edu/~kriz/cifar.html, "Binary version".
    """
    size = label_bytes + _CIFAR_PIXELS
    if not content or len(content) % size:
        raise ValueError(f"{where}: {len(content)} bytes, expected a multiple of {size} (the length of one record)")
    records = np.frombuffer(content, np.uint8).reshape(-1, size)
    # (N, label_bytes + 3072) -> (N, 3, 32, 32)
    return records[:, label_bytes:].reshape(-1, 3, 32, 32), records[:, label_bytes - 1]


def members(archive: bytes, limits: dict[str, int], where: object) -> dict[str, memoryview]:
    """Return the contents of the files named in `limits`, in whatever folder of a .tar.gz archive.

    Raises ValueError when one is missing, twice there, sparse or longer than its limit, or the archive than all limits.
    """
    content = _gunzip(io.BytesIO(archive), where, sum(limits.values()) + TAR_ROOM, _ARCHIVE)
    found: dict[str, memoryview] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if member.isfile() and name in limits:
                    _check_member(member, name in found, limits[name], f"{where}/{name}")
                    found[name] = memoryview(content)[member.offset_data : member.offset_data + member.size]
    except (tarfile.TarError, OSError, EOFError, zlib.error, OverflowError, UnicodeError) as error:
        raise ValueError(f"{where}: not a complete {_ARCHIVE} ({error})") from error
    missing = [name for name in limits if name not in found]
    if missing:
        raise ValueError(f"{where}: the archive has no {', '.join(missing)}")
    return found


def _check_member(member: tarfile.TarInfo, again: bool, limit: int, where: str) -> None:
    if again or member.issparse():
        raise ValueError(f"{where}: {'twice in the archive' if again else 'a sparse file, which no data set has'}")
    if not 0 <= member.size <= limit:
        raise ValueError(f"{where}: {member.size} bytes long, the data set's file has at most {limit}")
