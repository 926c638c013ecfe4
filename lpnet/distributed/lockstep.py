"""The shards of one process, computed one after the other; where all are needed, each waits for the others.

Only one runs at a time. Each has a thread, as a place to wait in with its half of a forward pass: no more than that.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any

from ..backend import use_own_device

Exchange = Callable[[Any], list[Any]]  # of one shard's value for those of all
Work = Callable[[Exchange], Any]


def in_turn(works: Sequence[Work], gather: Callable[[list[Any]], list[Any]]) -> list[Any]:
    """Return what each of `works` returns; `gather` is given a value of each of them whenever they exchange.

    Raises RuntimeError if one ends while another wants to exchange, and the first error of any.
    """
    if len(works) == 1:
        return [contextvars.copy_context().run(works[0], lambda value: gather([value]))]
    members = [_Member(work) for work in works]
    try:
        answers = None
        while True:
            reports = [member.go_on(answers) for member in members]
            waiting = [value for ended, value in reports if not ended]
            if not waiting:
                return [value for _, value in reports]
            if len(waiting) < len(members):
                raise RuntimeError("the shards of a batch do not compute the same: only some need all of it")
            answers = gather(waiting)
    finally:
        for member in members:
            member.stop()


class _Stopped(BaseException):
    """Ends a shard that waits for what will not come."""


class _Member:
    """One of the works, in a thread that runs only while it is its turn."""

    def __init__(self, work: Work) -> None:
        self.answers: SimpleQueue[Any] = SimpleQueue()
        self.reports: SimpleQueue[tuple[bool, Any]] = SimpleQueue()  # whether it has ended, and its value
        self.error: BaseException | None = None
        context = contextvars.copy_context()
        self.thread = threading.Thread(target=context.run, args=(self._run, work), daemon=True)

    def _run(self, work: Work) -> None:
        try:
            use_own_device()
            self.reports.put((True, work(self._exchange)))
        except BaseException as error:  # raised where it is waited for
            self.error = error
            self.reports.put((True, None))

    def _exchange(self, value: Any) -> list[Any]:
        self.reports.put((False, value))
        answers = self.answers.get()
        if answers is _Stopped:
            raise _Stopped
        return answers

    def go_on(self, answers: list[Any] | None) -> tuple[bool, Any]:
        """Let it run, with what it waited for, until it ends or waits again."""
        if answers is None:
            self.thread.start()
        else:
            self.answers.put(answers)
        report = self.reports.get()
        if self.error is not None:
            raise self.error
        return report

    def stop(self) -> None:
        """End it, wherever it is."""
        if self.thread.ident is not None:
            self.answers.put(_Stopped)
            self.thread.join()
        self.error = None  # its traceback holds what the shard computed
