"""Independent calls on all processors, in processes of one thread each; an interrupt ends them at once."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from typing import Any

from .backend import MOST_PROCESSES, set_num_threads

Tick = Callable[[int], None]  # called with the steps done since the last call


def run(work: Callable[..., Any], calls: Sequence[tuple[Any, ...]], jobs: int, tick: Tick = lambda steps: None,
        done: Callable[[int, Any], None] = lambda i, result: None) -> list[Any]:  # fmt: skip
    """Return the result of `work(*call)` for every call, in their order, computed in `jobs` processes.

    Parameters: work, a function at the top of a module, which tells its steps by `count`; tick is called here with
    the steps of all, done with a call's number and its result. The first error is raised. When it is, or at an
    interrupt, the calls that still run are given up.
    """
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    pool = ProcessPoolExecutor(min(jobs, len(calls), MOST_PROCESSES), context, _start, (counter,))
    try:
        with _interrupts_wait():  # so the processes inherit that none is for them: it ends this one, and this one them
            futures = {pool.submit(work, *call): i for i, call in enumerate(calls)}
        _watch(futures, counter, tick, done)
    except BaseException:
        for process in list((pool._processes or {}).values()):  # there is no public way before Python 3.14
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return [future.result() for future in futures]


def _watch(futures: dict[Future[Any], int], counter: Any, tick: Tick, done: Callable[[int, Any], None]) -> None:
    waiting, seen = set(futures), 0
    while waiting:
        ended, waiting = wait(waiting, timeout=0.5, return_when="FIRST_COMPLETED")
        now = counter.value
        tick(now - seen)
        seen = now
        for future in ended:
            done(futures[future], future.result())


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Hold back SIGINT, where signals can be held back; it arrives when the block ends."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_steps_done: Any = None  # in a worker: the count it shares with the others


def _start(counter: Any) -> None:
    global _steps_done
    _steps_done = counter
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    set_num_threads(1)  # one process a processor


def count(steps: int) -> None:
    """Tell, in a worker, that so many more steps are done."""
    with _steps_done.get_lock():
        _steps_done.value += steps
