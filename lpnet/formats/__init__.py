"""Number formats, as values: each knows the gap of its grid and where it ends, and one `quantize` serves all."""

from __future__ import annotations

from ._check import check
from ._names import format, names, register
from .base import Format
from .block import BlockFloatingPoint
from .codes import Encoded
from .fixed import FixedPoint
from .floating import FloatingPoint
from .scaled import BlockScaled
from .table import Table
from .tiles import Blocked, Exponent

__all__ = [
    "BlockFloatingPoint",
    "BlockScaled",
    "Blocked",
    "Encoded",
    "Exponent",
    "FixedPoint",
    "FloatingPoint",
    "Format",
    "Table",
    "check",
    "format",
    "names",
    "register",
]
