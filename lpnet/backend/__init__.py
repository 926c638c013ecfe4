"""What lpnet stands on: arrays and their module, devices, threads, memory, CUDA. One noun a file."""

from __future__ import annotations

from .arrays import Array, get_array_module, select
from .bits import positive, select_by_bits
from .blas import one_blas_thread
from .cuda import (
    cast,
    cuda_available,
    cuda_problem,
    forget_cuda,
    nccl_address,
    nccl_group,
    on_forget,
    raw_module,
    take_device,
    use_own_device,
)
from .devices import (
    DEVICES,
    check_one_device,
    choose_device,
    copy_like,
    device_of,
    enough_memory,
    on_host,
    to_device,
    to_device_of,
)
from .foreign import through
from .memory import empty, empty_cache
from .pieces import elementwise, parallel, slices
from .threads import MOST_PROCESSES, get_num_threads, processors, set_num_threads

__all__ = [
    "DEVICES",
    "MOST_PROCESSES",
    "Array",
    "cast",
    "check_one_device",
    "choose_device",
    "copy_like",
    "cuda_available",
    "cuda_problem",
    "device_of",
    "elementwise",
    "empty",
    "empty_cache",
    "enough_memory",
    "forget_cuda",
    "get_array_module",
    "get_num_threads",
    "nccl_address",
    "nccl_group",
    "on_forget",
    "on_host",
    "one_blas_thread",
    "parallel",
    "positive",
    "processors",
    "raw_module",
    "select",
    "select_by_bits",
    "set_num_threads",
    "slices",
    "take_device",
    "through",
    "to_device",
    "to_device_of",
    "use_own_device",
]
