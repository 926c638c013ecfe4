"""SGD with rounded weights on convex problems, several replicas at a time as the rows of one array."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from ..precision import Quantizer
from ..random import Stream

Array = np.ndarray
CHUNK = 1000  # steps for which samples are drawn at a time


class Problem(Protocol):
    """A mean of convex functions of d weights, one a sample."""

    @property
    def n(self) -> int:
        """Number of samples."""

    @property
    def optimum(self) -> Array:
        """Where the gradient vanishes, (d,)."""

    def gradient(self, w: Array, i: Array) -> Array:
        """Return the gradients (R, d) of samples i (R,) at w (R, d)."""


def iterates(
    problem: Problem, w: Array, lr: float, round: Callable[[Array], Array] | None, warmup: int, steps: int, seed: int
) -> Iterator[tuple[int, Array]]:
    """Yield t and w_t (R, d) for t = 1 .. steps, after `warmup` steps: w <- round(w - lr * gradient of one sample).

    Every replica draws its own samples, uniformly. Raises FloatingPointError when weights are no longer finite, looked
    for every thousand steps.
    """
    rng = np.random.Generator(np.random.Philox(key=seed))
    for start in range(-warmup, steps, CHUNK):
        samples = rng.integers(0, problem.n, (CHUNK, len(w)))
        for t, i in enumerate(samples[: steps - start], start + 1):
            with np.errstate(all="ignore"):  # found below
                w = w - lr * problem.gradient(w, i)
            w = w if round is None else round(w)
            if t > 0:
                yield t, w
        if not np.isfinite(w).all():
            raise FloatingPointError(f"the weights are not finite at step {max(t, 0)} with a learning rate of {lr}")


def quantizer(fl: int | None, rounding: str, seed: int, above: int = 2) -> Quantizer | None:
    """Return what rounds weights to `fl` bits after the point and `above` before it, sign included; None for None."""
    return None if fl is None else Quantizer(f"fixed{fl + above}.{fl}", rounding, Stream(seed))


def squared(x: Array) -> Array:
    """Return the squared length of the rows of x (..., d)."""
    return np.einsum("...d,...d->...", x, x)


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the exponent p of the least-squares fit y = c x^p."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])
