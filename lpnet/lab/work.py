"""Computing beside the page: a job in a thread of its own, which plays, pauses, goes one step, and shows frames.

A thread, as measured on two cores while the digits train (tests/lab/measure.py): a process of its own trains no faster,
starts half a second later and has to send each frame through a pipe.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

INTERVAL = 0.08  # seconds between two frames


class Stopped(Exception):
    """The page no longer wants the job."""


class Worker:
    """Runs `job(worker)` in a thread, which calls `between` after each of its steps and `show` where it is `due`.

    `frame` is what was shown last, `error` what ended the job if it was no success, in a sentence.
    """

    def __init__(self, job: Callable[[Worker], None]) -> None:
        self.frame: Any = None
        self.error = ""
        self.finished = False
        self._job, self._steps, self._stopped = job, 0.0, False
        self._shown = -math.inf
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="lpnet-lab", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.between()
            self._job(self)
        except Stopped:
            pass
        except Exception as error:  # it is the page that tells it
            self.error = " ".join(str(error).split()) or type(error).__name__
        self.finished = True

    @property
    def playing(self) -> bool:
        """Whether the job goes on by itself."""
        return self._steps == math.inf and not self.finished

    def play(self) -> None:
        """Go on until the end."""
        self._allow(math.inf)

    def pause(self) -> None:
        """Stop after the step that is being taken."""
        self._allow(0)

    def step(self) -> None:
        """Go on for one step."""
        self._allow(1)

    def stop(self, wait: float = 0) -> None:
        """End the job after the step that is being taken; wait for it so many seconds at most."""
        self._stopped = True
        self._allow(0)
        if wait:
            self._thread.join(wait)

    def _allow(self, steps: float) -> None:
        with self._changed:
            self._steps = steps
            self._changed.notify_all()

    def between(self) -> None:
        """Wait until a step is allowed; for the job. Raises Stopped if none will be."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._steps > 0)
            self._steps -= 1
        if self._stopped:
            raise Stopped

    def due(self) -> bool:
        """Return whether the coming step is to be shown: a single one, or one some time after the last that was."""
        return self._steps < math.inf or time.monotonic() - self._shown > INTERVAL

    def show(self, frame: Any) -> None:
        """Give the page something to show."""
        self.frame, self._shown = frame, time.monotonic()
