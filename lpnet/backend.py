"""The array module behind an array (NumPy or CuPy), devices, threads and memory. The only file that imports cupy."""

from __future__ import annotations

import contextlib
import contextvars
import ctypes
import functools
import importlib
import math
import os
import queue
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

Item, Result = TypeVar("Item"), TypeVar("Result")


def get_array_module(x: Any) -> ModuleType:
    """Return the module, numpy or cupy, whose array `x` is (numpy for anything that is no CuPy array)."""
    cupy = sys.modules.get("cupy")  # an array of a module nobody imported cannot exist
    return cupy if cupy is not None and isinstance(x, cupy.ndarray) else np


@functools.cache
def cuda_problem() -> str | None:
    """Return why CUDA cannot be used here, or None if it can (tried once, with a small matrix product)."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError:
        return "cupy is not installed: pip install 'lpnet[cuda12]' or 'lpnet[cuda13]'"
    try:
        one = cupy.ones((2, 2), cupy.float32)
        one @ one
    except Exception as error:  # whatever the driver, NVRTC or cuBLAS lack: the sentence is the result
        return f"cupy is installed, but the GPU does not work: {error}"
    return None


def cuda_available() -> bool:
    """Return whether arrays can live on a GPU; `cuda_problem()` says why not."""
    return cuda_problem() is None


def to_device(x: Any, device: str) -> Any:
    """Return the array `x` on `device`, "cpu" or "cuda"; no copy if it is there already.

    Raises ValueError for another device name, RuntimeError with the reason if CUDA cannot be used.
    """
    if device == "cpu":
        return x.get() if get_array_module(x) is not np else np.asarray(x)
    if device != "cuda":
        raise ValueError(f'device: got {device!r}, expected "cpu" or "cuda"')
    if (problem := cuda_problem()) is not None:
        raise RuntimeError(f"device cuda cannot be used: {problem}")
    return sys.modules["cupy"].asarray(x)


_WORTH = 1 << 18  # numbers; for fewer a second thread costs more than it brings
_n_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_num_threads(n: int) -> None:
    """Set how many threads lpnet computes with; results are the same for every number. Raises ValueError below 1."""
    global _n_threads
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"set_num_threads: n must be an integer of at least 1, got {n!r}")
    for _ in range(_n_threads - 1) if _tasks.cache_info().currsize else ():
        _tasks().put(None)
    _n_threads = n
    _tasks.cache_clear()


def get_num_threads() -> int:
    """Return how many threads lpnet computes with: as many as there are processors, unless set otherwise."""
    return _n_threads


@functools.cache
def _tasks() -> queue.SimpleQueue[_Task | None]:
    """Return the queue that the other threads take tasks from; None ends one of them."""
    tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
    for i in range(1, _n_threads):
        threading.Thread(target=_serve, args=(tasks,), name=f"lpnet-{i}", daemon=True).start()
    return tasks


def _serve(tasks: queue.SimpleQueue[_Task | None]) -> None:
    while (task := tasks.get()) is not None:
        task.run()


class _Task:
    """Work that another thread may help with. An executor's futures take 50 µs longer, a hundred times a step."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work, self.error = functools.partial(contextvars.copy_context().run, work), None
        self.claimed, self.done = threading.Lock(), threading.Lock()
        self.done.acquire()

    def run(self) -> None:
        """Work, unless there is nothing left to do."""
        if self.claimed.acquire(blocking=False):
            try:
                self.work()
            except BaseException as error:  # raised where the result is wanted
                self.error = error
            finally:
                self.done.release()

    def finish(self) -> None:
        """Wait for the end if the work has begun, else call it off; raises what the work raised."""
        if not self.claimed.acquire(blocking=False):
            self.done.acquire()
            if self.error is not None:
                raise self.error


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


class one_blas_thread(contextlib.ContextDecorator):
    """Matrix products in this block use one thread: ours do the work, and sums never depend on how many there are."""

    depth = 0  # of such blocks; the outermost sets and restores the number
    limit: Any = None

    def __enter__(self) -> None:
        cls = type(self)
        if cls.depth == 0:
            cls.limit = _blas().limit(limits=1)
        cls.depth += 1

    def __exit__(self, *_: object) -> None:
        cls = type(self)
        cls.depth -= 1
        if cls.depth == 0:
            cls.limit.restore_original_limits()


def parallel(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return [function(item) for item in items], computed on all threads. What `function` calls must not come here."""
    with one_blas_thread():
        if min(len(items), _n_threads) < 2:
            return [function(item) for item in items]
        return _on_all_threads(function, items)


def _on_all_threads(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    results: list[Any] = [None] * len(items)
    waiting = deque(enumerate(items))

    def work() -> None:
        while waiting:
            try:
                i, item = waiting.popleft()
            except IndexError:  # another thread was quicker
                return
            results[i] = function(item)

    tasks = [_Task(work) for _ in range(1, min(_n_threads, len(items)))]
    for task in tasks:
        _tasks().put(task)
    try:
        work()  # this thread works too
    finally:
        waiting.clear()  # after an error nobody starts another item
        for task in tasks:
            task.finish()
    return results


_SMALL_BLOCK = 1 << 16  # bytes; below, NumPy's own allocation is as fast
_KEPT = 1 << 31  # bytes of freed memory held back for the next arrays, at most
_free: defaultdict[int, list[np.ndarray]] = defaultdict(list)
_free_bytes = 0


class _Loan:
    """Memory lent to arrays: it has gone into their `base`, so it comes back when the last view of it is gone."""

    __slots__ = ("__array_interface__", "memory")

    def __init__(self, memory: np.ndarray) -> None:
        self.memory, self.__array_interface__ = memory, memory.__array_interface__

    def __del__(self, free: Any = _free, kept: int = _KEPT) -> None:
        global _free_bytes
        if _free_bytes + self.memory.nbytes <= kept:
            _free_bytes += self.memory.nbytes
            free[self.memory.nbytes].append(self.memory)


def empty(shape: tuple[int, ...], dtype: Any, xp: ModuleType = np) -> Any:
    """Return an array of any content, in memory that an earlier one has left where there is such.

    The system hands out fresh memory page by page and cleans each: for a large array that takes as long as a pass
    over it. A training step asks for the same sizes as the step before.
    """
    global _free_bytes
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if xp is not np or size < _SMALL_BLOCK:
        return xp.empty(shape, dtype)
    try:
        memory = _free[size].pop()
        _free_bytes -= size
    except IndexError:
        memory = np.empty(size, np.uint8)
    return np.ndarray(shape, dtype, np.asarray(_Loan(memory)))


def slices(n: int, size: int, most: int = 1 << 18) -> list[slice]:
    """Return slices of n samples of `size` numbers, a power of two each: what is worked on at a time, in the cache."""
    step = 1 << max(1, most // max(1, size)).bit_length() - 1
    return [slice(i, i + step) for i in range(0, n, step)]


def elementwise(function: Callable[..., Any], *arrays: Any) -> Any:
    """Return function(*arrays, out=...) of arrays of one shape and dtype, large ones in pieces on all threads."""
    x = arrays[0]
    plain = all(isinstance(a, np.ndarray) and a.flags.c_contiguous for a in arrays)
    if not plain or x.size < _WORTH or any(a.shape != x.shape or a.dtype != x.dtype for a in arrays):
        return function(*arrays)
    flat, y = [a.reshape(-1) for a in arrays], np.empty_like(x)
    out = y.reshape(-1)
    parallel(lambda s: function(*(a[s] for a in flat), out=out[s]), slices(x.size, 1))
    return y


def keep_freed_memory() -> None:
    """Have the C library keep freed memory for the next training step instead of returning it to the system.

    A program that trains, such as the command line, calls it once: a third less time for a small network. It is a
    property of the whole process, so the library itself never does. Without effect where the C library is not glibc.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD: blocks of up to 32 MiB, the most there is, come from the heap ...
        mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD: ... which shrinks only once 1 GiB of it is free
