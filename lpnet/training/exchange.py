"""Gradients in a byte a number, for their way from process to process."""

from __future__ import annotations

import numpy as np

from .. import random
from ..backend import Array, slices
from ..formats import BlockFloatingPoint
from ..formats.base import quiet
from ..kernels import quantize


class Bfp8Rows:
    """Rows of 256 numbers, rounded stochastically to bfp8, as 256 codes and the gap between numbers: 260 bytes.

    It draws from sites of the default stream, one a node, `take` of them from where the stream is. A row that is not
    finite comes back as NaN.
    """

    row, format = 256, BlockFloatingPoint(8)

    def __init__(self, nodes: int) -> None:
        stream = random.thread_stream()
        self.seed, self.site = stream.seed, stream.site
        stream.site += nodes

    def encode(self, x: Array, node: int, first: int) -> Array:
        """Return rows (n, 256) of float32, rounded, as bytes (n, 260)."""
        found = np.empty((len(x), self.row + 4), np.uint8)
        for part in slices(len(x), self.row):
            place = random.Window(self.seed, self.site + node, (first + part.start) * self.row)
            y = quantize(x[part], self.format, "stochastic", place)
            with quiet():  # a code is of no account where the gap is NaN
                gaps = self.format.spacing(y)
                found[part, self.row :] = gaps.view(np.uint8)  # (n, 1) float32 -> (n, 4)
                np.divide(y, gaps, out=found[part, : self.row].view(np.int8), casting="unsafe")
        return found

    def decode(self, codes: Array) -> Array:
        """Return the numbers, (n, 256) float32."""
        gaps = np.ascontiguousarray(codes[:, self.row :]).view(np.float32)
        return codes[:, : self.row].view(np.int8) * gaps
