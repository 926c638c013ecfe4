"""CuPy: whether it works, its compiler and its cuBLAS. The only file that imports it."""

from __future__ import annotations

import functools
import hashlib
import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..files import atomic_write
from .arrays import Array, get_array_module

_turn: int | None = None  # of this process among those that share the GPUs of a machine; None: it is alone
_device: Any = None  # the GPU that is its own then


@functools.cache
def cuda_problem() -> str | None:
    """Return why CUDA cannot be used here and what would change that, or None if it can (tried once, in earnest)."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError:
        return "cupy is not installed: pip install 'lpnet[cuda12]' or 'lpnet[cuda13]', as the driver has it"
    try:
        _choose_own(cupy)
        one = cupy.ones((2, 2), cupy.float32)
        (one @ one).get()  # waits: NVRTC, cuBLAS and the device itself have worked
    except Exception as error:  # whatever is lacking, the sentence is the result
        return _advice(error)
    return None


def _advice(error: Exception) -> str:
    """Return a sentence with what to install or change so that this error of CuPy's goes away."""
    text = " ".join(str(error).split())
    for sign, advice in {
        "cudaErrorInsufficientDriver": "the NVIDIA driver is missing or older than this CuPy needs: update the driver, "
        "or install 'lpnet[cuda12]' in place of 'lpnet[cuda13]'",
        "cudaErrorNoDevice": "there is a driver but no GPU that this process may see: check CUDA_VISIBLE_DEVICES",
        "Out of memory": "the GPU's memory is taken by other processes: end them, or choose another GPU with "
        "CUDA_VISIBLE_DEVICES",
        "Failure finding": "a library of CUDA is missing: pip install 'lpnet[cuda12]' or 'lpnet[cuda13]' brings it",
    }.items():
        if sign in text:
            return f"{advice} ({text})"
    return f"cupy is installed, but the GPU does not work ({text})"


def cuda_available() -> bool:
    """Return whether arrays can live on a GPU; `cuda_problem()` says why not."""
    return cuda_problem() is None


def take_device(turn: int) -> None:
    """Have this process use the GPU of this number, counted round, from when it first asks for one."""
    global _turn
    _turn = turn
    forget_cuda()


def _choose_own(cupy: Any) -> None:
    global _device
    if _turn is not None:
        _device = cupy.cuda.Device(_turn % cupy.cuda.runtime.getDeviceCount())
        use_own_device()


def use_own_device() -> None:
    """Have this thread use the GPU of its process: CUDA begins each thread on the first."""
    if _device is not None:
        _device.use()


def nccl_address() -> str | None:
    """Return what tells this process's GPU from others of the machine, or None where CuPy has no NCCL."""
    if not importlib.import_module("cupy.cuda.nccl").available:
        return None
    return sys.modules["cupy"].cuda.Device().pci_bus_id


def nccl_group(size: int, rank: int) -> Any:
    """Return CuPy's communicator of so many GPUs, one a process, all of which come here.

    MPI hands its id round: CuPy's own server has one port for all trainings of a machine, and would be forked off here.
    """
    return importlib.import_module("cupyx.distributed").init_process_group(size, rank, use_mpi=True)


_forgetters: list[Callable[[], None]] = []


def on_forget(forgetter: Callable[[], None]) -> None:
    """Have `forget_cuda` call this, too: for what else was found out about arrays or kernels of CuPy."""
    _forgetters.append(forgetter)


def raw_module(source: str, options: tuple[str, ...]) -> Any:
    """Return CuPy's module of the kernels of a CUDA source; what was compiled once is kept where CuPy keeps its own.

    Not RawModule(code=source): that compiles with -ftz=true, by which numbers below the smallest normal one, such as
    the gap of a block of zeros, become 0.
    """
    cupy = sys.modules["cupy"]
    version = cupy.cuda.nvrtc.getVersion(), cupy.cuda.Device().compute_capability
    key = hashlib.sha256(repr((source, options, version)).encode()).hexdigest()[:32]
    folder = Path(os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache")
    file = folder / f"lpnet-{key}.cubin"
    if not file.exists():
        code, _ = cupy.cuda.compiler.compile_using_nvrtc(source, options)
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as out:
            out.write(code)
    return cupy.RawModule(path=str(file))


CAST = """
extern "C" __global__ void cast(const FROM* x, TO* y, long long n) {
  for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < n; i += (long long)gridDim.x * blockDim.x)
    y[i] = (TO)x[i];
}
"""


def cast(x: Array, dtype: Any) -> Array:
    """Return float32 or float64 numbers in the other type, subnormals, too, which CuPy's `astype` makes zeros of."""
    cupy, wide = sys.modules.get("cupy"), np.dtype(dtype) == np.float64
    if get_array_module(x) is not cupy or x.dtype == dtype:
        return x.astype(dtype, copy=False)
    x, y = cupy.ascontiguousarray(x), cupy.empty(x.shape, dtype)
    if x.size:
        _caster(wide)((min(-(-x.size // 256), 65535), 1), (256,), (x, y, np.int64(x.size)))
    return y


@functools.cache
def _caster(wide: bool) -> Any:
    types = ("-DFROM=float", "-DTO=double") if wide else ("-DFROM=double", "-DTO=float")
    return raw_module(CAST, ("-std=c++17", *types)).get_function("cast")


def forget_cuda() -> None:
    """Forget what was found out about CuPy and compiled with it, so that it is looked for again."""
    for forget in (cuda_problem.cache_clear, _caster.cache_clear, *_forgetters):
        forget()


if hasattr(os, "register_at_fork"):  # a child cannot use its parent's GPU
    os.register_at_fork(after_in_child=forget_cuda)
