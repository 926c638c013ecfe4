"""Kernels for the GPU, built for the host by g++ and called through ctypes: the same text, one thread at a time."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

COMPILER = shutil.which("g++")
FLAGS = ("-O2", "-std=c++17", "-ffp-contract=off", "-fPIC", "-shared", "-Wall", "-Wextra", "-Wno-unknown-pragmas",
         "-Werror")  # fmt: skip
HEADER = Path(__file__).with_name("host.h")
SIGNATURE = re.compile(r'extern "C" __global__ void (\w+)\((.*?)\) \{', re.DOTALL)


def launchers(code: str) -> str:
    """Return C functions NAME_host(grid_x, grid_y, block, arguments) for the kernels of a source, macros expanded."""
    text = []
    for name, parameters in SIGNATURE.findall(code):
        for macro, meaning in re.findall(r"#define ([A-Z]+) ((?:int|i64) .*)", code):
            parameters = re.sub(rf"\b{macro}\b", meaning, parameters)
        names = ", ".join(p.split()[-1].lstrip("*") for p in parameters.split(","))
        text.append(f'extern "C" void {name}_host(unsigned grid_x, unsigned grid_y, unsigned block, {parameters}) '
                    f"{{ run(grid_x, grid_y, block, [&] {{ {name}({names}); }}); }}\n")  # fmt: skip
    return "".join(text)


@functools.cache
def build(code: str, options: Sequence[str] = ()) -> ctypes.CDLL:
    """Return the library of a source's kernels; it is built once, whichever process comes first."""
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
    return ctypes.CDLL(str(library))
