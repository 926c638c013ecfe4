"""Devices, "cpu" and "cuda": where an array lives, and moving it there."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from .arrays import Array, get_array_module
from .cuda import cuda_available, cuda_problem

DEVICES = ("cpu", "cuda")


def choose_device(device: str | None = None) -> str:
    """Return "cpu" or "cuda": the one asked for, or, asked for none, the GPU where there is one that works.

    Raises ValueError for another name, RuntimeError with the reason if "cuda" is asked for and cannot be had.
    """
    if device is None:
        return "cuda" if cuda_available() else "cpu"
    if device not in DEVICES:
        raise ValueError(f'device: got {device!r}, expected "cpu" or "cuda"')
    if device == "cuda" and (problem := cuda_problem()) is not None:
        raise RuntimeError(f"device cuda cannot be used: {problem}")
    return device


def device_of(x: Array) -> str:
    """Return where an array lives, "cpu" or "cuda"."""
    return "cpu" if get_array_module(x) is np else "cuda"


def on_host(x: Array) -> bool:
    """Return whether the numbers of an array can be read without waiting for a GPU."""
    return get_array_module(x) is np


def to_device(x: Array, device: str) -> Array:
    """Return the array `x` on `device`, "cpu" or "cuda"; no copy if it is there already.

    Raises ValueError for another device name, RuntimeError with the reason if CUDA cannot be used, MemoryError that
    says how much was asked for if the array does not fit.
    """
    if choose_device(device) == "cpu":
        return x.get() if get_array_module(x) is not np else np.asarray(x)
    with enough_memory(f"an array of shape {getattr(x, 'shape', '()')}"):
        return sys.modules["cupy"].asarray(x)


def to_device_of(x: Array, other: Array) -> Array:
    """Return the array `x` on the device where `other` lives; no copy if it is there already."""
    return x if get_array_module(x) is get_array_module(other) else to_device(x, device_of(other))


def copy_like(x: Any, like: Array) -> Array:
    """Return a copy of the array or list `x` on the device and in the dtype of `like`."""
    xp = get_array_module(like)
    return xp.array(x if xp is not np else to_device(x, "cpu"), dtype=like.dtype)


def check_one_device(owner: str, *arrays: Array) -> None:
    """Raise ValueError unless all arrays are on one device."""
    if "cupy" not in sys.modules:
        return
    devices = [device_of(x) for x in arrays]
    if len(set(devices)) > 1:
        raise ValueError(
            f"{owner}: its inputs are on different devices, {', '.join(devices)}; move them to one with "
            "model.to(device) and lpnet.to_device(array, device)"
        )


@contextlib.contextmanager
def enough_memory(what: str, advice: str = "make room on it, or use smaller arrays") -> Iterator[None]:
    """Say, where the GPU has no room left in this block, for what, how much was asked for, and what would help."""
    try:
        yield
    except MemoryError as error:
        if type(error).__module__.split(".")[0] in ("builtins", "numpy"):
            raise  # the host's, or said already
        raise MemoryError(f"the GPU has no room for {what}: {str(error).rstrip('.')}; {advice}") from error
