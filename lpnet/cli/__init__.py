"""The command line, `lpnet COMMAND`, a file a group of commands.

parsing (what they share), configured (what a configuration stands for), then train, evaluate (eval, predict), look
(formats, recipes, summary, step, plot), experiments (demo, reproduce) and lab.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from ..version import __version__
from . import evaluate, experiments, lab, look, train
from .parsing import Parser

__all__ = ["main", "parser"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code.

    0; 1 for an experiment with a figure outside of its band; 2 for a mistake of the user's; 130 when interrupted.
    """
    for stream in filter(None, (sys.stdout, sys.stderr)):
        if hasattr(stream, "reconfigure"):  # any terminal shows a table, any log gets a row when it is known
            stream.reconfigure(errors="replace", line_buffering=True)
    try:
        code = _run(argv)
        if sys.stdout is not None:
            sys.stdout.flush()  # here, where a pipe that has been closed is handled, and not at exit
        return code
    except BrokenPipeError:  # whoever read the output has gone; nothing more can be told
        return 1
    except (ValueError, TypeError, OSError, FloatingPointError, MemoryError, RuntimeError, ImportError) as error:
        print(f"lpnet: error: {_sentence(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lpnet: interrupted; 'train' goes on with --resume, 'reproduce' by itself", file=sys.stderr)
        return 130
    finally:
        _drop_unwritable()


def _run(argv: Sequence[str] | None) -> int:
    try:
        arguments = parser().parse_args(argv)
        return arguments.run(arguments) or 0
    except SystemExit as stop:  # argparse's way to end after --help or a usage error
        return int(stop.code or 0)


def _drop_unwritable() -> None:
    """Let what a closed pipe or a full disk does not take vanish, so that Python does not try again at exit."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _sentence(error: Exception) -> str:
    """Return what went wrong in one line."""
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(text.split())


def parser() -> Parser:
    """Return the parser with all commands."""
    top = Parser(prog="lpnet", description="Low-precision training of small neural networks.")
    top.add_argument("--version", action="version", version=__version__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for group in (experiments.add_demo, train.add, evaluate.add, look.add, experiments.add_reproduce, lab.add):
        group(commands)
    return top
