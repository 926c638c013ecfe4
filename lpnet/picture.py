"""Pictures, by matplotlib where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .files import atomic_write
from .progress import reason, say

Draw = Callable[[Any], object]  # given matplotlib's Figure


class MatplotlibMissing(ImportError):
    """A picture was asked for where there is no matplotlib."""


def save(path: Path, size: tuple[float, float], draw: Draw) -> None:
    """Write what `draw(figure)` draws, `size` inches wide and high, to a .png, .svg or .pdf file.

    Raises MatplotlibMissing, an ImportError; OSError if the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] != "matplotlib":
            raise
        raise MatplotlibMissing("a picture needs matplotlib: pip install 'lpnet[demo]'") from error
    if not path.name:
        raise IsADirectoryError(f"cannot write a picture to {path}: expected a file, .png, .svg or .pdf")
    figure = Figure(figsize=size, layout="constrained")
    draw(figure)
    with atomic_write(path) as file:
        figure.savefig(file, format=path.suffix[1:].lower() or "png", dpi=120)


def try_save(path: Path, size: tuple[float, float], draw: Draw) -> bool:
    """Do as `save` where the picture only decorates the work; return whether there is one, none without matplotlib.

    Whatever else goes wrong (a foreign MPLBACKEND, a LaTeX that is not there, a full disk) is one line of stderr.
    """
    try:
        save(path, size, draw)
        return True
    except MatplotlibMissing:
        return False
    except Exception as error:
        say(f"lpnet: no picture {path}: {reason(error)}")
        return False
