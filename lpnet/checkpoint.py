"""Saving and loading: nested dictionaries of arrays, numbers and text in one .npz file, atomically, without pickle.

The file is a zip archive of .npy arrays, readable with `numpy.load`, plus one entry `lpnet.json` with everything that
is no array; the archive's checksums tell a damaged file. Arrays on the grid of a format can lie there in its codes.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from . import formats
from .backend import beside, device_of, to_device
from .formats import Encoded, Format
from .precision import Quantizer
from .tensor import Tensor

_INDEX, _VERSION = "lpnet.json", 1
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM)  # from systems that do not synchronise folders
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)  # from those that do not lock
_count = itertools.count()  # of temporary files: two of one name at a time must not meet


def save(path: str | os.PathLike[str], *, packed: Format | str | None = None, **objects: Any) -> None:
    """Write objects to `path` so that either the whole new file is there afterwards or the old one, whatever happens.

    Objects are what has a `state_dict()` (models, optimizers, SWALP, streams), arrays, tensors, numbers, text, None,
    and dictionaries and lists of these. packed, a format or its name: arrays whose numbers all are numbers of it are
    stored in its codes, at a quarter of the size for 8 bits, and load as they were; the others are stored as ever.
    Keys are text or numbers. Raises TypeError for anything else and for a format that cannot be read back by its name,
    ValueError for keys that are the same as text or hold a NUL, OSError naming the file if the disk is full or the
    folder cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    tree = _flatten(objects, "", arrays, None if packed is None else readable_format(packed))
    index = json.dumps({"version": _VERSION, "objects": tree})
    with atomic(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(_INDEX), index)  # without a date: equal contents are equal bytes
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what `save` wrote, with states as dictionaries.

    Raises FileNotFoundError if there is no such file, ValueError if it is damaged or not one of lpnet's, or packed in
    a format that is not registered here, or registered with other numbers.
    """
    with open(path, "rb") as file:
        try:
            version, objects = _read(file)
        except MemoryError as error:
            raise MemoryError(f"{path}: there is not enough memory to load it") from error
        except OtherFormat as error:
            raise ValueError(f"{path}: {error}") from error
        except Exception as error:  # a damaged archive makes zipfile raise almost anything
            raise ValueError(f"{path}: damaged, or not a file of lpnet ({error})") from error
    if version != _VERSION:
        raise ValueError(f"{path}: written by another version of lpnet (file version {version})")
    return objects


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file that takes the place of `path` when the block ends, and vanishes if it fails."""
    path = Path(path)
    if path.is_symlink():
        path = path.resolve()  # the link stays, and what it points to is written
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{next(_count)}.tmp")
    try:
        with open(temporary, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.errno is not None:
            # without a number it is no fault of the disk, but a sentence of whoever writes
            raise OSError(error.errno, f"cannot write {path}: {error.strerror or error}") from error
        raise


def _sync_folder(folder: Path) -> None:
    """Have the renaming itself survive a power failure, where the system lets folders be synchronised."""
    if os.name != "posix":
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def has_state(value: Any) -> bool:
    """Return whether the object gives its state away and takes it back by itself."""
    return hasattr(value, "state_dict") and hasattr(value, "load_state_dict")


class Attributes:
    """The state of an object that has no `state_dict`: those of its attributes that can be saved.

    These are what `save` takes, a Quantizer's stream, and NumPy's generators.
    """

    def __init__(self, owner: Any) -> None:
        self.values = vars(owner)

    def state_dict(self) -> dict[str, Any]:
        """Return values and states of the attributes, by name; not copied."""
        return {name: _state(value) for name, value in self.values.items() if _is_state(value)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned: attributes that came into being later go."""
        for name in self.state_dict().keys() - state.keys():
            del self.values[name]
        for name, value in state.items():
            self.values[name] = _restored(self.values.get(name), value)


def _inner(value: Any) -> Any:
    return getattr(value, "stream", None) if isinstance(value, Quantizer) else value


def _is_state(value: Any) -> bool:
    return has_state(_inner(value)) or isinstance(value, np.random.Generator) or _is_plain(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(_is_plain(item) for item in value)
    array = hasattr(value, "dtype") and hasattr(value, "shape") and not value.dtype.hasobject
    return array or value is None or isinstance(value, bool | int | float | str)


def _state(value: Any) -> Any:
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    return _inner(value).state_dict() if has_state(_inner(value)) else value


def _restored(own: Any, state: Any) -> Any:
    """Return what is in `state`: the object itself where it has one, else a value of the same kind."""
    if has_state(_inner(own)):
        _inner(own).load_state_dict(state)
        return own
    if isinstance(own, np.random.Generator):
        own.bit_generator.state = state
        return own
    if isinstance(own, Tensor | tuple | np.generic) and state is not None:
        return getattr(type(own), "_make", type(own))(state)
    return beside(state, own) if hasattr(own, "dtype") and hasattr(state, "dtype") else state


class Lock:
    """A file that one owner holds at a time; the system lets go of it when the process ends, however it does.

    Raises RuntimeError if another owner, in this process or another, has it. Where the file system has no locks, no
    one is kept out.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(self.descriptor)
            held = os.path.samestat(os.fstat(self.descriptor), os.stat(path))  # else its last owner has deleted it
        except OSError as error:
            os.close(self.descriptor)
            if error.errno not in (errno.EAGAIN, errno.EACCES, errno.ENOENT):
                raise
            held = False
        else:
            if not held:
                os.close(self.descriptor)
        if not held:
            raise RuntimeError(f"{path.parent}: another run is at work in this folder; wait, or choose another one")

    def release(self) -> None:
        """Let go of the file, and delete it."""
        if os.name == "posix":  # first: whoever opened it meanwhile finds that it is no longer there
            self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


def _lock(descriptor: int) -> None:
    """Lock an open file, or raise OSError if it is locked."""
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        return
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise


def readable_format(packed: Format | str) -> Format:
    """Return the format; raises TypeError if its name does not lead back to it."""
    fmt = formats.format(packed)
    with contextlib.suppress(ValueError, TypeError):
        if formats.format(str(fmt)) == fmt:
            return fmt
    raise TypeError(f"save: packed={fmt!s} cannot be read back by that name; save without packed")


def _keys(value: dict[Any, Any], name: str) -> list[str]:
    """Return the keys as text; raises TypeError or ValueError for those that would not come back apart."""
    if wrong := [k for k in value if not isinstance(k, str | int | float)]:
        raise TypeError(f"save: {name} has the key {wrong[0]!r}; keys must be text or numbers")
    keys = [str(k) for k in value]
    if wrong := [k for k in keys if "\0" in k or keys.count(k) > 1]:
        raise ValueError(f"save: {name} has the key {wrong[0]!r}, which holds a NUL or is there twice as text")
    return keys


def _flatten(value: Any, name: str, arrays: dict[str, np.ndarray], fmt: Format | None) -> Any:
    """Return `value` as JSON takes it, with arrays moved to `arrays` and {"array": name} in their place."""
    value = value.state_dict() if hasattr(value, "state_dict") else value
    value = value.data if isinstance(value, Tensor) else value
    value = to_device(value, "cpu") if device_of(value) != "cpu" else value
    if isinstance(value, dict):
        items = zip(_keys(value, name or "save's objects"), value.values(), strict=True)
        return {"dict": {k: _flatten(v, f"{name}/{k}" if name else k, arrays, fmt) for k, v in items}}
    if isinstance(value, list | tuple):
        return [_flatten(v, f"{name}/{i}", arrays, fmt) for i, v in enumerate(value)]
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        while {name, f"{name}.codes", f"{name}.scales"} & arrays.keys():  # {"a/b": x, "a": {"b": y}}
            name += "'"
        if (encoded := encode_exactly(value, fmt)) is not None:
            arrays[f"{name}.codes"], arrays[f"{name}.scales"] = encoded.codes, encoded.scales
            return {"codes": name, **description(encoded, value)}
        arrays[name] = value
        return {"array": name}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"save: {name} is a {type(value).__name__}, which cannot be saved")


def encode_exactly(array: np.ndarray, fmt: Format | None) -> Encoded | None:
    """Return the array in the codes of a format if that takes less room and nothing is lost, else None."""
    if fmt is None or array.dtype not in (np.float32, np.float64):
        return None
    try:
        encoded = fmt.encode(array)
    except (ValueError, NotImplementedError):  # a number, or a format, without codes
        return None
    exact = encoded.decode().tobytes() == np.ascontiguousarray(array).tobytes()
    return encoded if exact and encoded.nbytes < array.nbytes else None


def description(encoded: Encoded, array: np.ndarray) -> dict[str, Any]:
    """Return what a file has to say of an array beside its codes and scales, as JSON takes it."""
    shape, dtype = list(array.shape), str(array.dtype)
    return {"format": str(encoded.format), "shape": shape, "dtype": dtype, "crc": _crc(array)}


def decode_exactly(name: str, about: Mapping[str, Any], codes: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Return the array that `description` is about; raises ValueError if it is not the one that was encoded."""
    shape, dtype = tuple(about["shape"]), np.dtype(about["dtype"])
    encoded = Encoded(_known(about["format"]), shape, dtype, codes, scales)
    _check_packed(encoded, name)
    array = encoded.decode()
    if about.get("crc", _crc(array)) != _crc(array):
        raise OtherFormat(f"{about['format']!r} stands for other numbers here than where the file was written")
    return array


class OtherFormat(ValueError):
    """A packed file is whole, but its format is not the one it was written in."""


def _known(name: str) -> Format:
    """Return the format of a name that a file holds."""
    try:
        return formats.format(name)
    except ValueError as error:
        raise OtherFormat(f"packed in {name!r}, which is unknown here: formats.register it, then load") from error


def _crc(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8))


def _unflatten(value: Any, read: Callable[[str], np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_unflatten(v, read) for v in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return read(value["array"])
    if "codes" in value:
        codes, scales = read(f"{value['codes']}.codes"), read(f"{value['codes']}.scales")
        return decode_exactly(value["codes"], value, codes, scales)
    return {k: _unflatten(v, read) for k, v in value["dict"].items()}


def _check_packed(encoded: Encoded, name: str) -> None:
    """Raise ValueError unless there are as many codes as numbers and as blocks, before room is made for these."""
    fmt, shape = encoded.format, encoded.shape
    arrays = {"codes": encoded.codes, "scales": encoded.scales}
    for (kind, array), bits in zip(arrays.items(), fmt.code_bits(shape), strict=True):
        if min(shape, default=0) < 0 or array.dtype != np.uint8 or array.shape != (-(-bits // 8),):
            raise ValueError(f"{name}: {array.nbytes} bytes of {kind} are not those of {shape} numbers in {fmt}")


def _read(file: IO[bytes]) -> tuple[Any, Any]:
    """Return the file's version and, where it is ours, the objects."""
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        _check_sizes(archive, size)
        index = json.loads(archive.read(_INDEX))
        if index["version"] != _VERSION:
            return index["version"], None
        unread = {info.filename for info in archive.infolist()}
        objects = _unflatten(index["objects"], lambda name: _read_array(archive, name, unread))
        if not isinstance(objects, dict):
            raise ValueError("it holds no dictionary")
        return _VERSION, objects


def _check_sizes(archive: zipfile.ZipFile, size: int) -> None:
    """Raise ValueError unless the entries lie there as they are, once each, and all of them fit into the file."""
    entries = archive.infolist()
    if len({e.filename for e in entries}) < len(entries):
        raise ValueError("an entry is there twice")
    if any(e.compress_type != zipfile.ZIP_STORED or e.file_size != e.compress_size for e in entries):
        raise ValueError("an entry is compressed")
    if sum(e.file_size for e in entries) > size:
        raise ValueError("the entries claim more bytes than the file has")


def _read_array(archive: zipfile.ZipFile, name: str, unread: set[str]) -> np.ndarray:
    unread.remove(f"{name}.npy")  # KeyError: read twice, which could fill the memory from a small file
    with archive.open(f"{name}.npy") as entry:
        major, _ = np.lib.format.read_magic(entry)
        header = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(entry)
        if math.prod(shape) * dtype.itemsize != archive.getinfo(f"{name}.npy").file_size - entry.tell():
            raise ValueError(f"{name}: its header says {shape} of {dtype}, but there are other bytes")
    with archive.open(f"{name}.npy") as entry:  # in pieces: the content beside the array would take twice the memory
        array = np.lib.format.read_array(entry, allow_pickle=False)
        entry.read()  # the end, where the checksum is compared
    return array
