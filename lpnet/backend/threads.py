"""Threads: how many there are, and work shared out to them."""

from __future__ import annotations

import contextvars
import functools
import os
import queue
import sys
import threading
from collections.abc import Callable

from ..validate import integer

MOST_PROCESSES = 61  # that a pool can wait for under Windows


def processors(most: int = MOST_PROCESSES) -> int:
    """Return how many processors this process may use, at most `most`."""
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(n, most)


_n_threads = processors(sys.maxsize)
_helpers: _Helpers | None = None
_helpers_lock = threading.RLock()


def set_num_threads(n: int) -> None:
    """Set how many threads lpnet computes with; results are the same for every number. Raises ValueError below 1."""
    global _n_threads, _helpers
    n = integer("set_num_threads", "n", n, 1)
    with _helpers_lock:
        former, _helpers, _n_threads = _helpers, None, n
        if former is not None:
            former.end()


def get_num_threads() -> int:
    """Return how many threads lpnet computes with: as many as there are processors, unless set otherwise."""
    return _n_threads


def tasks() -> queue.SimpleQueue[Task | None]:
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
        self.tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
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


def _serve(tasks: queue.SimpleQueue[Task | None]) -> None:
    while (task := tasks.get()) is not None:
        task.run()
        del task  # it holds arrays, and the next may be long in coming


class Task:
    """Work that another thread may help with. An executor's futures take 50 µs longer, a hundred times a step."""

    def __init__(self, work: Callable[[], None]) -> None:
        self.work: Callable[[], None] = functools.partial(contextvars.copy_context().run, work)
        self.error: BaseException | None = None
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


def _after_fork() -> None:
    """Forget in a child process the threads of its parent: they do not run here."""
    global _helpers, _helpers_lock
    _helpers, _helpers_lock = None, threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_after_fork)
