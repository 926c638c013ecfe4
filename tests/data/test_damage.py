"""Damaged files: one sentence that names the file, or the very same pixels; never more memory than an honest file."""

import gzip
import io
import tarfile
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lpnet.data import _load, files, load, sources
from tests import damaged

from .small import CIFAR, archive, idx_files, write

pytest.importorskip("resource")
CONTENTS, _ = idx_files()
IMAGES = "train-images-idx3-ubyte"
HONEST = sum(sources.CIFAR10.limit(name) for name in sources.CIFAR10.files)


@pytest.fixture
def little_memory():
    """Address space for twice the honest size of the largest data set, and no more."""
    with damaged.little_memory(HONEST):
        yield


linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")


@linux
def test_damaged_digits_are_refused_before_they_are_unpacked(tmp_path, monkeypatch, little_memory):
    """A bundled file with any flipped bits is refused by its checksum: NumPy never sees it."""
    raw = (Path(_load.__file__).parent / "digits.npz").read_bytes()
    monkeypatch.setattr(_load, "__file__", str(tmp_path / "_load.py"))
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("unpacked"))
    for variant in damaged.flips(raw, 40, 3):
        (tmp_path / "digits.npz").write_bytes(variant)
        with pytest.raises(ValueError, match=r"digits\.npz: "):
            load("digits")


@pytest.mark.parametrize("length", [1 << 20, 1 << 27])
def test_a_gzip_bomb_takes_no_more_than_the_limit(tmp_path, length):
    """What unpacks to more than the limit is refused without taking the memory for it."""
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(bytes(length), 1))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"bomb\.gz: more than 1000 bytes"):
        files.read(path, 1000)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_a_file_of_just_the_limit_is_read(tmp_path):
    """The limit itself is no byte too many."""
    write(tmp_path, {"a": b"1234"}, zipped=True)
    assert files.read(tmp_path / "a.gz", 4) == b"1234"


def test_every_flipped_bit_of_a_checksum_is_seen(tmp_path):
    """The last 8 bytes of gzip: CRC-32 and length."""
    path, raw = tmp_path / CIFAR.downloads[0].name, archive()
    for bit in range(64):
        at = len(raw) - 8 + bit // 8
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 1 << bit % 8]) + raw[at + 1 :])
        with pytest.raises(ValueError, match=r"not a complete \.tar\.gz archive"):
            load("cifar100", tmp_path)


def sparse(size):
    """An archive of one header: a sparse train.bin of `size` bytes that stores none."""
    info = tarfile.TarInfo("train.bin")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"%011o\0" % size  # the real size of the old GNU format
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:]))
    return gzip.compress(bytes(header) + bytes(1024))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (sparse(1 << 30), "train.bin: a sparse file"),
        (archive({"train.bin": bytes(50_000 * 3074 + 1), "test.bin": b""}), "train.bin: 153700001 bytes long"),
        (archive({"else": bytes(190 << 20)}), "more than 185488576 bytes"),
    ],
    ids=["sparse", "one byte too long", "other members"],
)
@linux
def test_an_archive_that_unpacks_to_more_than_the_data_set_is_refused(tmp_path, raw, message, little_memory):
    """Archives with too much in them are refused by name, in little memory."""
    path = tmp_path / CIFAR.downloads[0].name
    path.write_bytes(raw)
    with pytest.raises(ValueError, match=message) as error:
        load("cifar100", tmp_path)
    assert str(path) in str(error.value)


def test_a_members_name_that_comes_twice_is_refused():
    """Of two files of one name none is chosen."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for folder in "ab":
            tar.addfile(tarfile.TarInfo(f"{folder}/test.bin"))
    with pytest.raises(ValueError, match=r"test\.bin: twice in the archive"):
        files.members(raw.getvalue(), {"test.bin": 10}, "a")


def test_an_archives_checksum_comes_before_unpacking(tmp_path, monkeypatch):
    """An archive of the published length with another checksum is not opened."""
    raw = archive()
    (tmp_path / CIFAR.downloads[0].name).write_bytes(raw)
    file = replace(CIFAR.downloads[0], size=len(raw))
    monkeypatch.setitem(sources.SOURCES, "cifar100", replace(CIFAR, downloads=(file,)))
    monkeypatch.setattr(files, "members", lambda *_: pytest.fail("unpacked"))
    with pytest.raises(ValueError, match="damaged, or another data set's"):
        load("cifar100", tmp_path)
