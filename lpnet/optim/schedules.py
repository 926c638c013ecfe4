"""Learning-rate schedules: functions from the epoch (from 0; fractions allowed) to the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..validate import integer, number

Schedule = Callable[[float], float]


def constant_schedule(lr: float) -> Schedule:
    """Return the schedule that is `lr` throughout."""
    return lambda epoch: lr


def swalp_schedule(lr: float, start: float, swa_lr: float | None = None) -> Schedule:
    """Return the SWALP paper's schedule.

    `lr` to half of `start`, then linear to 0.01 lr at 0.9 start, constant to `start`, and `swa_lr` from there, where
    averaging begins (None: it stays at 0.01 lr). Raises ValueError unless `start` is above 0.
    Source: Yang et al., ICML 2019, and its public code.
    """
    start = number("swalp_schedule", "start", start, ends="(]")

    def schedule(epoch: float) -> float:
        t = epoch / start
        if t >= 1 and swa_lr is not None:
            return swa_lr
        return lr * (1 - 0.99 * min(max(t - 0.5, 0) / 0.4, 1))

    return schedule


def cosine_schedule(lr: float, epochs: float, warmup: float = 0.0) -> Schedule:
    """Return the schedule that rises linearly for `warmup` epochs, then falls to 0 at `epochs` along a cosine.

    Source: Loshchilov and Hutter, "SGDR", ICLR 2017. Raises ValueError unless 0 <= warmup < epochs.
    """
    epochs = number("cosine_schedule", "epochs", epochs, ends="(]")
    warmup = number("cosine_schedule", "warmup", warmup, 0, epochs, "[)")

    def schedule(epoch: float) -> float:
        if epoch < warmup:
            return lr * (epoch + 1) / (warmup + 1)  # the rate of epoch 0 is not 0: it would train nothing
        return lr * 0.5 * (1 + math.cos(math.pi * min(1, (epoch - warmup) / (epochs - warmup))))

    return schedule


def step_schedule(lr: float, every: float, factor: float = 0.1) -> Schedule:
    """Return the schedule that multiplies `lr` by `factor` after every `every` epochs."""
    every = number("step_schedule", "every", every, ends="(]")
    return lambda epoch: lr * factor ** (epoch // every)


def warmup(schedule: Schedule, steps: int, steps_per_epoch: int) -> Schedule:
    """Return the schedule with a rate that rises linearly to its whole in the first `steps` steps.

    `fit` asks it at every step, with fractions of an epoch. Source: Goyal et al., "Accurate, large minibatch SGD",
    2017, section 2.2.
    """
    steps = integer("warmup", "steps", steps, 0)
    steps_per_epoch = integer("warmup", "steps_per_epoch", steps_per_epoch, 1)

    def warmed(epoch: float) -> float:
        step = round(epoch * steps_per_epoch)
        return schedule(math.floor(epoch)) * (min(1.0, (step + 1) / steps) if steps else 1.0)

    return each_step(warmed)


def each_step(schedule: Schedule) -> Schedule:
    """Return the schedule, marked to be asked at every step, at step / steps_per_epoch, and not once an epoch."""
    schedule.each_step = True  # type: ignore[attr-defined]  # functions have attributes, their type does not say which
    return schedule
