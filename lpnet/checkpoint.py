"""Saving and loading: nested dictionaries of arrays, numbers and text in one .npz file, atomically, without pickle.

The file is a zip archive of .npy arrays, readable with `numpy.load`, plus one entry `lpnet.json` with everything that
is no array; the archive's checksums tell a damaged file. Arrays on the grid of a format can lie there in its codes.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from . import formats
from .backend import device_of, to_device
from .formats import Encoded, Format
from .tensor import Tensor

_INDEX, _VERSION = "lpnet.json", 1


def save(path: str | os.PathLike[str], *, packed: Format | str | None = None, **objects: Any) -> None:
    """Write objects to `path` so that either the whole new file is there afterwards or the old one, whatever happens.

    Objects are what has a `state_dict()` (models, optimizers, SWALP, streams), arrays, tensors, numbers, text, None,
    and dictionaries and lists of these. packed, a format or its name: arrays whose numbers all are numbers of it are
    stored in its codes, at a quarter of the size for 8 bits, and load as they were; the others are stored as ever.
    Raises TypeError for anything else, OSError naming the file if the disk is full or the folder cannot be written.
    """
    arrays: dict[str, np.ndarray] = {}
    tree = _flatten(objects, "", arrays, None if packed is None else formats.format(packed))
    index = json.dumps({"version": _VERSION, "objects": tree})
    with atomic(path) as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo(_INDEX), index)  # without a date: equal contents are equal bytes
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what `save` wrote, with states as dictionaries.

    Raises FileNotFoundError if there is no such file, ValueError if it is damaged or not one of lpnet's.
    """
    with open(path, "rb") as file:
        try:
            version, objects = _read(file)
        except Exception as error:  # a damaged archive makes zipfile raise almost anything
            raise ValueError(f"{path}: damaged, or not a file of lpnet ({error})") from error
    if version != _VERSION:
        raise ValueError(f"{path}: written by another version of lpnet (file version {version})")
    return objects


@contextlib.contextmanager
def atomic(path: str | os.PathLike[str], mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file that takes the place of `path` when the block ends, and vanishes if it fails."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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
        if isinstance(error, OSError):
            raise OSError(error.errno, f"cannot write {path}: {error.strerror or error}") from error
        raise


def _sync_folder(folder: Path) -> None:
    """Have the renaming itself survive a power failure, where the system lets folders be synchronised."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _flatten(value: Any, name: str, arrays: dict[str, np.ndarray], fmt: Format | None) -> Any:
    """Return `value` as JSON takes it, with arrays moved to `arrays` and {"array": name} in their place."""
    value = value.state_dict() if hasattr(value, "state_dict") else value
    value = value.data if isinstance(value, Tensor) else value
    value = to_device(value, "cpu") if device_of(value) != "cpu" else value
    if isinstance(value, dict):
        return {"dict": {str(k): _flatten(v, f"{name}/{k}" if name else str(k), arrays, fmt) for k, v in value.items()}}
    if isinstance(value, list | tuple):
        return [_flatten(v, f"{name}/{i}", arrays, fmt) for i, v in enumerate(value)]
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        while {name, f"{name}.codes", f"{name}.scales"} & arrays.keys():  # {"a/b": x, "a": {"b": y}}
            name += "'"
        if (encoded := _encode(value, fmt)) is not None:
            arrays[f"{name}.codes"], arrays[f"{name}.scales"] = encoded.codes, encoded.scales
            return {"codes": name, "format": str(fmt), "shape": list(value.shape), "dtype": str(value.dtype)}
        arrays[name] = value
        return {"array": name}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"save: {name} is a {type(value).__name__}, which cannot be saved")


def _encode(array: np.ndarray, fmt: Format | None) -> Encoded | None:
    """Return the array in the codes of a format if that takes less room and nothing is lost, else None."""
    if fmt is None or array.dtype not in (np.float32, np.float64):
        return None
    try:
        encoded = fmt.encode(array)
    except (ValueError, NotImplementedError):  # a number, or a format, without codes
        return None
    exact = encoded.decode().tobytes() == np.ascontiguousarray(array).tobytes()
    return encoded if exact and encoded.nbytes < array.nbytes else None


def _unflatten(value: Any, read: Callable[[str], np.ndarray]) -> Any:
    if isinstance(value, list):
        return [_unflatten(v, read) for v in value]
    if not isinstance(value, dict):
        return value
    if "array" in value:
        return read(value["array"])
    if "codes" in value:
        codes, scales = read(f"{value['codes']}.codes"), read(f"{value['codes']}.scales")
        dtype, shape = np.dtype(value["dtype"]), tuple(value["shape"])
        return Encoded(formats.format(value["format"]), shape, dtype, codes, scales).decode()
    return {k: _unflatten(v, read) for k, v in value["dict"].items()}


def _read(file: IO[bytes]) -> tuple[Any, Any]:
    """Return the file's version and, where it is ours, the objects."""
    with zipfile.ZipFile(file) as archive:
        index = json.loads(archive.read(_INDEX))
        if index["version"] != _VERSION:
            return index["version"], None
        return _VERSION, _unflatten(index["objects"], lambda name: _read_array(archive, name))


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    content = archive.read(f"{name}.npy")  # whole, so that its checksum is compared before anything is believed
    return np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
