"""Damaged checkpoints, models, archives and data files: one sentence that names the file, or the very same contents.

All of it in address space for the present and twice the honest size (of the file's arrays; for `lpnet eval` 4 MB, for
data files that of the largest set), and no more. Bytes: flipped bits, truncated, cut,
prolonged; headers that promise more than there is; entries that come twice; states that were edited by hand, in files
whose checksums are right. The long proof: python -m tests.damaged --count 2000
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import hashlib
import io
import itertools
import json
import struct
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import lpnet as lp
from lpnet import cli, nn, optim, picture, training
from lpnet.data import DataLoader, _load, load, sources

try:
    import resource
except ImportError:  # not on Windows
    resource = None

from tests.data import small

POSSIBLE = resource is not None and Path("/proc/self/statm").exists()
Variant = tuple[str, bytes]  # kind of damage, contents


def flips(raw: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Variants of the bytes: flipped bits, truncated, cut in the middle, prolonged."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        at = int(rng.integers(len(raw)))
        flipped = raw[:at] + bytes([raw[at] ^ 1 << int(rng.integers(8))]) + raw[at + 1 :]
        yield (flipped, flipped, raw[:at], raw[:at] + raw[at + 7 :], raw + b"\x01" * (at + 1))[i % 5]


@contextlib.contextmanager
def little_memory(honest: int) -> Iterator[None]:
    """Address space for what there is now and twice the honest size, and no more."""
    old = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2 * honest, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, old)


def outcome(read: Callable[[], Any], path: Path, honest: int) -> Any:
    """Return what reading gives, or None where it is refused: by one sentence that names the file."""
    try:
        with little_memory(honest), warnings.catch_warnings():
            warnings.simplefilter("error")
            return read()
    except (ValueError, OSError) as error:
        assert str(path) in str(error) and "\n" not in str(error), f"{type(error).__name__}: {error}"
        assert not isinstance(error.__cause__, MemoryError), error
        return None


# Archives of lpnet: the zip's directory, the headers of its arrays, its index.


def claims(raw: bytes, rng: np.random.Generator) -> Iterator[Variant]:
    """Archives whose directory or whose arrays' headers promise other sizes, and such with an entry twice."""
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    while True:
        name, content = entries[int(rng.integers(1, len(entries)))]
        factor = int(rng.integers(2, 1 << 30))
        yield "size in an array's header", _zip([(n, _other_shape(c, factor) if n == name else c) for n, c in entries])
        yield "size in the directory", _other_size(raw, rng, factor)
        yield "entry twice", _zip([*entries, (name, content)])
        index = json.loads(entries[0][1])
        twice = json.dumps({**index, "objects": {"dict": {**index["objects"]["dict"], "again": {"array": name[:-4]}}}})
        yield "array read twice", _zip([("lpnet.json", twice.encode()), *entries[1:]])
        yield "array that is not there", _zip([e for e in entries if e[0] != name])


def _zip(entries: list[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that comes twice
        for name, content in entries:
            archive.writestr(zipfile.ZipInfo(name), content)
    return file.getvalue()


def _other_shape(content: bytes, factor: int) -> bytes:
    """Return an .npy file whose header has another first length."""
    file = io.BytesIO(content)
    np.lib.format.read_magic(file)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    out = io.BytesIO()
    header = {"descr": dtype.str, "fortran_order": fortran, "shape": (factor, *shape)}
    np.lib.format.write_array_header_1_0(out, header)
    return out.getvalue() + file.read()


def _other_size(raw: bytes, rng: np.random.Generator, factor: int) -> bytes:
    """Return the archive with other sizes in one entry of its directory."""
    entries = list(_found(raw, b"PK\x01\x02"))
    at, changed = entries[int(rng.integers(len(entries)))], bytearray(raw)
    struct.pack_into("<II", changed, at + 20, factor, factor)
    return bytes(changed)


def _found(raw: bytes, what: bytes) -> Iterator[int]:
    at = raw.find(what)
    while at >= 0:
        yield at
        at = raw.find(what, at + 1)


# States that were edited by hand.

WRONG: dict[type, tuple[Any, ...]] = {
    bool: ("yes", None, [1]),
    int: (-1, 1.5, "3", None, [2]),
    float: (float("nan"), float("inf"), "0.1", None, [0.1]),
    list: ({}, 3, None),
    dict: ([], 3, "text"),
}
OPTIONAL = {"first_loss", "rates", "settings", "functions", "skipped", "batch_size", "shuffle", "drop_last", "length"}
FREE = {"settings"}  # compared only where it is known; what is optional is unknown to earlier versions


def edits(state: Any, where: tuple[str, ...] = ()) -> Iterator[tuple[str, Callable[[Any], None]]]:
    """Yield (what, change) for every value of a nested state: of wrong type, impossible, or gone."""
    for key, value in state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, list) else ():
        place = (*where, key)
        if key in FREE:
            continue
        for other in _others(value):
            shown = f"{other.dtype}{other.shape}" if isinstance(other, np.ndarray) else repr(other)
            if not (key in OPTIONAL and other is None):
                yield f"{'/'.join(map(str, place))} = {shown}", _setter(place, other)
        if isinstance(state, dict) and key not in OPTIONAL and "mean" not in where[-1:] and where[-2:-1] != ("state",):
            yield f"no {'/'.join(map(str, place))}", _remover(place)
        yield from edits(value, place)


def _others(value: Any) -> tuple[Any, ...]:
    if isinstance(value, np.ndarray):
        if not value.ndim:
            return (*map(np.array, (-1, 1.5, np.nan, "3")), None, "text", {})
        spoilt = value.astype(np.float32)
        spoilt.flat[-1:] = np.nan
        return spoilt, value[..., None], value.astype("S1"), value.astype(np.complex64), None, "text", 3, {}
    return WRONG.get(type(value), ())


def _setter(place: tuple[str, ...], value: Any) -> Callable[[Any], None]:
    return lambda state: _within(state, place[:-1]).__setitem__(place[-1], value)


def _remover(place: tuple[str, ...]) -> Callable[[Any], None]:
    return lambda state: _within(state, place[:-1]).__delitem__(place[-1])


def _within(state: Any, place: tuple[str, ...]) -> Any:
    for key in place:
        state = state[key]
    return state


def edited(path: Path, seed: int) -> Iterator[Variant]:
    """Yield the file with one edit in its state, in an order that the seed gives; its checksums are right."""
    honest = lp.load(path)
    every = list(edits(honest))
    for i in np.random.default_rng(seed).permutation(len(every)):
        what, change = every[int(i)]
        state, other = copy.deepcopy(honest), path.with_name("edited.npz")
        change(state)
        lp.save(other, **state)
        raw = other.read_bytes()
        other.unlink()
        yield what, raw


# What reads them.


class Run:
    """A run of a network of two megabytes, stopped in the midst: with averages, a scaler and streams of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.checkpoint = folder, folder / "checkpoint.npz"

        def stop(row: training.Row) -> None:
            if row["epoch"] == 3:
                raise InterruptedError

        with contextlib.suppress(InterruptedError):
            lp.fit(**self.parts(), out=folder, progress=stop, config={})
        self.files = {file: file.read_bytes() for file in folder.iterdir()}

    @staticmethod
    def parts() -> dict[str, Any]:
        lp.manual_seed(1)
        digits, _ = lp.data.load("digits")
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, 1500), nn.BatchNorm1d(1500), nn.ReLU(), nn.Linear(1500, 10))
        precision = lp.Precision(momentum=lp.Quantizer("bfp8", stream=lp.random.Stream(2)), accumulator="bfp16")
        optimizer = optim.Adam(model.parameters(), 0.01, precision=precision)
        return {
            "model": model,
            "train": DataLoader(digits[:64], 32, shuffle=True),
            "epochs": 4,
            "optimizer": optimizer,
            "swalp": optim.SWALP(model, optimizer, 2, 1),
            "scaler": optim.LossScaler(8.0, growth_interval=4),
            "schedule": lambda epoch: 0.01,
        }

    def resume(self) -> str:
        """Resume the run and let it end; return its log and a digest of its model."""
        log = lp.fit(**self.parts(), out=self.folder, resume=True, config={}, progress=False)
        return repr(log) + hashlib.sha256((self.folder / "model.npz").read_bytes()).hexdigest()

    def restore(self) -> None:
        """Make the folder as it was."""
        for file in self.folder.iterdir():
            if file not in self.files:
                file.unlink()
        for file, raw in self.files.items():
            file.write_bytes(raw)


def evaluation(folder: Path) -> str:
    """Return what `lpnet eval` prints; raises ValueError with its sentence where it refuses."""
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        code = cli.main(["eval", str(folder), "--device", "cpu"])
    if code:
        assert code == 2 and error.getvalue().startswith("lpnet: error: "), error.getvalue()
        raise ValueError(error.getvalue().removesuffix("\n"))
    return out.getvalue()


def bits(value: Any) -> str:
    """Return the text of a nested state, with a digest of the bits of its arrays."""
    if isinstance(value, dict):
        return repr({key: bits(v) for key, v in value.items()})
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {hashlib.sha256(np.ascontiguousarray(value)).hexdigest()}"
    return repr(value)


class Proof:
    """Counts of variants, by what they are of and what came of them."""

    def __init__(self) -> None:
        self.refused, self.same, self.wrong = Counter(), Counter(), []

    def see(
        self, what: str, kind: str, read: Callable[[], Any], path: Path, honest: Any, size: int, must_fail: bool = False
    ) -> None:
        """Read a damaged file: refused, or as the honest one; `must_fail` where it holds what contradicts itself."""
        try:
            result = outcome(read, path, size)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            self.wrong.append(f"{what}, {kind}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
            return
        if result is not None and (must_fail or result != honest):
            self.wrong.append(f"{what}, {kind}: accepted")
        (self.same if result is not None else self.refused)[what] += 1

    def total(self) -> int:
        return self.refused.total() + self.same.total() + len(self.wrong)


def _bytes(raw: bytes, count: int, seed: int) -> Iterator[Variant]:
    return (("bytes", variant) for variant in flips(raw, count, seed))


def files_of_states(proof: Proof, folder: Path, count: int, packed: str | None, seed: int = 0) -> None:
    """`lp.load` of a model, plain or packed: damaged bytes, and sizes that are not so."""
    lp.manual_seed(0)
    model, path = lp.models.mlp(64), folder / "model.npz"
    if packed:
        optim.SGD(model.parameters(), 0.1, precision=packed)
    model = nn.Sequential(model, nn.Linear(64, 20_000)) if not packed else model
    lp.save(path, packed=packed, model=model, step=3)
    raw, what = path.read_bytes(), f"lp.load of a {'packed ' if packed else ''}model"
    size = max(len(raw), sum(a.nbytes for a in model.state_dict().values()))

    def read() -> str:
        return bits(lp.load(path))

    honest = outcome(read, path, size)
    assert honest
    half, false = count // 2, claims(raw, np.random.default_rng(seed))
    for kind, variant in itertools.chain(_bytes(raw, half, seed), itertools.islice(false, count - half)):
        path.write_bytes(variant)
        proof.see(what, kind, read, path, honest, size, kind != "bytes")


def resumed(proof: Proof, folder: Path, count: int, seed: int = 1) -> None:
    """`fit(resume=True)` from a checkpoint of damaged bytes, of false sizes, and edited by hand."""
    run = Run(folder)
    raw, size = run.files[run.checkpoint], sum(map(len, run.files.values()))
    honest = outcome(run.resume, run.checkpoint, size)
    assert honest
    run.restore()
    sixth, rest, false = count // 6, count - 2 * (count // 6), claims(raw, np.random.default_rng(seed))
    by_hand = itertools.islice(edited(run.checkpoint, seed), rest)
    for kind, variant in itertools.chain(_bytes(raw, sixth, seed), itertools.islice(false, sixth), by_hand):
        run.checkpoint.write_bytes(variant)
        proof.see("fit(resume=True)", kind, run.resume, run.checkpoint, honest, size, kind != "bytes")
        run.restore()


def evaluated(proof: Proof, folder: Path, count: int, seed: int = 2) -> None:
    """`lpnet eval` of a model of damaged bytes or edited by hand, and of an edited config.json."""
    with contextlib.redirect_stdout(io.StringIO()):
        assert not cli.main(
            [
                "train",
                "--data",
                "digits",
                "--model",
                "mlp",
                "--precision",
                "bfp8",
                "--epochs",
                "1",
                "--quiet",
                "--batch-size",
                "400",
                "--out",
                str(folder),
                "--device",
                "cpu",
            ]
        )
    path, config = folder / "model.npz", folder / "config.json"
    raw, text, honest = path.read_bytes(), config.read_text(), evaluation(folder)
    size = 4 << 20  # of the activations, which are larger than the file
    third = count // 3
    for kind, variant in itertools.chain(_bytes(raw, third, seed), itertools.islice(edited(path, seed), third)):
        path.write_bytes(variant)
        proof.see("lpnet eval", kind, lambda: evaluation(folder), path, honest, size, kind != "bytes")
        path.write_bytes(raw)
    texts = [
        (f"{key} = {value!r}", json.dumps({**json.loads(text), key: value}))
        for key in ("data", "model", "batch_size", "seed", "augment", "precision", "rounding")
        for value in (None, -1, 1.5, "nonsense", [], {}, [1])
    ]
    texts += [("truncated", text[:end]) for end in range(0, 300, 7)]
    rng = np.random.default_rng(seed)
    for i in rng.permutation(len(texts))[: count - 2 * third]:
        kind, variant = texts[int(i)]
        config.write_text(variant)
        proof.see("lpnet eval with another config.json", kind, lambda: evaluation(folder), folder, honest, size, True)
    config.write_text(text)


def data_sets(proof: Proof, folder: Path, count: int, seed: int = 3) -> None:
    """`lp.data.load` of idx files, plain and .gz, of a .tar.gz archive, and of the digits that come with lpnet."""
    honest_size = sum(sources.CIFAR10.limit(name) for name in sources.CIFAR10.files)

    def read(name: str, *root: Path) -> Callable[[], str]:
        return lambda: repr([a.tobytes() for part in load(name, *root) for a in (part.images, part.labels)])

    contents, _ = small.idx_files()
    for zipped in (False, True):
        place = folder / f"mnist{zipped}"
        small.write(place, contents, zipped)
        good = read("mnist", place)()

        def pixels(place: Path = place, good: str = good) -> str:
            return good if len(read("mnist", place)()) > 0 else ""

        for j, name in enumerate(contents):
            path = place / (name + ".gz" * zipped)
            raw = path.read_bytes()
            for variant in flips(raw, count // 16, seed + j):
                path.write_bytes(variant)
                if zipped or len(variant) != len(raw):  # a plain idx file has a length, but no checksum
                    proof.see("idx files", "bytes", read("mnist", place), place / name, good, honest_size)
                else:
                    proof.see("idx files", "a plain one's bit", pixels, place / name, good, honest_size)
            path.write_bytes(raw)
    path = folder / small.CIFAR.downloads[0].name
    path.write_bytes(raw := small.archive())
    good = read("cifar100", folder)()
    for variant in flips(raw, count // 4, seed):
        path.write_bytes(variant)
        proof.see("archive", "bytes", read("cifar100", folder), path, good, honest_size)
    place, raw = folder / "digits.npz", Path(_load.__file__).with_name("digits.npz").read_bytes()
    with mock.patch.object(_load, "__file__", str(folder / "_load.py")):
        for variant in flips(raw, count - 8 * (count // 16) - count // 4, seed):
            place.write_bytes(variant)
            proof.see("digits.npz", "bytes", read("digits"), place, None, len(raw) + (4 << 20), True)


def prove(folder: Path, count: int) -> Proof:
    """Return what came of `count` damaged files."""
    proof = Proof()
    for name, share, make in (
        ("plain", 0.2, lambda place, n: files_of_states(proof, place, n, None)),
        ("packed", 0.1, lambda place, n: files_of_states(proof, place, n, "bfp8")),
        ("run", 0.35, lambda place, n: resumed(proof, place, n)),
        ("eval", 0.15, lambda place, n: evaluated(proof, place, n)),
        ("data", 0.2, lambda place, n: data_sets(proof, place, n)),
    ):
        (folder / name).mkdir()
        with mock.patch.object(picture, "try_save"):  # pictures take memory of their own
            make(folder / name, round(share * count))
    return proof


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="damaged files in all")
    with tempfile.TemporaryDirectory() as there:
        found = prove(Path(there), parser.parse_args().count)
    for what in found.refused | found.same:
        print(f"{what}: {found.refused[what]} refused in a sentence, {found.same[what]} read as the honest file")
    print(*sorted(set(found.wrong)), f"{found.total()} damaged files, {len(found.wrong)} wrong outcomes", sep="\n")
    sys.exit(bool(found.wrong))
