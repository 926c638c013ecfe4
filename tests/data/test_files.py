"""Public data sets on disk: found wherever they may lie, read exactly, refused when damaged or foreign."""

import gzip
import hashlib
import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest

import lpnet as lp
from lpnet.data import load, sources, statistics

from .cases import cifar_files
from .small import idx, idx_files, write


def assert_is(pair, arrays):
    train, test = pair
    for data, part in ((train, "train"), (test, "t10k")):
        np.testing.assert_array_equal(data.images[:, 0], arrays[f"{part}-images-idx3-ubyte"])
        np.testing.assert_array_equal(data.labels, arrays[f"{part}-labels-idx1-ubyte"])
    assert (train.mean, train.std) == (test.mean, test.std) == statistics(train.images)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("mnist", ""),
        ("mnist", "mnist"),
        ("mnist", "MNIST/raw"),
        ("fashion_mnist", ""),
        ("fashion_mnist", "fashion-mnist"),
        ("fashion_mnist", "fashion_mnist"),
    ],
)
def test_idx_files_come_back_as_written(tmp_path, name, folder, zipped):
    """In every folder that is looked into, plain or zipped, the arrays are those written."""
    contents, arrays = idx_files()
    write(tmp_path / "d" / folder, contents, zipped)
    assert_is(load(name, root=tmp_path / "d"), arrays)
    assert_is(load(name, root=str(tmp_path / "d")), arrays)


def tar(contents, folder="cifar/"):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in {"readme.html": b"hello", **contents}.items():
            info = tarfile.TarInfo(folder + name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


@pytest.mark.parametrize("source", [sources.CIFAR10, sources.CIFAR100], ids=lambda s: s.name)
@pytest.mark.parametrize("folder", range(4))
@pytest.mark.parametrize("packed", [False, True])
def test_cifar_comes_back_as_written(tmp_path, source, folder, packed):
    """In every folder, as files or in their archive, images and fine labels are those written."""
    contents, arrays = cifar_files(source)
    archive = {source.downloads[0].name: tar(contents)}
    write(tmp_path / "d" / source.folders[folder], archive if packed else contents)
    train, test = load(source.name, root=tmp_path / "d")
    for data, names in ((train, source.train), (test, source.test)):
        pixels, labels = (np.concatenate([arrays[name][i] for name in names]) for i in (0, 1))
        # Channel, row, column: 1024 values of red first, row by row. (N, 3072) -> (N, 3, 32, 32)
        np.testing.assert_array_equal(data.images, pixels.reshape(-1, 3, 32, 32))
        np.testing.assert_array_equal(data.labels, labels)
    assert len(train.mean) == 3 and len(train.classes) == len(source.classes)


def test_the_folder_named_by_the_environment_comes_before_the_cache(tmp_path, cache, monkeypatch):
    """LPNET_DATA is looked into first."""
    contents, arrays = idx_files()
    write(tmp_path / "env" / "mnist", contents)
    write(cache / "mnist", idx_files(seed=1)[0])
    monkeypatch.setenv("LPNET_DATA", str(tmp_path / "env"))
    assert_is(load("mnist"), arrays)


def published(monkeypatch, name, contents, **changes):
    """Make these contents the published ones of a data set."""
    files = tuple(sources.File(n, len(c), hashlib.sha256(c).hexdigest()) for n, c in contents.items())
    monkeypatch.setitem(sources.SOURCES, name, replace(sources.SOURCES[name], downloads=files, **changes))


@pytest.mark.parametrize("place", ["system/fashion-mnist", "cache/lpnet/fashion_mnist"])
def test_found_in_the_systems_folder_and_in_the_cache(tmp_path, monkeypatch, place):
    """Files of the published checksum are found in both."""
    contents, arrays = idx_files()
    write(tmp_path / place, contents, zipped=True)
    published(monkeypatch, "fashion_mnist", contents)
    assert_is(load("fashion_mnist"), arrays)


@pytest.mark.parametrize("place", ["system/fashion-mnist", "cache/lpnet/fashion_mnist"])
def test_outside_of_the_users_folders_every_checksum_must_be_right(tmp_path, place):
    """What nobody vouches for must be the published file."""
    contents, _ = idx_files()
    write(tmp_path / place, contents)
    with pytest.raises(ValueError, match="train-images-idx3-ubyte: damaged, or another data set's: SHA-256"):
        load("fashion_mnist")


def test_in_a_users_folder_files_of_the_published_length_must_have_the_published_checksum(tmp_path, monkeypatch):
    """A damaged copy is told from a data set of the user's own, which has another length."""
    contents, _ = idx_files()
    published(monkeypatch, "mnist", contents)
    broken = dict(contents)
    broken["t10k-images-idx3-ubyte"] = contents["t10k-images-idx3-ubyte"][:-1] + b"\x01"
    write(tmp_path / "d", contents)
    load("mnist", root=tmp_path / "d")
    write(tmp_path / "d", broken)
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte: damaged"):
        load("mnist", root=tmp_path / "d")


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (IMAGES, b"", "not an idx file of unsigned bytes, it begins with nothing"),
        (IMAGES, b"<html>", "not an idx file of unsigned bytes, it begins with 3c68746d"),
        (IMAGES, b"\0\0\x0d\x03" + bytes(20), "not an idx file of unsigned bytes"),  # floats
        (IMAGES, b"\0\0\x08\x03\0\0", r"6 bytes long, an idx file of shape \(0, 0, 0\) has 16"),
        (IMAGES, idx(np.zeros((30, 28, 28)))[:-1], r"23535 bytes long, an idx file of shape \(30, 28, 28\) has 23536"),
        (IMAGES, idx(np.zeros((30, 28, 28))) + b"\0", "23537 bytes long"),
        (IMAGES, b"\0\0\x08\x03" + b"\xff" * 12, "16 bytes long, an idx file of shape"),
        (IMAGES, idx(np.zeros((30, 28, 27))), r"shape \(30, 28, 27\), expected \(N, 28, 28\)"),
        (IMAGES, idx(np.zeros((0, 28, 28))), r"shape \(0, 28, 28\), expected \(N, 28, 28\)"),
        (LABELS, idx(np.zeros(29)), r"labels of shape \(29,\) for 30 images"),
        (LABELS, idx(np.zeros((30, 1))), r"labels of shape \(30, 1\) for 30 images"),
        (LABELS, idx(np.full(30, 10)), "label 10 of sample 0 is outside of 0..9"),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_broken_idx_file_is_one_sentence_that_names_it(tmp_path, name, content, message, zipped):
    """Whatever is wrong with a file, the error has its path and fits a line."""
    write(tmp_path, {**idx_files()[0], name: content}, zipped)
    with pytest.raises(ValueError, match=message) as error:
        load("mnist", root=tmp_path)
    assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("damage", [lambda z: z[:-20], lambda z: b"no gzip", lambda z: z[:50] + b"\xff" * 50 + z[100:]])
def test_a_broken_gzip_file_is_one_sentence_that_names_it(tmp_path, damage):
    """Cut off, of another kind or with a wrong checksum: refused by path."""
    contents, _ = idx_files()
    write(tmp_path, contents, zipped=True)
    path = tmp_path / (IMAGES + ".gz")
    path.write_bytes(damage(gzip.compress(contents[IMAGES])))
    with pytest.raises(ValueError, match="not a complete gzip file") as error:
        load("mnist", root=tmp_path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 bytes, expected a multiple of 3073"),
        (bytes(3072), "3072 bytes, expected a multiple of 3073"),
        (b"\x0a" + bytes(3072), "label 10 of sample 16 is outside of 0..9"),
    ],
)
def test_a_broken_cifar_file_is_one_sentence(tmp_path, content, message):
    """A file that is not whole records, or has other labels, is refused."""
    contents, _ = cifar_files(sources.CIFAR10)
    write(tmp_path, {**contents, "data_batch_5.bin": content})
    with pytest.raises(ValueError, match=message):
        load("cifar10", root=tmp_path)


def test_a_broken_archive_is_one_sentence(tmp_path):
    """No archive, a cut one, an empty one and one that lacks a file are refused."""
    contents, _ = cifar_files(sources.CIFAR10)
    path = tmp_path / "cifar-10-binary.tar.gz"
    for raw in (b"no archive", tar(contents)[:-3000], b""):
        path.write_bytes(raw)
        with pytest.raises(ValueError, match=r"not a complete \.tar\.gz archive"):
            load("cifar10", root=tmp_path)
    del contents["test_batch.bin"]
    path.write_bytes(tar(contents))
    with pytest.raises(ValueError, match=r"the archive has no test_batch\.bin"):
        load("cifar10", root=tmp_path)


@pytest.mark.parametrize("name", lp.data.names()[1:])
def test_a_given_folder_is_the_only_one_looked_into(tmp_path, name, cache):
    """No download starts behind the user's back."""
    with pytest.raises(FileNotFoundError, match="with no folder given, lpnet downloads") as error:
        load(name, root=tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in str(error.value) and "\n" not in str(error.value)
    assert str(cache) not in str(error.value)


def test_an_incomplete_set_is_not_found(tmp_path):
    """Three of four files are no data set."""
    contents, _ = idx_files()
    contents.popitem()
    write(tmp_path, contents)
    with pytest.raises(FileNotFoundError, match="MNIST is not in"):
        load("mnist", root=tmp_path)


@pytest.mark.parametrize(("name", "near"), [("minst", "mnist"), ("fashion-mnist", "fashion_mnist"), ("digi", "digits")])
def test_an_unknown_name_lists_the_nearest(name, near):
    """A mistyped name is answered with the one that was meant."""
    with pytest.raises(ValueError, match=rf"unknown data set '{name}', did you mean {near}"):
        load(name)
