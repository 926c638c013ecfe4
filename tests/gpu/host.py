"""Kernels for the GPU, built for the host by g++ and called through ctypes: the same text, one thread at a time."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lpnet.kernels.cuda.launch import parameters

COMPILER = shutil.which("g++")
FLAGS = (
    "-O2",
    "-std=c++17",
    "-ffp-contract=off",
    "-fPIC",
    "-shared",
    "-Wall",
    "-Wextra",
    "-Wno-unknown-pragmas",
    "-Werror",
)
HEADER = Path(__file__).with_name("host.h")
CACHE = Path(tempfile.gettempdir(), f"lpnet-stand-in-{os.getuid()}")  # where the stand-in keeps what it has compiled


def launchers(code: str) -> str:
    """Return C functions NAME_host(grid_x, grid_y, block, arguments) for the kernels of a source, macros expanded."""
    text = []
    for name, known in parameters(code).items():
        typed, names = ", ".join(f"{kind} {name}" for name, kind in known.items()), ", ".join(known)
        text.append(
            f'extern "C" void {name}_host(unsigned grid_x, unsigned grid_y, unsigned block, {typed}) '
            f"{{ run(grid_x, grid_y, block, [&] {{ {name}({names}); }}); }}\n"
        )
    return "".join(text)


@functools.cache
def build(code: str, options: Sequence[str] = ()) -> Path:
    """Return the library of a source's kernels, a file; it is built once, whichever process comes first."""
    source = f"{HEADER.read_text(encoding='utf-8')}{code}{launchers(code)}"
    defines = [option for option in options if option.startswith("-D")]
    key = hashlib.sha256(" ".join([source, *defines, *FLAGS]).encode()).hexdigest()[:16]
    library = Path(tempfile.gettempdir()) / f"lpnet-kernels-{os.getuid()}-{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory() as folder:
            file, made = Path(folder, "kernels.cpp"), Path(folder, "kernels.so")
            file.write_text(source, encoding="utf-8")
            subprocess.run([COMPILER, *FLAGS, *defines, str(file), "-o", str(made)], check=True)
            shutil.move(made, f"{library}.{os.getpid()}")
        os.replace(f"{library}.{os.getpid()}", library)
    return library
