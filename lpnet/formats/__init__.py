"""Number formats, as values: each knows the gap of its grid and where it ends, and one `quantize` serves all."""

from __future__ import annotations

from ..random import Stream
from ..rounding import Stochastic
from .base import Array, Format
from .block import BlockFloatingPoint
from .fixed import FixedPoint
from .floating import FloatingPoint
from .names import format, names


def quantize(
    x: Array, fmt: Format | str, rounding: str | Stochastic = "nearest", stream: Stream | None = None
) -> Array:
    """Return `x` rounded to a format or the format of that name; see `Format.quantize`."""
    return format(fmt).quantize(x, rounding, stream)


__all__ = ["BlockFloatingPoint", "FixedPoint", "FloatingPoint", "Format", "format", "names", "quantize"]
