"""Number formats, as values: each knows the gap of its grid and where it ends, and one `quantize` serves all."""

from __future__ import annotations

from ..random import Stream
from ..rounding import Stochastic
from .base import Array, Format
from .block import BlockFloatingPoint
from .codes import Encoded
from .fixed import FixedPoint
from .floating import FloatingPoint
from .names import format, names
from .scaled import BlockScaled
from .tiles import Blocked, Exponent


def quantize(
    x: Array, fmt: Format | str, rounding: str | Stochastic = "nearest", stream: Stream | None = None
) -> Array:
    """Return `x` rounded to a format or the format of that name; see `Format.quantize`."""
    return format(fmt).quantize(x, rounding, stream)


__all__ = [
    "BlockFloatingPoint", "BlockScaled", "Blocked", "Encoded", "Exponent", "FixedPoint", "FloatingPoint", "Format",
    "format", "names", "quantize",
]  # fmt: skip
