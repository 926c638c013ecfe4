"""The CUDA sources beside this file: compiled when first asked for, and launched with their arguments by name."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from importlib import resources
from typing import Any

import numpy as np

from ... import rounding
from ...backend import on_forget, raw_module

THREADS, MOST_BLOCKS = 256, 65535  # of a launch; a thread takes more than one thing where there are more
NUMBERS = {"int": np.int32, "i64": np.int64, "u64": np.uint64}
MODES = tuple(rounding.MODES)  # those of lpnet, in order: a user may register others
KERNEL = re.compile(r'extern "C" __global__ void (?:[A-Z]+\(\d\)\s+)?(\w+)\((.*?)\) \{', re.DOTALL)
MACRO = re.compile(r"#define ([A-Z]+) ((?:int|i64) .*)")  # that stands for parameters


def launch(file: str, kernel: str, things: int | tuple[int, int], dtype: Any, /, **arguments: Any) -> None:
    """Run a kernel for so many things, or (things, rows), on the GPU, without waiting for it.

    `arguments` has all that the kernel's text names: contiguous CuPy arrays, None for no array, and numbers, which are
    given its types; dtype is its REAL. Raises TypeError where one is missing or one too many.
    """
    n, rows = things if isinstance(things, tuple) else (things, 1)
    known = _types(file, kernel, dtype)
    if wrong := known.keys() ^ arguments.keys():
        raise TypeError(f"kernel {kernel} takes {', '.join(known)}; missing or unknown: {', '.join(sorted(wrong))}")
    typed = tuple([as_type(arguments[name]) for name, as_type in known.items()])
    grid = min(-(-n // THREADS), MOST_BLOCKS), min(rows, MOST_BLOCKS)
    _kernel(file, kernel, np.dtype(dtype).itemsize == 8)(grid, (THREADS,), typed)


NULL = np.uint64(0)


@functools.cache
def _types(file: str, kernel: str, dtype: Any) -> dict[str, Callable[[Any], Any]]:
    """Return what makes each argument of a kernel what it takes, by name."""
    real = np.dtype(dtype).type
    numbers = {"REAL": real, **NUMBERS}
    known = parameters(source(file))[kernel].items()
    return {name: numbers.get(kind, lambda x: NULL if x is None else x) for name, kind in known}


@functools.cache
def parameters(code: str) -> dict[str, dict[str, str]]:
    """Return the parameters of every kernel of a source in order, by name: their types, as in "const REAL*"."""
    found, macros = {}, dict(MACRO.findall(code))
    for kernel, inside in KERNEL.findall(code):
        expanded = re.sub(r"\b[A-Z]+\b", lambda word: macros.get(word[0], word[0]), inside)
        words = [parameter.strip().rsplit(maxsplit=1) for parameter in expanded.split(",")]
        found[kernel] = {name: kind for kind, name in words}
    return found


@functools.cache
def source(file: str) -> str:
    """Return the text of a file of kernels, after what all share and the modes of rounding as Python lists them."""
    modes = ", ".join(f"MODE_{name.upper()}" for name in MODES)
    texts = ((resources.files(__package__) / name).read_text(encoding="utf-8") for name in ("real.cuh", file))
    return f"enum Mode {{ {modes} }};\n" + "".join(texts)


def options(double: bool) -> tuple[str, ...]:
    """Return the options of NVRTC for kernels on float64 or float32."""
    return ("-std=c++17", "--fmad=false", f"-DREAL={'double' if double else 'float'}", f"-DDOUBLE={int(double)}")


@functools.cache
def _kernel(file: str, kernel: str, double: bool) -> Any:
    return _module(file, double).get_function(kernel)


@functools.cache
def _module(file: str, double: bool) -> Any:
    return raw_module(source(file), options(double))


on_forget(_kernel.cache_clear)
on_forget(_module.cache_clear)
