"""Training and evaluation: `fit`, what is called as it goes on, and what is left of a run.

In the order in which they are read: run (everything of one training), step and loop (what happens to it), evaluation,
log, callbacks, tracing, diagnosis (what goes wrong); then what makes a run resume exactly: state, settings, quantizers,
attributes, positioned, snapshot, folder.
"""

from .callbacks import EMA, Best, Callback, ClipGradients, EarlyStopping
from .diagnosis import first_nonfinite
from .evaluation import evaluate, predictions
from .folder import read_config
from .graph import GraphedStep
from .log import Row, format_row, plot_curves
from .loop import fit
from .run import Run
from .tracing import TraceRounding, read_history

__all__ = [
    "EMA",
    "Best",
    "Callback",
    "ClipGradients",
    "EarlyStopping",
    "GraphedStep",
    "Row",
    "Run",
    "TraceRounding",
    "evaluate",
    "first_nonfinite",
    "fit",
    "format_row",
    "plot_curves",
    "predictions",
    "read_config",
    "read_history",
]
