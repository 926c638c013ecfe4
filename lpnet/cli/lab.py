"""lpnet lab: the page in the browser."""

from __future__ import annotations

import argparse
from typing import Any

from .. import lab
from .parsing import command, number


def add(commands: Any) -> None:
    p = command(
        commands,
        "lab",
        _lab,
        "show low-precision training on a page in the browser",
        "The page comes from this machine and stays on it. Ctrl-C ends it.",
    )
    p.add_argument("--port", type=number(int, 1, 65536), default=8180, help="the first port that is tried")
    p.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on; who can reach another one may use the page: it has no password",
    )
    p.add_argument("--no-browser", action="store_true", help="only say where the page is")


def _lab(arguments: argparse.Namespace) -> None:
    lab.serve(arguments.host, arguments.port, browser=not arguments.no_browser)
