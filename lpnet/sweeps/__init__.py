"""One function over a grid and seeds: `sweep`, and what it returns. One noun a file."""

from ._sweep import sweep
from .results import Run, Sweep

__all__ = ["Run", "Sweep", "sweep"]
