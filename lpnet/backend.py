"""The array module behind an array (NumPy or CuPy), devices, threads and memory. The only file that imports cupy."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import importlib
import importlib.resources
import math
import os
import queue
import sys
import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

Item, Result = TypeVar("Item"), TypeVar("Result")


def get_array_module(x: Any) -> ModuleType:
    """Return the module, numpy or cupy, whose array `x` is (numpy for anything that is no CuPy array)."""
    cupy = sys.modules.get("cupy")  # an array of a module nobody imported cannot exist
    return cupy if cupy is not None and isinstance(x, cupy.ndarray) else np


DEVICES = ("cpu", "cuda")


@functools.cache
def cuda_problem() -> str | None:
    """Return why CUDA cannot be used here and what would change that, or None if it can (tried once, in earnest)."""
    try:
        cupy = importlib.import_module("cupy")
    except ImportError:
        return "cupy is not installed: pip install 'lpnet[cuda12]' or 'lpnet[cuda13]', as the driver has it"
    try:
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
    }.items():  # fmt: skip
        if sign in text:
            return f"{advice} ({text})"
    return f"cupy is installed, but the GPU does not work ({text})"


def cuda_available() -> bool:
    """Return whether arrays can live on a GPU; `cuda_problem()` says why not."""
    return cuda_problem() is None


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


def device_of(x: Any) -> str:
    """Return where an array lives, "cpu" or "cuda"."""
    return "cpu" if get_array_module(x) is np else "cuda"


def to_device(x: Any, device: str) -> Any:
    """Return the array `x` on `device`, "cpu" or "cuda"; no copy if it is there already.

    Raises ValueError for another device name, RuntimeError with the reason if CUDA cannot be used, MemoryError that
    says how much was asked for if the array does not fit.
    """
    if choose_device(device) == "cpu":
        return x.get() if get_array_module(x) is not np else np.asarray(x)
    with enough_memory(f"an array of shape {getattr(x, 'shape', '()')}"):
        return sys.modules["cupy"].asarray(x)


def beside(x: Any, other: Any) -> Any:
    """Return the array `x` on the device where `other` lives; no copy if it is there already."""
    return x if get_array_module(x) is get_array_module(other) else to_device(x, device_of(other))


def copy_like(x: Any, like: Any) -> Any:
    """Return a copy of the array or list `x` on the device and in the dtype of `like`."""
    xp = get_array_module(like)
    return xp.array(x if xp is not np else to_device(x, "cpu"), dtype=like.dtype)


def check_one_device(owner: str, *arrays: Any) -> None:
    """Raise ValueError unless all arrays are on one device."""
    if "cupy" not in sys.modules:
        return
    devices = [device_of(x) for x in arrays]
    if len(set(devices)) > 1:
        raise ValueError(f"{owner}: its inputs are on different devices, {', '.join(devices)}; move them to one with "
                         "model.to(device) and lpnet.to_device(array, device)")  # fmt: skip


@contextlib.contextmanager
def enough_memory(what: str, advice: str = "make room on it, or use smaller arrays") -> Iterator[None]:
    """Say, where the GPU has no room left in this block, for what, how much was asked for, and what would help."""
    try:
        yield
    except MemoryError as error:
        if type(error).__module__.split(".")[0] in ("builtins", "numpy") or hasattr(error, "explained"):
            raise  # the host's, or said already
        new = MemoryError(f"the GPU has no room for {what}: {str(error).rstrip('.')}; {advice}")
        new.explained = True
        raise new from error


_THREADS, _MOST_BLOCKS = 256, 65535  # of a launch; a thread takes more than one thing where there are more


def launch(file: str, kernel: str, n: int, dtype: Any, *arguments: Any, rows: int = 1) -> None:
    """Run a kernel of lpnet/kernels for n things in each of some rows on the GPU, without waiting for it.

    `arguments` are contiguous CuPy arrays and NumPy scalars of the kernel's types; dtype is the kernel's REAL.
    """
    grid = min(-(-n // _THREADS), _MOST_BLOCKS), min(rows, _MOST_BLOCKS)
    _kernel(file, kernel, np.dtype(dtype).itemsize == 8)(grid, (_THREADS,), arguments)


@functools.cache
def _kernel(file: str, kernel: str, double: bool) -> Any:
    return _kernels(file, double).get_function(kernel)


@functools.cache
def _kernels(file: str, double: bool) -> Any:
    return sys.modules["cupy"].RawModule(code=kernel_source(file), options=kernel_options(double))


def kernel_source(file: str) -> str:
    """Return the text of a file of kernels, with what all share before it."""
    folder = importlib.resources.files("lpnet.kernels")
    return "".join((folder / name).read_text(encoding="utf-8") for name in ("real.cuh", file))


def kernel_options(double: bool) -> tuple[str, ...]:
    """Return the options of NVRTC for kernels on float64 or float32."""
    return ("-std=c++17", "--fmad=false", f"-DREAL={'double' if double else 'float'}", f"-DDOUBLE={int(double)}")


# What is known of CuPy arrays: by the array's id, a reference that forgets it with the array, and the binary digits
# that no number in it goes beyond. Views know it through the array that they are a view of.
_known: dict[int, tuple[Any, int]] = {}


def note_digits(x: Any, digits: int | None) -> Any:
    """Remember that the numbers of the CuPy array `x` have at most so many significant binary digits; returns x.

    Whoever then writes other numbers into x makes this untrue. Of NumPy arrays nothing is remembered.
    """
    if digits is not None and get_array_module(x) is not np:
        root = x if x.base is None else x.base
        if root.size == x.size:
            key = id(root)
            _known[key] = (weakref.ref(root, lambda _: _known.pop(key, None)), digits)
    return x


def known_digits(x: Any) -> int | None:
    """Return how many significant binary digits the numbers of a CuPy array have at most, None if nobody said."""
    if get_array_module(x) is np:
        return None
    root = x if x.base is None else x.base
    reference, digits = _known.get(id(root), (None, None))
    return digits if reference is not None and reference() is root else None


def carry_digits(y: Any, *arrays: Any) -> None:
    """Remember of y, whose numbers are all among those of the arrays, or 0, what is known of them."""
    digits = [known_digits(x) for x in arrays] if _known else []
    if digits and None not in digits:
        note_digits(y, max(digits))


@functools.cache
def cublas() -> Any:
    """Return CuPy's binding of cuBLAS; None where it is not as this version of lpnet knows it."""
    try:
        binding = importlib.import_module("cupy_backends.cuda.libs.cublas")
    except ImportError:
        return None
    return binding if hasattr(binding, "gemmEx") and hasattr(binding, "gemmStridedBatchedEx") else None


def forget_cuda() -> None:
    """Forget what was found out about CuPy and compiled with it, so that it is looked for again."""
    for cached in (cuda_problem, _kernel, _kernels, cublas):
        cached.cache_clear()
    _known.clear()


_WORTH = 1 << 18  # numbers; for fewer a second thread costs more than it brings


def processors(most: int = 61) -> int:
    """Return how many processors this process may use, at most `most`: Windows waits for 61 processes and no more."""
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(n, most)


_n_threads = processors(sys.maxsize)
_helpers: _Helpers | None = None
_helpers_lock = threading.RLock()


def set_num_threads(n: int) -> None:
    """Set how many threads lpnet computes with; results are the same for every number. Raises ValueError below 1."""
    global _n_threads, _helpers
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"set_num_threads: n must be an integer of at least 1, got {n!r}")
    with _helpers_lock:
        former, _helpers, _n_threads = _helpers, None, int(n)
        if former is not None:
            former.end()


def get_num_threads() -> int:
    """Return how many threads lpnet computes with: as many as there are processors, unless set otherwise."""
    return _n_threads


def _tasks() -> queue.SimpleQueue[_Task | None]:
    """Return the queue that the other threads take tasks from."""
    global _helpers
    with _helpers_lock:
        if _helpers is None:
            _helpers = _Helpers()
            _helpers.start(_n_threads - 1)
        return _helpers.tasks


class _Helpers:
    """Threads that take tasks from a queue; None ends one of them."""

    def __init__(self) -> None:
        self.tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self.threads: list[threading.Thread] = []

    def start(self, n: int) -> None:
        """Start n threads, or as many as the system lets us have: whoever asks for help works, too."""
        for i in range(n):
            thread = threading.Thread(target=_serve, args=(self.tasks,), name=f"lpnet-{i + 1}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # can't start new thread
                return
            self.threads.append(thread)

    def end(self) -> None:
        """Let each thread end after the task it works on."""
        for _ in self.threads:
            self.tasks.put(None)


def _serve(tasks: queue.SimpleQueue[_Task | None]) -> None:
    while (task := tasks.get()) is not None:
        task.run()
        del task  # it holds arrays, and the next may be long in coming


class _Task:
    """Work that another thread may help with. An executor's futures take 50 µs longer, a hundred times a step."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work, self.error = functools.partial(contextvars.copy_context().run, work), None
        self.claim: dict[str, str] = {}  # who was the first to want it: worked on, or called off
        self.done = threading.Lock()
        self.done.acquire()

    def run(self) -> None:
        """Work, unless there is nothing left to do."""
        if self.claim.setdefault("by", "helper") == "helper":
            try:
                self.work()
            except BaseException as error:  # raised where the result is wanted
                self.error = error
            finally:
                self.done.release()

    def finish(self) -> None:
        """Wait for the end if the work has begun, else call it off; may be called again after an interruption."""
        if self.claim.setdefault("by", "caller") == "helper":
            with self.done:
                pass


@functools.cache
def _blas() -> list[Any]:
    return ThreadpoolController().select(user_api="blas").lib_controllers


_blas_lock = threading.RLock()  # may be asked for again by a signal handler that computes
_blas_blocks: list[one_blas_thread] = []  # that are being run, in any thread
_blas_before: list[int] | None = None  # the numbers of threads outside of all blocks, known while there are blocks


def _references(things: Iterable[Any]) -> list[int]:
    return [sys.getrefcount(thing) for thing in things]


_ALONE = _references([object()])[0]  # what is counted for a thing that only a list holds; differs between Pythons


def _settle_blas() -> None:
    """Bring BLAS to one thread if there are blocks, else back; done again, after any interruption, it ends the same."""
    global _blas_before
    # A Ctrl-C at the entry of __exit__ ends a block unseen. Whoever runs a block refers to it, so it shows here.
    _blas_blocks[:] = [b for b, n in zip(_blas_blocks, _references(_blas_blocks), strict=True) if n > _ALONE]
    if _blas_blocks and _blas_before is None:
        _blas_before = [library.get_num_threads() for library in _blas()]
        _set_blas([1] * len(_blas_before))
    elif not _blas_blocks and _blas_before is not None:
        _set_blas(_blas_before)
        _blas_before = None


def _set_blas(numbers: Sequence[int]) -> None:
    for library, n in zip(_blas(), numbers, strict=True):
        # threadpoolctl 3.8 lets only the first thread set the number, and ignores the others; ours take turns.
        release = getattr(library, "clear_controlling_thread", lambda force: None)
        release(force=True)
        library.set_num_threads(n)
        release(force=True)


class one_blas_thread(contextlib.ContextDecorator):
    """Matrix products in this block use one thread: ours do the work, and sums never depend on how many there are.

    The number is the process's: the first block of any thread sets it, the last to be left restores it.
    """

    def _recreate_cm(self) -> one_blas_thread:  # each call of a decorated function is a block of its own
        return type(self)()

    def __enter__(self) -> None:
        self.thread = threading.get_ident()
        try:
            with _blas_lock:
                _blas_blocks.append(self)
                _settle_blas()
        except BaseException:  # a Ctrl-C: the block is not run
            self._leave()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            self._leave()
        except BaseException:
            self._leave()
            raise

    def _leave(self) -> None:
        with _blas_lock:
            if self in _blas_blocks:  # and with it those within it that a Ctrl-C ended
                i = _blas_blocks.index(self)
                _blas_blocks[i:] = [block for block in _blas_blocks[i:] if block.thread != self.thread]
            _settle_blas()


def _after_fork() -> None:
    """Forget in a child process what belongs to threads of its parent: they do not run here."""
    global _blas_lock, _helpers, _helpers_lock
    _blas_lock, _helpers_lock, _helpers = threading.RLock(), threading.RLock(), None
    _blas_blocks[:] = [block for block in _blas_blocks if block.thread == threading.get_ident()]
    _settle_blas()
    _pool.clear()
    forget_cuda()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_after_fork)


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

    tasks, errors = [_Task(work) for _ in range(1, min(_n_threads, len(items)))], []
    unfinished = [task.finish for task in tasks] + [waiting.clear]  # after an error nobody starts another item
    try:
        helpers = _tasks()
        for task in tasks:
            helpers.put(task)
        work()  # this thread works too
    except BaseException as error:
        errors.append(error)
    while unfinished:  # also after a Ctrl-C: the others still write into our caller's arrays
        try:
            unfinished[-1]()
            unfinished.pop()
        except BaseException as error:
            errors.append(error)
    errors += [task.error for task in tasks if task.error is not None]
    try:
        if errors:
            raise max(errors, key=lambda error: not isinstance(error, Exception))  # a Ctrl-C before any other
    finally:
        del errors, tasks  # the error's traceback holds this frame, and that would hold the error
    return results


_SMALL_BLOCK = 1 << 16  # bytes; below, NumPy's own allocation is as fast
_KEPT = 1 << 29  # bytes of free memory held back for the next arrays, at most, whenever fresh memory is taken
_REMEMBERED = 1 << 31  # bytes of memory in use or free, at most: all that a training step of a large network uses
_MOST_OF_A_SIZE = 256  # blocks: so many are looked at in search of a free one
_pool: OrderedDict[int, deque[np.ndarray]] = OrderedDict()  # blocks by size, the size asked for last at the end


def empty(shape: tuple[int, ...], dtype: Any, xp: ModuleType = np) -> Any:
    """Return an array of any content, in memory that an earlier one has left where there is such.

    The system hands out fresh memory page by page and cleans each: for a large array that takes as long as a pass
    over it. A training step asks for the same sizes as the step before.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    if xp is not np or size < _SMALL_BLOCK:
        return xp.empty(shape, dtype)
    blocks = _pool.get(size)
    if blocks is None:
        blocks = _pool.setdefault(size, deque(maxlen=_MOST_OF_A_SIZE))
    memory = _free_block(blocks)
    y = np.ndarray(shape, dtype, np.empty(size, np.uint8) if memory is None else memory)
    blocks.append(y.base)
    _pool.pop(size, None)  # to the end, also where another thread evicted it meanwhile
    _pool[size] = blocks
    if memory is None:
        _evict()
    return y


def _free_block(blocks: deque[np.ndarray]) -> np.ndarray | None:
    """Take a block out that no array uses; those in use stay. Arrays and their views refer to their memory.

    Nobody is told when an array goes: Python code that runs then, __del__ or a callback, would swallow a Ctrl-C.
    """
    for _ in range(len(blocks)):
        try:
            memory = blocks.pop()  # no other thread gets it now
        except IndexError:
            return None
        if sys.getrefcount(memory) <= _UNSHARED:
            return memory
        blocks.appendleft(memory)
    return None


def _count_unshared() -> int:
    memory = deque([np.empty(0, np.uint8)]).pop()
    return sys.getrefcount(memory)


_UNSHARED = _count_unshared()


def _evict() -> None:
    """Forget free blocks, and at the second limit any, of the sizes not asked for the longest."""
    pool = list(_pool.items())
    held = sum(size * len(blocks) for size, blocks in pool)
    if held <= _KEPT:
        return
    spare = sum(size * sum(n <= _ALONE + 1 for n in _references(list(blocks))) for size, blocks in pool) - _KEPT
    for size, blocks in pool:
        while spare > 0 and _free_block(blocks) is not None:
            spare, held = spare - size, held - size
        while held > _REMEMBERED and blocks:
            blocks.popleft()
            held -= size
        if not blocks:
            _pool.pop(size, None)


def empty_cache() -> None:
    """Give back to the system, and to the GPU's other users, the memory held for the next arrays."""
    _pool.clear()
    if "cupy" in sys.modules:
        sys.modules["cupy"].get_default_memory_pool().free_all_blocks()


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
    flat, y = [a.reshape(-1) for a in arrays], empty(x.shape, x.dtype)
    out = y.reshape(-1)
    parallel(lambda s: function(*(a[s] for a in flat), out=out[s]), slices(x.size, 1))
    return y
