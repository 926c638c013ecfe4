"""Models as safetensors files, with PyTorch's names; rounded numbers may lie there in the codes of their format.

A packed array NAME is two tensors of uint8, NAME.codes and NAME.scales (left out where the format has none), as
`Format.encode` gives them. The metadata's entry "lpnet" is JSON:

    {"version": 1, "packed": {NAME: {"format": "bfp8", "shape": [64, 3, 3, 3], "dtype": "float32", "crc": 123}}}

crc is that of the bytes of the array. docs/guides/files.md says how to read codes and scales without lpnet.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import formats
from ..backend import to_device
from ..checkpoint import OtherFormat, decode_exactly, description, encode_exactly, readable_format
from ..files import atomic_write, foreign
from ..formats import Encoded, Format
from ..nn import Module
from ..tensor import Tensor
from .libraries import library

State = Mapping[str, Any]  # arrays and tensors by name
_VERSION = 1
_NUMPY = {
    "F64": "f8",
    "F32": "f4",
    "F16": "f2",
    "I64": "i8",
    "I32": "i4",
    "I16": "i2",
    "I8": "i1",
    "U64": "u8",
    "U32": "u4",
    "U16": "u2",
    "U8": "u1",
    "BOOL": "?",
}
_CODED = {"BF16": ("bf16", "u2"), "F8_E4M3": ("e4m3", "u1"), "F8_E5M2": ("e5m2", "u1")}  # NumPy has no such numbers


def save(path: str | os.PathLike[str], model: Module | State, packed: Format | str | None = None) -> None:
    """Write a model, or arrays by name, to a safetensors file, whole or not at all.

    packed, a format or its name: arrays whose numbers all are numbers of it are stored in its codes where that takes
    less room, and load as they were. Raises TypeError for what is no array of real numbers, ValueError for names that
    meet, OSError naming the file if it cannot be written, ImportError where safetensors is missing.
    """
    numpy, fmt = library("safetensors.numpy"), None if packed is None else readable_format(packed)
    arrays: dict[str, np.ndarray] = {}
    index: dict[str, Any] = {}
    for name, value in (model.state_dict() if isinstance(model, Module) else model).items():
        array = _array(name, value)
        encoded = encode_exactly(array, fmt)
        parts = {name: array} if encoded is None else _parts(name, encoded)
        if encoded is not None:
            index[name] = description(encoded, array)
        if met := parts.keys() & arrays.keys():
            raise ValueError(f"save: there would be two tensors {min(met)!r}; rename one")
        arrays |= parts
    metadata = {"format": "pt"} | ({"lpnet": json.dumps({"version": _VERSION, "packed": index})} if index else {})
    with atomic_write(path) as file:
        file.write(numpy.save(arrays, metadata))


def _array(name: str, value: Any) -> np.ndarray:
    array = np.ascontiguousarray(to_device(value.data if isinstance(value, Tensor) else value, "cpu"))
    if array.dtype.kind not in "biuf":
        raise TypeError(f"save: {name} must be an array of real numbers, got {type(value).__name__}")
    return array.reshape(np.shape(value))  # ascontiguousarray makes one axis of none


def _parts(name: str, encoded: Encoded) -> dict[str, np.ndarray]:
    parts = {f"{name}.codes": encoded.codes, f"{name}.scales": encoded.scales}
    return {key: array for key, array in parts.items() if array.size}


def load(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Return the arrays of a safetensors file by name, those that `save` packed as they were: `load_state_dict`'s food.

    bfloat16 and 8-bit floating point become float32. Raises FileNotFoundError if there is no such file, ValueError if
    it is damaged, no safetensors file, or packed in a format that is unknown here.
    """
    safetensors = library("safetensors")
    with open(path, "rb") as file:
        content = file.read()
    try:
        arrays = {name: _view(tensor) for name, tensor in safetensors.deserialize(content)}
        index = json.loads(_metadata(content).get("lpnet", '{"version": 1, "packed": {}}'))
        if index["version"] != _VERSION:
            raise ValueError(f"written by another version of lpnet (file version {index['version']})")
        unpacked = {name: _unpack(name, about, arrays) for name, about in index["packed"].items()}
        return arrays | unpacked
    except OtherFormat as error:
        raise ValueError(f"{path}: {error}") from error
    except (safetensors.SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
        known = "" if content[8:9] == b"{" else foreign(path)
        raise ValueError(f"{path}: {known or f'damaged, or not a file that lpnet can read ({error})'}") from error


def _metadata(content: bytes) -> dict[str, str]:
    """Return what the header says besides the tensors: its length, 8 bytes, comes first, then JSON."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    metadata: dict[str, str] = header.get("__metadata__", {})
    return metadata


def _view(tensor: Mapping[str, Any]) -> np.ndarray:
    kind = tensor["dtype"]
    if kind in _NUMPY:
        return np.frombuffer(tensor["data"], f"<{_NUMPY[kind]}").reshape(tensor["shape"])
    if kind not in _CODED:
        raise ValueError(f"numbers of type {kind}, which lpnet does not read")
    fmt, code = _CODED[kind]
    codes = np.frombuffer(tensor["data"], f"<{code}").astype(np.uint64)
    return formats.format(fmt).from_codes(codes, np.dtype(np.float32)).reshape(tensor["shape"])


def _unpack(name: str, about: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return the array that was packed under this name, and take its two tensors out of `arrays`."""
    codes, scales = arrays.pop(f"{name}.codes"), arrays.pop(f"{name}.scales", np.empty(0, np.uint8))
    return decode_exactly(name, about, codes, scales)
