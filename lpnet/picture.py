"""Pictures, which come after the work and never fail it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .checkpoint import atomic


def save(path: Path, size: tuple[float, float], draw: Callable[[Any], None]) -> bool:
    """Write what `draw(figure)` draws to a PNG file, and return whether there is one; none without matplotlib.

    Whatever else goes wrong (a foreign MPLBACKEND, a LaTeX that is not there, a full disk) is one line of stderr.
    """
    try:
        from matplotlib.figure import Figure

        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        with atomic(path) as file:
            figure.savefig(file, format="png", dpi=120)
        return True
    except Exception as error:
        if not isinstance(error, ModuleNotFoundError) or str(error.name).split(".")[0] != "matplotlib":
            print(f"lpnet: no picture {path}: {' '.join(str(error).split())[:200]}", file=sys.stderr)
        return False
