"""SGD in pieces, on all threads."""

from __future__ import annotations

import numpy as np

from ...backend import Array, elementwise


def sgd(
    w: Array, g: Array, v: Array | None, lr: float, weight_decay: float, momentum: float, nesterov: bool
) -> tuple[Array, Array | None]:
    """Return the new weights and momentum of weights `w`, gradient `g` and momentum `v`, None at the first step."""
    if weight_decay:
        g = _scaled_plus(w, weight_decay, g)
    v = _scaled_plus(v, momentum, g) if momentum and v is not None else g
    return _scaled_plus(_scaled_plus(v, momentum, g) if nesterov else v, -lr, w), v


def _scaled_plus(x: Array, factor: float, y: Array) -> Array:
    """Return factor * x + y in one piece of memory, large arrays on all threads."""
    return elementwise(lambda x, y, out=None: np.add(np.multiply(x, factor, out=out), y, out=out), x, y)
