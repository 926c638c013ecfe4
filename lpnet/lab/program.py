"""Programs that do what the page does, to the bit: they hold the functions that the page itself calls."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def program(*functions: Callable[..., Any], main: str, imports: str = "") -> str:
    """Return a program of functions of the lab, which need numpy and lpnet only, and the lines that call them."""
    sources = [inspect.getsource(function) for function in functions]
    return "\n\n".join([f"{imports}import numpy as np\n\nimport lpnet as lp\n", *sources, main])


def arguments(settings: Mapping[str, Any]) -> str:
    """Return settings as the arguments of a call."""
    return ", ".join(f"{name}={value!r}" for name, value in settings.items())


def fingerprint(*arrays: np.ndarray) -> str:
    """Return sixteen digits that two lists of arrays share only if they have the same bits."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()[:16]
