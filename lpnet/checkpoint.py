"""Saving and loading: nested dictionaries of arrays, numbers and text in one .npz file, atomically, without pickle.

The file is a zip archive of .npy arrays, readable with `numpy.load`, plus one entry `lpnet.json` with everything that
is no array; the archive's checksums tell a damaged file. Arrays on the grid of a format can lie there in its codes.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np

from . import formats
from .backend import device_of, to_device
from .files import atomic_write, foreign
from .formats import Encoded, Format
from .tensor import Tensor

_INDEX, _VERSION = "lpnet.json", 1


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
    with atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
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
            known = foreign(path) or f"damaged, or not a file of lpnet ({error})"
            raise ValueError(f"{path}: {known}") from error
    if version != _VERSION:
        raise ValueError(f"{path}: written by another version of lpnet (file version {version})")
    return objects


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
        return _move(value, name, arrays, fmt)
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"save: {name} is a {type(value).__name__}, which cannot be saved")


def _move(value: np.ndarray, name: str, arrays: dict[str, np.ndarray], fmt: Format | None) -> dict[str, Any]:
    """Move an array to `arrays`, in codes where it can be; return what stands in its place."""
    while {name, f"{name}.codes", f"{name}.scales"} & arrays.keys():  # {"a/b": x, "a": {"b": y}}
        name += "'"
    if (encoded := encode_exactly(value, fmt)) is not None:
        arrays[f"{name}.codes"], arrays[f"{name}.scales"] = encoded.codes, encoded.scales
        shape, dtype = list(value.shape), str(value.dtype)
        return {"codes": name, "format": str(fmt), "shape": shape, "dtype": dtype, "crc": _crc(value)}
    arrays[name] = value
    return {"array": name}


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
    return zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data)


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
