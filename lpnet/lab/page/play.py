"""A tab on which something is computed as one looks on: play, pause, one step, from the start."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, ClassVar

from nicegui import ui

from ..work import Worker
from .controls import Panel

POLL = 0.05  # seconds from one look at the worker to the next


class Player(Panel):
    """A tab with a worker. A subclass gives `job` and `draw`, and builds its figures."""

    job: Callable[..., None]  # a static method, of a Worker and the settings
    at_once: ClassVar[bool] = True  # whether it plays as soon as it is opened or a field is changed

    print: ui.label  # the fingerprint of what is shown
    worker: Worker | None = None
    drawn: Any = None
    ended = False

    def draw(self, frame: Any) -> None:
        """Show a frame of the worker."""
        raise NotImplementedError

    def prepare(self, settings: dict[str, Any]) -> None:
        """Check the settings together, and show what does not wait for a frame; raises ValueError."""

    def buttons(self) -> None:
        """Put the buttons here."""
        with ui.element("div").classes("buttons").props('role=group aria-label="Run"'):
            self.play_button = ui.button("Play", icon="play_arrow", on_click=self.play)
            self.step_button = ui.button("One step", icon="skip_next", on_click=self.step)
            self.again_button = ui.button("Restart", icon="replay", on_click=self.again)
        for button in (self.play_button, self.step_button, self.again_button):
            button.props("no-caps outline dense padding='4px 10px'")
        self.status = ui.label().classes("status")
        self.spoken = ui.label().classes("unseen").props("aria-live=polite")
        ui.timer(POLL, self.look)

    def update(self) -> None:
        """Start anew with what the fields say now."""
        self.start(self.at_once)

    def start(self, playing: bool) -> Worker:
        """Start anew, playing or waiting; returns the worker."""
        settings = self.values()
        self.prepare(settings)
        self.leave()
        self.status.set_text("")  # what it said is of other settings
        self.print.set_text("")
        self.drawn, self.ended = None, False
        self.worker = worker = Worker(lambda worker: type(self).job(worker, settings))
        if playing:
            worker.play()
        self.show_state()
        return worker

    def play(self) -> None:
        """Play, or pause."""
        if self.worker is None or self.worker.finished:
            self.tell("")
            self.start(True)
        else:
            (self.worker.pause if self.worker.playing else self.worker.play)()
        self.show_state()

    def step(self) -> None:
        """Take one step."""
        worker = self.start(False) if self.worker is None or self.worker.finished else self.worker
        worker.step()
        self.show_state()

    def again(self) -> None:
        """Start anew."""
        self.tell("")
        self.update()

    def leave(self) -> None:
        """Stop what is being computed."""
        if self.worker is not None:
            self.worker.stop()
        self.worker = None

    def show_state(self) -> None:
        """Have the button say what it would do."""
        playing = self.worker is not None and self.worker.playing
        self.play_button.set_text("Pause" if playing else "Play")
        self.play_button.props(f"icon={'pause' if playing else 'play_arrow'}")
        self.spoken.set_text("playing" if playing else "finished" if self.ended else "paused")

    async def look(self) -> None:
        """Show the worker's last frame, and wait until the browser has: frames never queue."""
        worker = self.worker
        if worker is None:
            return
        ended = worker.finished  # asked first: a frame that was shown before the end is drawn
        if worker.frame is not None and worker.frame is not self.drawn:
            self.drawn = worker.frame
            self.draw(worker.frame)
            with contextlib.suppress(TimeoutError):
                await ui.run_javascript("0", timeout=2)
        if ended and not self.ended and worker is self.worker:
            self.ended = True
            self.tell(worker.error)
            self.show_state()
