"""Calls of one function, shared out to workers: processes of one thread each.

An error, or the death of a worker, is that of one call alone; an interrupt ends all at once. Each of the processes that
mpiexec started has workers of its own. Round by round all hear what has ended and whose workers are free: so all know
who takes which calls next, and nobody has to deal them out.
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
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from typing import Any

from ..backend import MOST_PROCESSES, set_num_threads
from ..distributed.processes import World

_context = multiprocessing.get_context("spawn")  # a fork has the locks of threads that it does not have
_ROUND = 0.05  # seconds from one exchange of processes to the next
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
    function: Callable[..., Any], calls: Sequence[tuple[Any, ...]], jobs: int, world: World
) -> Generator[tuple[int, Outcome], None, None]:
    """Yield the number and the outcome of every call as it ends, computed by `jobs` workers of each process.

    Parameters
    ----------
    function : at the top of a module, so that workers find it; its results are pickled.
    calls : the arguments of each call, begun in this order.
    world : the processes, all of which have the same calls; they yield the same.

    Raises RuntimeError if the workers do not start. Closing the generator ends those that still run.
    """
    pool, todo, left = _Pool(function), deque(enumerate(calls)), len(calls)
    try:
        pool.start(min(jobs, -(-left // world.size), MOST_PROCESSES))
        while left:
            own = pool.report(None if world.size == 1 else _ROUND)
            for rank, (ended, free) in enumerate(world.share("a sweep", own)):
                yield from ended
                left -= len(ended)
                taken = [todo.popleft() for _ in range(min(free, len(todo)))]
                if rank == world.rank:
                    pool.give(taken)
    finally:
        pool.end()


class _Pool:
    """The workers of this process."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.workers: dict[Any, _Worker] = {}  # by the connection to each

    def start(self, number: int) -> None:
        """Have so many more workers."""
        if hasattr(signal, "pthread_sigmask"):
            resource_tracker.ensure_running()  # which lets interrupts through once it has started: so it has, before
        for _ in range(number):
            with hold_interrupts():  # one that has started is known here, and inherits that no interrupt is for it
                worker = _Worker(self.function)
                self.workers[worker.connection] = worker

    def report(self, seconds: float | None) -> tuple[list[tuple[int, Outcome]], int]:
        """Return what has ended after so many seconds, or as soon as anything has, and how many workers are free."""
        if seconds is not None:
            time.sleep(seconds)  # to the end: MPI would wait for the others by spinning
        ended = []
        for connection in wait([c for c, worker in self.workers.items() if not worker.free], seconds and 0):
            worker = self.workers[connection]
            number, outcome = worker.number, worker.take()
            if number is not None:
                ended.append((number, outcome))
            if not worker.free:
                self.workers.pop(connection).end()
                self.start(1)
        return ended, sum(worker.free for worker in self.workers.values())

    def give(self, calls: Sequence[tuple[int, tuple[Any, ...]]]) -> None:
        """Have free workers make calls."""
        free = [worker for worker in self.workers.values() if worker.free]
        for worker, call in zip(free, calls, strict=False):
            worker.give(*call)

    def end(self) -> None:
        """End all workers, those in the middle of a call, too."""
        with hold_interrupts():
            for worker in self.workers.values():
                worker.end() if worker.free else worker.process.terminate()
            for worker in self.workers.values():
                worker.kill()


class _Worker:
    """A process that takes calls, whether it waits for one, and the number of the one that it is at."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.free = False
        self.number: int | None = None  # while it starts
        self.connection, other = _context.Pipe()
        self.process = _context.Process(target=_serve, args=(other, function))
        self.process.start()
        other.close()  # the process has the only one left: when it ends, the connection does

    def give(self, number: int, call: tuple[Any, ...]) -> None:
        """Have the process make a call."""
        self.number, self.free = number, False
        with contextlib.suppress(ConnectionError):  # it has just died: `take` will tell
            self.connection.send(call)

    def take(self) -> Outcome:
        """Return the outcome of the call that was given."""
        try:
            outcome: Outcome = self.connection.recv()
            self.free = self.process.is_alive()
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
        """Have a process end that waits for a call, or has ended."""
        self.connection.close()
        self.process.join()

    def kill(self) -> None:
        """Wait for the end of a process that was told to, but not for long."""
        self.process.join(_PATIENCE)
        self.process.kill()
        self.process.join()
        self.connection.close()


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
