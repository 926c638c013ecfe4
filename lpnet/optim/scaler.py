"""Loss scaling, which keeps small errors above the smallest number of a narrow format."""

from __future__ import annotations

from typing import Any

from ..backend import get_array_module
from ..precision import use
from ..validate import integer, number
from .optimizer import Optimizer


class LossScaler:
    """Scales the loss up before backward and the gradients down after, so that small errors survive a narrow format.

    `loss = scaler.scale(loss)`, `loss.backward()`, `scaler.step(optimizer)`. The static scaler (growth_interval None)
    keeps `scale`. The dynamic one skips a step whose gradients overflowed and halves the scale, and doubles it after
    `growth_interval` good steps; `skipped` counts the steps that it skipped. Raises FloatingPointError if it had to
    halve below `least`. Source: Micikevicius et al., "Mixed precision training", ICLR 2018.
    """

    least, most = 2.0**-14, 2.0**127  # gradients that overflow below are not the scale's fault; above, float32 ends

    def __init__(self, scale: float = 2.0**16, growth_interval: int | None = None) -> None:
        if growth_interval is not None:
            growth_interval = integer("LossScaler", "growth_interval", growth_interval, 1)
        self.factor = number("LossScaler", "scale", scale, ends="(]")
        self.growth_interval, self.good_steps, self.skipped = growth_interval, 0, 0

    def scale(self, loss: Any) -> Any:
        """Return the loss times the scale, exactly where the scale is a power of two."""
        with use(None):  # the scaled loss is a loss: it is not rounded
            return loss * self.factor

    def step(self, optimizer: Optimizer) -> bool:
        """Divide the gradients by the scale and step; returns False if a dynamic scaler skipped the step."""
        for p in optimizer.params:
            p.grad = None if p.grad is None else p.grad / self.factor
        if self.growth_interval is not None and not self._finite(optimizer):
            self._skip()
            return False
        optimizer.step()
        self.good_steps += 1
        if self.growth_interval is not None and self.good_steps == self.growth_interval:
            self.factor, self.good_steps = max(self.factor, min(self.factor * 2, self.most)), 0
        return True

    def _skip(self) -> None:
        if self.factor / 2 < self.least:
            raise FloatingPointError(
                f"LossScaler: the gradients are not finite even at a scale of {self.factor:g}, "
                f"after {self.skipped} skipped steps: it is not the scale that makes them overflow"
            )
        self.factor, self.good_steps, self.skipped = self.factor / 2, 0, self.skipped + 1

    @staticmethod
    def _finite(optimizer: Optimizer) -> bool:
        grads = [p.grad for p in optimizer.params if p.grad is not None]
        return all(bool(get_array_module(g).isfinite(g).all()) for g in grads)

    def state_dict(self) -> dict[str, float]:
        """Return the scale, the number of good steps since it changed, and that of skipped ones."""
        return {"factor": self.factor, "good_steps": self.good_steps, "skipped": self.skipped}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Go on from what `state_dict` returned; raises ValueError for a scale or a count that cannot be."""
        factor = number("LossScaler", "factor", state["factor"], ends="(]")
        good_steps = integer("LossScaler", "good_steps", state["good_steps"])
        self.skipped = integer("LossScaler", "skipped", state.get("skipped", 0))
        self.factor, self.good_steps = factor, good_steps
