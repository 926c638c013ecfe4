"""A stand-in for NCCL, as strict as CuPy's `cupyx.distributed` or stricter: mpi4py does the work, in the host's memory.

Like NCCL it refuses two processes on one GPU. It says nothing about speed, streams or what a GPU does while it waits.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from lpnet.kernels.cuda import cublas

from . import blas, host, standin

available = True  # as in cupy.cuda.nccl
calls: list[tuple[str, str]] = []  # the collectives, and the dtypes of what went through them
DTYPES = "bBiIlLqQefdFD"  # that CuPy has a type of NCCL for


class NCCLBackend:
    """The communicator of one process; it belongs to the GPU that was in use when it was made."""

    def __init__(self, n_devices: int, rank: int) -> None:
        from mpi4py import MPI

        self.n, self.comm, self.device = n_devices, MPI.COMM_WORLD, standin.Device().id
        if len(set(self.comm.allgather((MPI.Get_processor_name(), self.device)))) < n_devices:
            raise RuntimeError("NCCL_ERROR_INVALID_USAGE: invalid usage: Duplicate GPU detected")
        assert (self.comm.size, self.comm.rank) == (n_devices, rank)

    def all_to_all(self, in_array: Any, out_array: Any, stream: Any = None) -> None:
        """Send in_array[i] to process i."""
        self._check(in_array, out_array)
        if in_array.shape[0] != self.n or out_array.shape != in_array.shape:
            raise RuntimeError(f"all_to_all: {in_array.shape}, {out_array.shape} are not {self.n} parts of a size")
        self.comm.Alltoall(in_array.host, out_array.host)
        calls.append(("all_to_all", str(in_array.dtype)))

    def all_gather(self, in_array: Any, out_array: Any, count: int, stream: Any = None) -> None:
        """Send in_array to all; NCCL would write past the end of an array for which `count` is too large."""
        self._check(in_array, out_array)
        if in_array.size != count or out_array.size != count * self.n:
            raise RuntimeError(f"all_gather: {count} of {in_array.size} numbers to {out_array.size}")
        self.comm.Allgather(in_array.host, out_array.host)
        calls.append(("all_gather", str(in_array.dtype)))

    def _check(self, *arrays: Any) -> None:
        for array in arrays:
            if not isinstance(array, standin.ndarray):
                raise TypeError(f"NCCL takes arrays of the GPU, got {type(array)}")
            if not (array.flags.c_contiguous or array.flags.f_contiguous):
                raise RuntimeError("NCCL requires arrays to be either c- or f-contiguous")
            if array.dtype.char not in DTYPES or array.dtype != arrays[0].dtype:
                raise TypeError(f"Unknown dtype {array.dtype} for NCCL")
        if standin.Device().id != self.device:
            raise RuntimeError("the communicator belongs to another GPU than the thread's")


def init_process_group(
    n_devices: int,
    rank: int,
    *,
    backend: str = "nccl",
    host: str | None = None,
    port: int | None = None,
    use_mpi: bool = False,
) -> NCCLBackend:
    """Return the communicator; all processes come here."""
    assert use_mpi, "CuPy's own server would be forked off a process with MPI and CUDA in it"
    return NCCLBackend(n_devices, rank)


def put_in_place(devices: int) -> None:
    """Have this process find the stand-ins where CuPy would be, with so many GPUs."""
    os.environ["CUPY_CACHE_DIR"] = str(host.CACHE)
    sys.modules |= {
        "cupy": standin,
        "cupy.cuda.nccl": sys.modules[__name__],
        "cupyx.distributed": sys.modules[__name__],
    }
    cublas.CuBLAS, standin.devices = blas.CuBLAS, devices
