"""Libraries that may be missing."""

from __future__ import annotations

import importlib
from typing import Any


def library(name: str) -> Any:
    """Return the module `name`; raises ImportError that says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.split(".")[0]
        raise ImportError(f"{package} is needed here: pip install 'lpnet[interop]' brings it ({error})") from error
