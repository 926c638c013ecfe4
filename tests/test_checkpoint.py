"""Checkpoints: what is saved comes back; a file is whole or not there; a damaged one is named, never believed."""

import dataclasses
import errno
import importlib
import io
import json
import os
import zipfile

import numpy as np
import pytest

import lpnet as lp
from lpnet import files

NESTED = {
    "number": 3,
    "real": 0.1,
    "big": 2**63,
    "flag": True,
    "text": "ä/b",
    "nothing": None,
    "inf": float("inf"),
    "list": [1, [2.5, "x"], {"y": np.arange(3)}],
    "empty": {},
    "tricky": {"array": 7, "dict": {"x": 1}},
    "deep": {"a": {"b": np.eye(2, dtype=np.float32)}, "a/b": np.zeros(1)},
}
ARRAYS = {
    "f4": np.linspace(0, 1, 7, dtype=np.float32),
    "f8": np.array([[np.nan, -0.0, np.inf]]),
    "u1": np.arange(256, dtype="u1"),
    "i8": np.array(5),
    "bool": np.array([True, False]),
    "none": np.zeros((0, 3)),
    "f2": np.ones((2, 1, 3), np.float16),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "words": np.array(["a", "bc"]),
    "view": np.arange(9)[::-2],
}


def same(a, b):
    """Whether two nested objects are equal to the bit, in types, order and dtypes too."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(v, b[k]) for k, v in a.items())
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


def leftovers(folder):
    return [name for name in os.listdir(folder) if name.startswith(".tmp")]


def test_nested_objects_come_back_to_the_bit(tmp_path):
    lp.save(tmp_path / "x.npz", **NESTED, **ARRAYS)
    assert same({**NESTED, **ARRAYS}, lp.load(tmp_path / "x.npz"))


def test_what_has_a_state_is_saved_with_it(tmp_path):
    model, stream = lp.nn.Linear(2, 3), lp.random.Stream(7)
    optimizer = lp.optim.Adam(model.parameters(), precision="bfp8")
    model(np.ones((1, 2), np.float32)).sum().backward()
    optimizer.step()
    stream.take()
    lp.save(tmp_path / "x.npz", model=model, optimizer=optimizer, stream=stream, n=np.int64(4), t=lp.Tensor([1.0, 2.0]))
    state = lp.load(tmp_path / "x.npz")
    assert same(state["model"], model.state_dict()) and same(state["optimizer"], optimizer.state_dict())
    assert state["stream"] == {"seed": 7, "site": 1} and state["n"] == 4
    assert np.array_equal(state["t"], [1, 2])


def test_equal_contents_are_equal_bytes(tmp_path):
    for name in ("a", "b"):
        lp.save(tmp_path / name, **NESTED, **ARRAYS)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_numpy_reads_the_arrays(tmp_path):
    lp.save(tmp_path / "x.npz", **ARRAYS, deep={"a": [np.arange(4)]})
    with np.load(tmp_path / "x.npz", allow_pickle=False) as file:
        assert all(same(a, file[name]) for name, a in ARRAYS.items())
        assert same(np.arange(4), file["deep/a/0"])


@pytest.mark.parametrize("value", [object(), {1, 2}, 1j, np.array([object()]), b"bytes", np.zeros(2, [("x", object)])])
def test_what_cannot_be_saved_is_named_and_nothing_is_written(tmp_path, value):
    with pytest.raises(TypeError, match="thing/inside"):
        lp.save(tmp_path / "x.npz", thing={"inside": value})
    assert not os.listdir(tmp_path)


class FullDisk:
    """A file that takes `room` bytes and then fails as a full disk does."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


@pytest.mark.parametrize("room", [0, 10, 500, 5000, 40000])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, room):
    path = tmp_path / "x.npz"
    lp.save(path, old=np.arange(5))
    monkeypatch.setattr(files, "open", lambda *a, **k: FullDisk(open(*a, **k), room), raising=False)  # noqa: SIM115
    with pytest.raises(OSError, match=r"cannot write .*x\.npz: No space left") as refused:
        lp.save(path, new=np.arange(10_000))
    assert refused.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["x.npz"] and same(lp.load(path), {"old": np.arange(5)})


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failure_at_the_last_moment_leaves_the_old_file_too(tmp_path, monkeypatch, call):
    def fail(*_):
        raise OSError(errno.EIO, "input/output error")

    path = tmp_path / "x.npz"
    lp.save(path, old=1)
    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="cannot write"):
        lp.save(path, new=2)
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["x.npz"] and lp.load(path) == {"old": 1}


@pytest.mark.parametrize("where", ["missing/x.npz", "file/x.npz"])
def test_a_folder_that_cannot_be_written_is_one_clear_sentence(tmp_path, where):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write .*x\.npz: (No such|Not a) ") as refused:
        lp.save(tmp_path / where, x=1)
    assert "\n" not in str(refused.value)


def test_a_new_file_has_the_usual_rights(tmp_path):
    lp.save(tmp_path / "x.npz", x=1)
    (tmp_path / "usual").write_text("")
    assert (tmp_path / "x.npz").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / "good.npz"
    lp.save(path, a=np.arange(50, dtype=np.float32), b={"c": [1, "text"], "d": np.ones((3, 4))})
    return path.read_bytes()


def refuses(path):
    with pytest.raises(ValueError, match=r"bad\.npz: .*not a file of lpnet"):
        lp.load(path)


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path, good):
    path = tmp_path / "bad.npz"
    for end in {*range(0, len(good), 7), *range(len(good) - 30, len(good))}:
        path.write_bytes(good[:end])
        refuses(path)


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path, good):
    # Some bytes of a zip archive, such as dates, mean nothing to the contents: there the load must be right.
    path = tmp_path / "bad.npz"
    path.write_bytes(good)
    right, refused = lp.load(path), 0
    for i in range(0, len(good), 3):
        path.write_bytes(good[:i] + bytes([good[i] ^ 1 << i % 8]) + good[i + 1 :])
        try:
            assert same(lp.load(path), right), f"byte {i}"
        except ValueError as error:
            assert "bad.npz" in str(error)
            refused += 1
    assert refused > len(good) / 3 * 0.5


def test_foreign_files_are_refused_by_name(tmp_path):
    path = tmp_path / "bad.npz"
    path.write_text("not an archive at all\n" * 100)
    refuses(path)
    np.savez(path, x=np.arange(3))
    refuses(path)
    objects = '{"version": 1, "objects": '
    for index in ("[]", "1", "{}", '{"version": 1}', objects, objects + '{"dict": 3}}', objects + "{}}", "\x00"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("lpnet.json", index)
        refuses(path)


def test_a_later_version_is_refused_as_such(tmp_path):
    path = tmp_path / "new.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("lpnet.json", '{"version": 99, "objects": {}}')
    with pytest.raises(ValueError, match=r"new\.npz: written by another version.*99"):
        lp.load(path)


def test_pickles_are_refused_unopened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    path = tmp_path / "bad.npz"
    np.savez(path, a=np.array([Trap()], dtype=object))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("lpnet.json", '{"version": 1, "objects": {"dict": {"a": {"array": "a"}}}}')
    refuses(path)
    assert not (tmp_path / "sprung").exists()


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        lp.load(tmp_path / "nothing.npz")


@pytest.mark.parametrize("name", ["bfp8", "bfp4:tensor", "e4m3", "fixed8.6", "mxfp4_e2m1", "fp32"])
def test_packed_arrays_load_as_they_were(tmp_path, name):
    """Numbers of the format come back bit for bit, from codes of its size; other arrays come back untouched."""
    rng, fmt = np.random.default_rng(0), lp.format(name)
    on_grid = fmt.quantize(rng.standard_normal((64, 96)).astype(np.float32))
    objects = {"a": {"on": on_grid, "off": rng.standard_normal(40), "n": np.arange(5), "bad": np.float32([np.nan, 1])}}
    lp.save(tmp_path / "packed.npz", packed=name, **objects)
    lp.save(tmp_path / "plain.npz", **objects)
    for key, array in lp.load(tmp_path / "packed.npz")["a"].items():
        assert array.dtype == objects["a"][key].dtype
        assert array.tobytes() == objects["a"][key].tobytes()
    saved = (tmp_path / "plain.npz").stat().st_size - (tmp_path / "packed.npz").stat().st_size
    assert saved >= 0.9 * on_grid.size * (4 - fmt.bits / 8) - 1000


def test_a_run_in_8_bits_saves_its_model_at_a_quarter_of_the_size(tmp_path):
    """The weights of an 8-bit model take 8 bits a weight, and load to identical values."""
    lp.manual_seed(0)
    model = lp.models.mlp(64)
    lp.optim.SGD(model.parameters(), 0.1, precision="bfp8")
    lp.save(tmp_path / "packed.npz", packed="bfp8", model=model)
    weights = model.state_dict()
    assert all((lp.load(tmp_path / "packed.npz")["model"][k] == w).all() for k, w in weights.items())
    assert (tmp_path / "packed.npz").stat().st_size < 0.3 * sum(w.nbytes for w in weights.values())


# Files that claim more than they hold


def archive(path, index, **entries):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("lpnet.json", json.dumps({"version": 1, "objects": index}))
        for name, content in entries.items():
            file.writestr(f"{name}.npy", content)


def npy(array, shape=None):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue() if shape is None else file.getvalue().replace(b"(4,), }", f"({shape},), }}".encode())


def test_sizes_are_checked_before_room_is_made(tmp_path):
    path = tmp_path / "bad.npz"
    index = {"dict": {"a": {"array": "a"}}}
    archive(path, index, a=npy(np.zeros(4)))
    assert (lp.load(path)["a"] == 0).all()
    archive(path, index, a=npy(np.zeros(4), 10**12))
    refuses(path)
    archive(path, {"dict": {"a": {"array": "a"}, "b": {"array": "a"}}}, a=npy(np.zeros(4)))
    refuses(path)
    np.savez_compressed(path, a=np.zeros(10**6))
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("lpnet.json", json.dumps({"version": 1, "objects": index}))
    refuses(path)


@pytest.mark.parametrize("shape", [[100], [10**15], [9], [-10], [5, 3]])
@pytest.mark.parametrize("name, scales", [("e4m3", 0), ("bfp8", 1), ("mxfp8_e4m3", 1)])
def test_codes_are_as_many_as_the_numbers(tmp_path, name, scales, shape):
    path = tmp_path / "bad.npz"
    packed = {"codes": "a", "format": name, "shape": [10], "dtype": "float32"}
    content = {"a.codes": npy(np.zeros(10, np.uint8)), "a.scales": npy(np.zeros(scales, np.uint8))}
    archive(path, {"dict": {"a": packed}}, **content)
    assert lp.load(path)["a"].shape == (10,)
    archive(path, {"dict": {"a": {**packed, "shape": shape}}}, **content)
    refuses(path)
    archive(path, {"dict": {"a": packed}}, **{**content, "a.scales": npy(np.zeros(scales + 1, np.uint8))})
    refuses(path)


@pytest.mark.parametrize("index", [[], 3, "text", None, [1, 2]])
def test_a_file_without_a_dictionary_is_refused(tmp_path, index):
    archive(tmp_path / "bad.npz", index)
    refuses(tmp_path / "bad.npz")


@pytest.mark.parametrize(
    "keys, error",
    [
        ((1, "1"), ValueError),
        (("a\0b",), ValueError),
        ((("a",),), TypeError),
        ((b"a",), TypeError),
        ((None,), TypeError),
    ],
)
def test_keys_that_would_not_come_back_are_refused_and_nothing_is_written(tmp_path, keys, error):
    with pytest.raises(error, match="save: d has the key"):
        lp.save(tmp_path / "x.npz", d=dict.fromkeys(keys, 1.0))
    assert not os.listdir(tmp_path)


def test_a_format_that_cannot_be_read_back_is_refused_before_writing(tmp_path):
    class Own(type(lp.format("e4m3"))):
        pass

    like = lp.format("e4m3")
    own = Own(**{f.name: getattr(like, f.name) for f in dataclasses.fields(like) if f.init})
    with pytest.raises(TypeError, match="cannot be read back"):
        lp.save(tmp_path / "x.npz", packed=own, a=np.zeros(9, np.float32))
    assert not os.listdir(tmp_path)


@pytest.fixture
def _registry(monkeypatch):
    names = importlib.import_module("lpnet.formats._names")
    monkeypatch.setattr(names, "_CLASSES", dict(names._CLASSES))
    before = dict(names.REGISTERED)
    yield names.REGISTERED
    names.REGISTERED.clear()
    names.REGISTERED.update(before)


def test_a_file_in_a_registered_format_asks_for_that_format(tmp_path, _registry):
    """By its name alone it is read; where the name is unknown, or means other numbers, the sentence says so."""
    odd, path = lp.formats.register(lp.Table((-3, -1, 0, 2), "odd")), tmp_path / "x.npz"
    array = lp.quantize(np.linspace(-4, 4, 1000, dtype=np.float32).reshape(10, 100), odd)
    lp.save(path, packed="odd", a=array)
    assert lp.load(path)["a"].tobytes() == array.tobytes() and path.stat().st_size < array.nbytes / 2
    del _registry["odd"]
    with pytest.raises(ValueError, match="packed in 'odd', which is unknown here"):
        lp.load(path)
    lp.formats.register(lp.Table((-3, -1, 0, 3), "odd"))
    with pytest.raises(ValueError, match="'odd' stands for other numbers here"):
        lp.load(path)


def test_a_table_that_is_not_registered_is_packed_by_its_call(tmp_path):
    table = lp.Table((-3, -1, 0, 2), "odd")
    lp.save(tmp_path / "x.npz", packed=table, a=np.full(1000, 2.0))
    assert (lp.load(tmp_path / "x.npz")["a"] == 2).all()
