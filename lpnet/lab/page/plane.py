"""A plane with what a network makes of each place, as a picture, and the points that it learns from."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
from nicegui import ui

from ..observe import REACH, SIDE
from .charts import SGD, SWALP

SHADES = np.array([[127, 184, 216], [244, 244, 244], [234, 176, 138]])  # surely class 0, undecided, surely class 1


class Plane:
    """Puts the plane here. `show` gives it probabilities, `points` the data."""

    def __init__(self, words: str) -> None:
        with ui.element("div").classes("plane").props(f'role=img aria-label="{words}"'):
            self.picture = ui.element("img").props('alt=""')
            self.dots = ui.html(sanitize=False)  # numbers and colours of ours only

    def points(self, x: np.ndarray, label: np.ndarray) -> None:
        """Show points (N, 2) in the colours of their classes."""
        places = np.stack([x[:, 0] + REACH, REACH - x[:, 1]], 1) * (50 / REACH)  # per cent, downwards
        circles = (
            f'<circle cx="{a:.1f}" cy="{b:.1f}" r="1" fill="{(SGD, SWALP)[int(k)]}" stroke="#fff" stroke-width=".3"/>'
            for (a, b), k in zip(places.tolist(), label, strict=True)
        )
        self.dots.set_content(f'<svg viewBox="0 0 100 100">{"".join(circles)}</svg>')

    def show(self, p: list[float]) -> None:
        """Show the probability of class 1 on the grid, row by row from below."""
        self.picture.props["src"] = png(shaded(np.array(p).reshape(SIDE, SIDE)[::-1]))


def shaded(p: np.ndarray) -> np.ndarray:
    """Return the colours of probabilities, (..., 3) uint8."""
    mixed = [np.interp(p, [0, 0.5, 1], shades) for shades in SHADES.T]
    return np.stack(mixed, -1).round().astype(np.uint8)


def png(pixels: np.ndarray) -> str:
    """Return a picture (height, width, 3) uint8 as the address of a PNG."""
    height, width, _ = pixels.shape
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)  # each row begins with its filter, none
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = (_chunk(b"IHDR", head), _chunk(b"IDAT", zlib.compress(rows, 1)), _chunk(b"IEND", b""))
    return "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"".join(chunks)).decode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
