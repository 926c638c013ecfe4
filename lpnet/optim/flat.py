"""States in blocks that do not care for the shape of an array."""

from __future__ import annotations

from typing import Any

from ..precision import Precision, Quantizer


class Flat(Quantizer):
    """A Quantizer that takes an array as one row: a block is neighbours in memory, whatever the shape.

    So an optimizer's states are blocked, as they are operands of no product: Flat("dynamic8:256"). Parameters and
    errors as for Quantizer; formats whose blocks are whole indices of an axis see one block.
    """

    def __call__(self, x: Any) -> Any:
        """Return `x` rounded to the format: same shape, same dtype."""
        return super().__call__(x.reshape(-1)).reshape(x.shape)  # any shape -> (size,) -> the shape

    def __repr__(self) -> str:
        return super().__repr__().replace("Quantizer", "Flat", 1)


def states8(block: int = 256) -> Precision:
    """Return the Precision that keeps an optimizer's states in 8 bits, and rounds nothing else.

    Momentum and Adam's mean gradient in signed dynamic numbers, its mean squared gradient in unsigned ones, rounded to
    nearest, a float32 scale for every `block` neighbours in memory: 8.125 bits a number. Source: Dettmers et al.,
    "8-bit optimizers via block-wise quantization", ICLR 2022.
    """
    signed, unsigned = (Flat(f"{name}:{block}", "nearest") for name in ("dynamic8", "dynamic8u"))
    return Precision(momentum=signed, second_moment=unsigned)
