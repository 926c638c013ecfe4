"""NVIDIA's runtime compiler, through ctypes: it needs neither a GPU nor a driver."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any


@functools.cache
def library() -> Any:
    """Return NVRTC of the wheel nvidia-cuda-nvrtc, or of the system; None where there is none."""
    spec = importlib.util.find_spec("nvidia")
    folders = spec.submodule_search_locations if spec is not None else []
    found = [str(file) for folder in folders for file in sorted(Path(folder).glob("**/libnvrtc.so.*"))]
    for folder in {Path(file).parent for file in found}:
        for builtins in folder.glob("libnvrtc-builtins.so.*"):
            ctypes.CDLL(str(builtins))  # which NVRTC asks for by its bare name
    for name in (*found, "libnvrtc.so.13", "libnvrtc.so.12"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def compiled(source: str, options: Sequence[str]) -> bytes:
    """Return the machine code of a source; raises RuntimeError with what the compiler says, warnings too."""
    nvrtc, program = library(), ctypes.c_void_p()
    _call("nvrtcCreateProgram", ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None)
    try:
        words = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        failed = nvrtc.nvrtcCompileProgram(program, len(options), words)
        if (log := _text("ProgramLog", program).rstrip(b"\0").strip()) or failed:
            raise RuntimeError(log.decode())
        return _text("CUBIN", program)
    finally:
        _call("nvrtcDestroyProgram", ctypes.byref(program))


def _text(what: str, program: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    _call(f"nvrtcGet{what}Size", program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value)
    _call(f"nvrtcGet{what}", program, text)
    return text.raw


def _call(name: str, *arguments: Any) -> None:
    if error := getattr(library(), name)(*arguments):
        raise RuntimeError(f"{name} failed with error {error}")
