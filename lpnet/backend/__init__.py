"""What lpnet stands on: arrays and their module, devices, threads, memory, CUDA. One noun a file."""

from __future__ import annotations

from .arrays import get_array_module, select
from .blas import one_blas_thread
from .cuda import cublas, cuda_available, cuda_problem, forget_cuda, kernel_options, kernel_source, launch
from .devices import DEVICES, beside, check_one_device, choose_device, copy_like, device_of, enough_memory, to_device
from .digits import carry_digits, known_digits, note_digits
from .foreign import through
from .memory import empty, empty_cache
from .pieces import elementwise, parallel, slices
from .threads import MOST_PROCESSES, get_num_threads, processors, set_num_threads

__all__ = [
    "DEVICES",
    "MOST_PROCESSES",
    "beside",
    "carry_digits",
    "check_one_device",
    "choose_device",
    "copy_like",
    "cublas",
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
    "kernel_options",
    "kernel_source",
    "known_digits",
    "launch",
    "note_digits",
    "one_blas_thread",
    "parallel",
    "processors",
    "select",
    "set_num_threads",
    "slices",
    "through",
    "to_device",
]
