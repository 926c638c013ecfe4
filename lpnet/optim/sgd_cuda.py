"""SGD on the GPU: one kernel a parameter, where its definition takes six."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..backend import get_array_module, launch


def update(sgd: Any, w: Any, g: Any, state: dict[str, Any]) -> Any:
    """Return what `SGD.update` returns of CuPy arrays, with the new momentum in `state`."""
    xp, null = get_array_module(w), np.uint64(0)
    w, g = xp.ascontiguousarray(w), xp.ascontiguousarray(g)
    before = xp.ascontiguousarray(state["momentum"]) if "momentum" in state else null
    y, v = xp.empty_like(w), xp.empty_like(w) if sgd.momentum else null
    numbers = [w.dtype.type(number) for number in (sgd.lr, sgd.weight_decay, sgd.momentum)]
    launch("optimizer.cu", "sgd", w.size, w.dtype, w, g, before, v, y, np.int64(w.size), *numbers,
           np.int32(sgd.nesterov))  # fmt: skip
    if sgd.momentum:
        state["momentum"] = v
    return y
