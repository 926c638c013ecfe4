"""What the commands share: a parser whose mistakes are one sentence, converters, options that several have."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, cast

from .. import data
from ..backend import DEVICES


class Parser(argparse.ArgumentParser):
    """A parser that gets its arguments when it is first asked to parse: what they import is imported only then."""

    fill: Callable[[argparse.ArgumentParser], None] | None = None

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        if self.fill is not None:
            fill, self.fill = self.fill, None
            fill(self)
        return super().parse_known_args(*args, **kwargs)

    def print_help(self, file: Any = None) -> None:
        """Print the help; argparse's own keeps it to itself when the pipe is closed."""
        (file or sys.stdout).write(self.format_help())

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"lpnet: error: {message}; see {self.prog} --help\n")


class Help(argparse.ArgumentDefaultsHelpFormatter):
    def _get_help_string(self, action: argparse.Action) -> str | None:
        none = action.default is None or action.default is False
        return action.help if none else super()._get_help_string(action)


def number(kind: type[int] | type[float], least: float, below: float = math.inf) -> Callable[[str], float]:
    """Return a converter for argparse that refuses what is not a finite number of at least `least`, and `below`."""

    def convert(text: str) -> float:
        with contextlib.suppress(ValueError):
            if least <= (value := kind(text)) < below:
                return value
        what = "an integer" if kind is int else "a number"
        end = "" if below == math.inf else f" and below {below}"
        raise argparse.ArgumentTypeError(f"expected {what} of at least {least}{end}, got {text!r}")

    return convert


def path(text: str) -> Path:
    """Return a path of the command line, ~ and all; no path at all would be the folder that one happens to be in."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"expected a path, got {text!r}")
    return Path(text).expanduser()


def command(commands: Any, name: str, run: Any, summary: str, details: str = "") -> Parser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. {details}",
        formatter_class=Help,
    )
    parser.set_defaults(run=run)
    return cast(Parser, parser)


def add_device(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--device",
        choices=DEVICES,
        help="where to compute: cpu or cuda; none: the GPU where there is one that works, else the CPU",
    )


def add_data(p: argparse.ArgumentParser) -> None:
    """Add --data, --data-dir and --size."""
    p.add_argument(
        "--data",
        default="digits",
        help=f"one of {', '.join(data.names())}; or your own: a folder with a "
        "folder of pictures for each class (or with train/, val/, test/ of that kind), an .npz file of "
        "arrays x and y, a .csv file with a column 'label'",
    )
    p.add_argument(
        "--data-dir",
        type=path,
        help="folder with the files of a public data set; without it LPNET_DATA, the user's cache, or a download",
    )
    p.add_argument(
        "--size",
        type=number(int, 1),
        metavar="PIXELS",
        help="height and width to which your own pictures are scaled and cut; none: 32",
    )
