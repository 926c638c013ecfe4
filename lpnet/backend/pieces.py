"""Work cut into pieces that stay in the processor's cache, computed on all threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from .arrays import Array
from .blas import one_blas_thread
from .memory import empty
from .threads import Task, get_num_threads, tasks

Item = TypeVar("Item")
Result = TypeVar("Result")
_WORTH = 1 << 18  # numbers; for fewer a second thread costs more than it brings


def parallel(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return [function(item) for item in items], computed on all threads. What `function` calls must not come here."""
    with one_blas_thread():
        if min(len(items), get_num_threads()) < 2:
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

    shared = [Task(work) for _ in range(1, min(get_num_threads(), len(items)))]
    errors: list[BaseException] = []
    unfinished = [task.finish for task in shared] + [waiting.clear]  # after an error nobody starts another item
    try:
        helpers = tasks()
        for task in shared:
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
    errors += [task.error for task in shared if task.error is not None]
    try:
        if errors:
            raise max(errors, key=lambda error: not isinstance(error, Exception))  # a Ctrl-C before any other
    finally:
        del errors, shared  # the error's traceback holds this frame, and that would hold the error
    return results


def slices(n: int, size: int, most: int = 1 << 18) -> list[slice]:
    """Return slices of n samples of `size` numbers, a power of two each: what is worked on at a time, in the cache."""
    step = 1 << max(1, most // max(1, size)).bit_length() - 1
    return [slice(i, i + step) for i in range(0, n, step)]


def elementwise(function: Callable[..., Array], *arrays: Array) -> Array:
    """Return function(*arrays, out=...) of arrays of one shape and dtype, large ones in pieces on all threads."""
    x = arrays[0]
    plain = all(isinstance(a, np.ndarray) and a.flags.c_contiguous for a in arrays)
    if not plain or x.size < _WORTH or any(a.shape != x.shape or a.dtype != x.dtype for a in arrays):
        return function(*arrays)
    flat, y = [a.reshape(-1) for a in arrays], empty(x.shape, x.dtype)
    out = y.reshape(-1)
    parallel(lambda s: function(*(a[s] for a in flat), out=out[s]), slices(x.size, 1))
    return y
