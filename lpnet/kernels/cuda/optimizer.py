"""SGD on the GPU: one kernel a parameter, where its definition takes six."""

from __future__ import annotations

from ...backend import Array, get_array_module
from .launch import launch


def sgd(
    w: Array, g: Array, v: Array | None, lr: float, weight_decay: float, momentum: float, nesterov: bool
) -> tuple[Array, Array | None]:
    """Return the new weights and momentum of weights `w`, gradient `g` and momentum `v`, None at the first step."""
    xp = get_array_module(w)
    w, g, v = (None if a is None else xp.ascontiguousarray(a) for a in (w, g, v))
    y, new = xp.empty_like(w), xp.empty_like(w) if momentum else None
    launch(
        "optimizer.cu",
        "sgd",
        w.size,
        w.dtype,
        w=w,
        g=g,
        before=v,
        momentum=new,
        y=y,
        n=w.size,
        lr=lr,
        decay=weight_decay,
        keep=momentum,
        nesterov=nesterov,
    )
    return y, new
