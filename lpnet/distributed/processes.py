"""The processes of a training: what they tell each other, and how they end together.

All talk goes through `World.share`, in which every process takes part. So one that failed, got a signal or is about to
exit tells it there, wherever the others are, and nobody waits for what will never come.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ..backend import Array, nccl_address, nccl_group, processors, set_num_threads, take_device

# What mpiexec tells its processes.
RANKS = ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "MPI_LOCALRANKID")
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")
PASSED_ON = 1  # seconds in which mpiexec passes on what was printed: it drops the rest when a process ends in an error


class Message(NamedTuple):
    """What a process says in `World.share`: at what it is, the value it gives, and what ends it if anything does."""

    what: str
    value: Any = None
    error: BaseException | None = None
    signal: int = 0


class World:
    """All processes of this training, or this one alone (`mpi` None); `rank` is this one's number, `size` how many."""

    def __init__(self, mpi: Any) -> None:
        self.mpi, self.comm = mpi, mpi and mpi.COMM_WORLD
        self.rank: int = self.comm.rank if mpi else 0
        self.size: int = self.comm.size if mpi else 1
        node = mpi and self.comm.Split_type(mpi.COMM_TYPE_SHARED)
        self.here: int = node.size if mpi else 1  # on this machine
        self.turn: int = node.rank if mpi else 0  # of this one among them
        self.signal = 0  # that this process got
        self.told: BaseException | None = None  # the last error that all know of
        self.over = False  # a process has left: there is nobody to talk to
        self.within = False  # a block of `together`

    def share(self, what: str, value: Any = None) -> list[Any]:
        """Return what each process gives, in their order; all come here with the same `what`.

        Raises, in all of them, the error of one that failed, KeyboardInterrupt or SystemExit if one got a signal, and
        RuntimeError if they are at different things.
        """
        messages = self._all(Message(what, value, signal=self.signal))
        self.told = _problem(messages)
        if self.told is not None:
            self.signal = 0
            raise self.told
        return [message.value for message in messages]

    @functools.cached_property
    def gpus(self) -> Gpus | None:
        """The GPUs of all processes, each of which comes here; None where two share one or CuPy has no NCCL."""
        own = nccl_address()
        found = self.share("which GPU it has", own and (self.mpi.Get_processor_name(), own))
        return Gpus(self) if None not in found and len(set(found)) == self.size else None

    def _all(self, message: Message) -> list[Message]:
        if self.over:
            raise RuntimeError("another process of this training has left it")
        messages = [message] if self.size == 1 else self.comm.allgather(message)
        self.over = any(other.what == LEFT for other in messages)
        return messages

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """An error in this block, of any process, ends it in all; Ctrl-C and SIGTERM do when all have heard of it."""
        if self.within:
            yield
            return
        self.within, self.signal = True, 0
        try:
            with self._signals_wait():
                yield
                self.share("the end of this work")
        except BaseException as error:
            self._tell(error)
            raise
        finally:
            self.within = False

    def _tell(self, error: BaseException) -> None:
        """Let the others know of an error, unless it came from them."""
        if not self._known(error) and not self.over:
            self.told = error
            self._all(Message("an error", error=_portable(error)))

    def _known(self, error: BaseException | None) -> bool:
        while error is not None and error is not self.told:
            error = error.__cause__ or error.__context__
        return error is not None

    @contextlib.contextmanager
    def _signals_wait(self) -> Iterator[None]:
        """Note SIGINT and SIGTERM, for `share` to tell: in the midst of an exchange the others would wait for ever."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        if self.size == 1 or threading.current_thread() is not threading.main_thread():
            yield
            return

        def note(number: int, _: Any) -> None:
            self.signal = number

        before = [signal.signal(number, note) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    @contextlib.contextmanager
    def aborting(self) -> Iterator[None]:
        """A block in which the others can hear of nothing: an error ends all processes at once."""
        try:
            yield
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
            time.sleep(PASSED_ON)
            self.comm.Abort(1)
            raise

    def settle(self) -> None:
        """Make this one of several: with its threads and its GPU, silent unless the first, no end but together."""
        if self.size == 1:
            return
        set_num_threads(max(1, processors(sys.maxsize) // self.here))
        take_device(self.turn)
        errors, hook = sys.stderr, sys.excepthook
        if self.rank:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # for as long as the process lives
            sys.stderr = sys.stdout

        def ended(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
            if self._known(error) and self.rank:
                return
            sys.stderr = errors
            hook(kind, error, traceback)
            time.sleep(PASSED_ON)
            if not self._known(error):
                self.comm.Abort(1)  # the others may wait for this one

        sys.excepthook = ended
        atexit.register(self.leave)

    def leave(self) -> None:
        """Tell the others that this process ends; they end, too, if they are not about to."""
        if not self.over:
            self._all(Message(LEFT))


LEFT = "the end of its program"


class Gpus:
    """A GPU a process, and the two collectives that NCCL does between them, by the names that mpi4py has for its own.

    A GPU waits for ever for one that does not come, and so does a process that reads from it, where it hears of no
    error. So all tell each other first that they have come so far, and from there to NCCL nothing is done that could
    fail: what one asks for all ask for. What fails in NCCL itself cannot be told, and ends all.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        with world.aborting():
            self.group = nccl_group(world.size, world.rank)

    def Alltoall(self, sent: Array, got: Array) -> None:
        """Give sent[i] to process i, and get its own from each."""
        self._all(self.group.all_to_all, sent, got)

    def Allgather(self, own: Array, result: Array) -> None:
        """Give `own` to all, and get theirs, in their order."""
        self._all(self.group.all_gather, own, result, own.size)

    def _all(self, collective: Callable[..., None], *arguments: Any) -> None:
        self.world.share("an exchange between GPUs")
        with self.world.aborting():
            collective(*arguments)


def _problem(messages: list[Message]) -> BaseException | None:
    """Return what keeps the processes from going on, if anything does."""
    if errors := [message.error for message in messages if message.error is not None]:
        return errors[0]
    if signals := [message.signal for message in messages if message.signal]:
        return KeyboardInterrupt() if signals[0] == signal.SIGINT else SystemExit(128 + signals[0])
    if len({message.what for message in messages}) > 1:
        places = ", ".join(f"process {i} at {message.what}" for i, message in enumerate(messages))
        return RuntimeError(f"the processes do not do the same: {places}")
    return None


def _portable(error: BaseException) -> BaseException:
    """Return an error that another process can raise."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def launched() -> bool:
    """Return whether mpiexec started this process together with others, as far as the environment tells."""
    if multiprocessing.parent_process() is not None:  # it was started by such a process, whose environment it has
        return False
    size = next((os.environ[name] for name in SIZES if name in os.environ), "")
    return size != "1" and any(name in os.environ for name in RANKS)


@functools.cache
def world() -> World:
    """Return the processes that mpiexec started together, settled, or this one alone.

    Raises ImportError under mpiexec without mpi4py.
    """
    if multiprocessing.parent_process() is not None:
        return World(None)
    try:
        from mpi4py import MPI
    except ImportError as error:
        if launched():
            raise ImportError("distributed.init: mpiexec needs mpi4py here: pip install 'lpnet[mpi]'") from error
        return World(None)
    found = World(MPI)
    found.settle()
    return found
