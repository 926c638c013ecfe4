"""Calls of one function, shared out to processes of one thread each.

An error, or the death of a process, is that of one call alone; an interrupt ends all at once.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

from ..backend import MOST_PROCESSES, set_num_threads

_context = multiprocessing.get_context("spawn")  # a fork has the locks of threads that it does not have
_PATIENCE = 5  # seconds in which a process that is told to end may save what it has


@dataclass(frozen=True)
class Outcome:
    """What became of a call."""

    result: Any = None
    error: str = ""  # "ValueError: no such format"; empty where there is none
    traceback: str = ""  # of the error
    seconds: float = 0.0


def attempt(function: Callable[..., Any], call: tuple[Any, ...]) -> Outcome:
    """Return what becomes of `function(*call)`."""
    started = time.monotonic()
    try:
        return Outcome(function(*call), seconds=time.monotonic() - started)
    except Exception as error:
        text = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return Outcome(None, text, traceback.format_exc(), time.monotonic() - started)


def each(
    function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], jobs: int
) -> Generator[tuple[int, Outcome], None, None]:
    """Yield the number and the outcome of every call as it ends, computed in `jobs` processes.

    Parameters
    ----------
    function : at the top of a module, so that other processes find it; its results are pickled.
    calls : the arguments of each call, begun in this order.

    Raises RuntimeError if the processes do not start. Closing the generator ends those that still run.
    """
    workers: Workers = {}
    todo = deque(enumerate(calls))
    try:
        for _ in range(min(jobs, len(calls), MOST_PROCESSES)):
            _start(workers, function)
        while workers:
            for connection in wait(list(workers)):
                number, outcome = workers[connection].number, workers[connection].take()
                _go_on(workers, connection, todo, function)
                if number is not None:
                    yield number, outcome
    finally:
        with hold_interrupts():
            _kill(list(workers.values()))


def _start(workers: Workers, function: Callable[..., Any]) -> None:
    with hold_interrupts():  # a process that has started is known here, and it inherits that no interrupt is for it
        worker = _Worker(function)
        workers[worker.connection] = worker


def _go_on(
    workers: Workers, connection: Any, todo: deque[tuple[int, tuple[Any, ...]]], function: Callable[..., Any]
) -> None:
    """Give a worker its next call; it ends where there is none, and is replaced where it has died."""
    if todo and workers[connection].process.is_alive():
        workers[connection].give(*todo.popleft())
        return
    workers.pop(connection).end()
    if todo:
        _start(workers, function)


class _Worker:
    """A process that takes calls, and the number of the call that it is at, None while it starts."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.number: int | None = None
        self.connection, other = _context.Pipe()
        self.process = _context.Process(target=_serve, args=(other, function))
        self.process.start()
        other.close()  # the process has the only one left: when it ends, the connection does

    def give(self, number: int, call: tuple[Any, ...]) -> None:
        """Have the process make a call."""
        self.number = number
        with contextlib.suppress(ConnectionError):  # it has just died: `take` will tell
            self.connection.send(call)

    def take(self) -> Outcome:
        """Return the outcome of the call that was given."""
        try:
            outcome: Outcome = self.connection.recv()
            return outcome
        except (EOFError, OSError):
            self.process.join()
        if self.number is None:
            raise RuntimeError(
                "the processes do not start: have the function in a file, and the call that computes with several "
                "processes under `if __name__ == '__main__':`"
            )
        return Outcome(error=f"the process died with exit code {self.process.exitcode}")

    def end(self) -> None:
        """Have a process that waits for a call end."""
        self.connection.close()
        self.process.join()


def _serve(connection: Any, function: Callable[..., Any]) -> None:
    """Tell that the process has started, and make the calls that come."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt ends whoever started this process, and that one this
    set_num_threads(1)
    with contextlib.suppress(EOFError, ConnectionError):  # there is no one any more to work for
        connection.send(Outcome())
        while True:
            connection.send(attempt(function, connection.recv()))


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, if it was killed and could not do so itself."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _kill(workers: list[_Worker]) -> None:
    """End processes in the middle of their calls."""
    for worker in workers:
        worker.process.terminate()
    for worker in workers:
        worker.process.join(_PATIENCE)
        worker.process.kill()
        worker.process.join()
        worker.connection.close()


@contextlib.contextmanager
def hold_interrupts() -> Iterator[None]:
    """Hold back SIGINT, where signals can be held back; it arrives when the block ends."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


Workers = dict[Any, _Worker]  # by the connection to each
