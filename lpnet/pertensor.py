"""Operands with one scale for a whole array: from its largest magnitude, or from those of earlier steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import formats, kernels
from .backend import Array, get_array_module, to_device_of
from .distributed import shards
from .replay import once
from .rounding import Stochastic, mode
from .validate import integer


class PerTensor:
    """An operand in a format of single numbers times one scale, by which a magnitude becomes the largest number.

    The magnitude is the largest of the array ("current scaling") or, with `history`, the largest that the same tensor
    (x, W or gy) had in so many passes before ("delayed scaling"); of the array itself where there were none. Passes
    without gradients, as in an evaluation, are not remembered. `nn.lower` gives each layer a memory of its own, and
    `fit` saves it. Parameters: fmt, a Format or its name; rounding, a mode of `lpnet.rounding`; history, of passes.
    Raises ValueError for an unknown name, TypeError for batches in shards, of which none has all of the history.
    """

    def __init__(self, fmt: formats.Format | str, rounding: str | Stochastic = "nearest", history: int = 0) -> None:
        mode(rounding)  # raises here, not at the first use
        self.format, self.rounding = formats.format(fmt), rounding
        self.history = integer("PerTensor", "history", history)
        self.seen: dict[str, Array] = {}  # of each tensor: its largest magnitudes, (history,), the last one at the end

    def __call__(self, x: Array, axis: int = -1) -> Array:
        """Return x rounded with its own scale, whatever axis the product sums over: same shape, same dtype."""
        return self.rounded(x, self._scale(largest(x), x))

    def rounded(self, x: Array, scale: Array) -> Array:
        """Return x rounded in units of the scale."""
        return kernels.quantize(x / scale, self.format, self.rounding) * scale

    def scale(self, x: Array, tensor: str, learn: bool) -> Array:
        """Return the scale of a tensor's array x, in its dtype; with `learn` remember its largest magnitude."""
        magnitude = largest(x)
        if not self.history:
            return self._scale(magnitude, x)
        if shards.current() is not None:
            raise TypeError(f"{self}: a batch cannot be cut into shards where scales depend on those before")
        most = once(lambda: self._most(magnitude, x, tensor, learn))
        xp = get_array_module(x)
        return self._scale(xp.where(most > 0, most, magnitude), x)

    def _most(self, magnitude: Array, x: Array, tensor: str, learn: bool) -> Array:
        """Return the largest magnitude of the passes before; with `learn` remember that of this one."""
        xp = get_array_module(x)
        seen = self.seen.get(tensor)
        seen = xp.zeros(self.history, np.float32) if seen is None else to_device_of(seen, x)
        if learn:
            finite = xp.where(magnitude < np.inf, magnitude, 0.0).astype(np.float32)
            self.seen[tensor] = xp.concatenate([seen[1:], finite.reshape(1)])
        return seen.max()

    def _scale(self, magnitude: Array, x: Array) -> Array:
        xp = get_array_module(x)
        scale = xp.where(magnitude < np.inf, magnitude / self.format.max, np.nan)
        return xp.where(scale == 0, 1.0, scale).astype(x.dtype)

    def state_dict(self) -> dict[str, Any]:
        """Return the largest magnitudes of each tensor; not copied, as passes put new arrays in their place."""
        return dict(self.seen)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned; raises ValueError for magnitudes that cannot be."""
        for tensor, seen in state.items():
            if getattr(seen, "shape", None) != (self.history,) or not bool((seen >= 0).all()):
                raise ValueError(f"{self}: the saved magnitudes of {tensor} must be {self.history} numbers from 0 up")
        self.seen = {tensor: seen.astype(np.float32) for tensor, seen in state.items()}

    def __repr__(self) -> str:
        history = f", history={self.history}" if self.history else ""
        return f"PerTensor({str(self.format)!r}, {self.rounding!r}{history})"


def largest(x: Array) -> Array:
    """Return the largest magnitude of x, in all shards of a batch, in float64; 0 of nothing."""
    xp = get_array_module(x)
    most = abs(x).max() if x.size else xp.zeros(())
    return xp.asarray(shards.largest(xp.asarray(most, np.float64)))
