"""What is told while the work goes on: a bar, by tqdm where it is installed and only on a terminal, and lines."""

from __future__ import annotations

import contextlib
import shutil
import sys
from typing import Any


def say(line: str) -> None:
    """Print a line to stderr, if there is one; above the bar that is shown."""
    if _shown:
        _shown[-1].say(line)
    elif sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            print(line, file=sys.stderr)


def reason(error: Exception) -> str:
    """Return what went wrong, on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__


class Bar:
    """A bar over `total` steps (None: unknown) of which some are done, on a terminal or in a notebook.

    Parameters: title, before the bar; unit, of a step; wanted, False for no bar at all. A context manager: the bar goes
    when the block ends. `shown` says whether there is one.
    """

    def __init__(
        self, total: int | None, done: int = 0, *, title: str = "", unit: str = "step", wanted: bool = True
    ) -> None:
        self._tqdm: Any = None
        if wanted and (_in_notebook() or (sys.stderr is not None and sys.stderr.isatty())):
            with contextlib.suppress(ImportError):
                self._tqdm = _tqdm(total=total, initial=done, desc=title, unit=unit)

    @property
    def shown(self) -> bool:
        """Whether there is a bar to be seen."""
        return self._tqdm is not None

    def __enter__(self) -> Bar:
        if self._tqdm is not None:
            _shown.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        if self._tqdm is not None:
            _shown.remove(self)
            self._tqdm.close()

    def advance(self, steps: int = 1, title: str | None = None) -> None:
        """Move the bar by so many steps, under a new title."""
        if self._tqdm is not None:
            if title is not None:
                self._tqdm.set_description(title, refresh=False)
            self._tqdm.update(steps)

    def print(self, line: str) -> None:
        """Print a line to stdout, above the bar."""
        if self._tqdm is not None:
            self._tqdm.write(line)
        elif sys.stdout is not None:
            print(line, flush=True)

    def say(self, line: str) -> None:
        """Print a line to stderr, above the bar."""
        if self._tqdm is not None:
            self._tqdm.write(line, file=sys.stderr)
        else:
            say(line)


_shown: list[Bar] = []  # the bars that are open


def _in_notebook() -> bool:
    """Return whether the program runs in a notebook, where tqdm draws a bar without a terminal."""
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"


def _tqdm(**options: Any) -> Any:
    """Return tqdm's bar, or None where it cannot be made: it only decorates the work."""
    from tqdm.auto import tqdm

    try:
        width = max(40, min(shutil.get_terminal_size((80, 24)).columns, 200)) - 1
        narrow = {"bar_format": "{l_bar}{bar}|"} if width < 60 else {}  # times would leave no room for the bar
        return tqdm(**options, unit_scale=True, leave=False, **{} if _in_notebook() else {"ncols": width, **narrow})
    except Exception as error:  # tqdm takes defaults from the environment
        say(f"lpnet: no progress bar: {reason(error)}")
        return None
