"""The tables of optimizers and of schedules, which `test_every.py` walks: a row added is a row tested."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import lpnet as lp
from lpnet.optim import SGD, Adam, AdamW, Optimizer, RMSprop, schedules

Number = Callable[[float], Any]  # a kind of number: float, np.float32 ...
LOW = lp.Precision(accumulator=lp.Quantizer("bfp16", "nearest"), weight=lp.Quantizer("bfp4", "nearest"))

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {  # of params, of a kind of number and of a precision
    "SGD": lambda p, n=float, q=None: SGD(p, n(0.125), precision=q),
    "SGD, momentum, decay": lambda p, n=float, q=None: SGD(p, n(0.125), n(0.5), n(0.25), precision=q),
    "SGD, nesterov": lambda p, n=float, q=None: SGD(p, n(0.125), n(0.5), nesterov=np.True_, precision=q),
    "SGD, accumulator": lambda p, n=float, q=LOW: SGD(p, n(0.125), n(0.5), precision=q),
    "SGD, groups": lambda p, n=float, q=None: SGD(
        [
            {"params": (p := list(p))[:1], "lr": n(0.0625), "momentum": n(0.5)},
            {"params": p[1:], "weight_decay": n(0.25)},
        ],
        n(0.125),
        precision=q,
    ),
    "Adam": lambda p, n=float, q=None: Adam(p, n(0.125), (n(0.5), n(0.75)), n(0.25), precision=q),
    "Adam, decay": lambda p, n=float, q=None: Adam(p, n(0.125), (n(0.5), n(0.75)), n(0.25), n(0.5), precision=q),
    "AdamW": lambda p, n=float, q=None: AdamW(p, n(0.125), np.array([0.5, 0.75]), n(0.25), n(0.5), precision=q),
    "RMSprop": lambda p, n=float, q=None: RMSprop(p, n(0.125), n(0.75), n(0.25), precision=q),
    "RMSprop, centered": lambda p, n=float, q=None: RMSprop(
        p, n(0.125), n(0.75), n(0.25), n(0.25), n(0.5), np.True_, precision=q
    ),
}
SCHEDULES: dict[str, schedules.Schedule] = {  # all with a rate of 0.5 at most, over 20 epochs
    "constant_schedule": schedules.constant_schedule(0.5),
    "cosine_schedule": schedules.cosine_schedule(0.5, 20),
    "cosine_schedule, warm": schedules.cosine_schedule(0.5, 20, warmup=5),
    "step_schedule": schedules.step_schedule(0.5, 7),
    "swalp_schedule": schedules.swalp_schedule(0.5, 15),
    "swalp_schedule, averaging": schedules.swalp_schedule(0.5, 15, swa_lr=0.1),
}
