"""What becomes of the operands of a layer's three products, and of their sums: what hardware of few bits rounds.

    product                       operands               Linear: axes        Conv2d: axes
    ----------------------------  ---------------------  ------------------  -----------------------
    forward, y = x W^T            x, W                   -1, -1 (inputs)     1, 1 (channels)
    input gradient, gx = gy W     gy_input, W_input      -1, 0 (outputs)     1, 0 (filters)
    weight gradient, gW = gy^T x  gy_weight, x_weight    0, 0 (samples)      0, 0 (samples)

Each operand is made from the high-precision array, in blocks along the axis that its product sums over. Gradients pass
as if operands were not rounded, unless what was clipped is masked. functions/_product.py is where that is done.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from . import formats, kernels, random
from .accumulator import SUMS, Accumulator
from .backend import Array, get_array_module
from .distributed import shards
from .formats._names import take_rounders
from .pertensor import PerTensor
from .rounding import Stochastic, mode
from .validate import flag, integer

Memory = dict[Any, Any]  # of one pass of an operation: signs of a product, scales of tensors, what of them was inside
T = TypeVar("T")

# A random vector that everybody shares: TransformerEngine's for rotations of 16. Longer ones repeat it.
SIGNS = (1, 1, 1, -1, 1, -1, -1, -1, -1, -1, -1, 1, -1, 1, -1, -1)
WEIGHTS = ("W", "W_input")  # operands that all samples share


@dataclass(frozen=True, init=False, repr=False)
class Operand:
    """A format, a rounding mode and a rotation: how an operand is made from an array and the axis of its product.

    Parameters: fmt, a Format or its name, blocked along the product's axis whatever axis it names itself; rounding, a
    mode of `lpnet.rounding`; rotate, a power of two: so many neighbours along the axis are multiplied by a Hadamard
    matrix with fixed signs first, diag(SIGNS) H / sqrt(rotate), and scales are those of the rotated numbers. Neighbours
    left over are not rotated. Raises ValueError for an unknown name and for rotations that are no power of two.
    """

    format: formats.Format
    rounding: str | Stochastic
    rotate: int | None
    redraw: bool
    mask: bool
    _along: dict[int, formats.Format] = field(compare=False)

    def __init__(
        self,
        fmt: formats.Format | str,
        rounding: str | Stochastic = "nearest",
        rotate: int | None = None,
        redraw: bool = False,
        mask: bool = False,
    ) -> None:
        mode(rounding)  # raises here, not at the first use
        fmt = formats.format(fmt)
        if rotate is not None:
            rotate = integer("Operand", "rotate", rotate, 2)
            if rotate & (rotate - 1):
                raise ValueError(f"Operand: rotate must be a power of two, got {rotate}")
        redraw, mask = flag("Operand", "redraw", redraw), flag("Operand", "mask", mask)
        if redraw and rotate is None:
            raise ValueError("Operand: redraw=True needs a rotation, got rotate=None")
        along = {axis: fmt.along(axis) for axis in (-2, -1, 0, 1)}
        vars(self).update(format=fmt, rounding=rounding, rotate=rotate, redraw=redraw, mask=mask, _along=along)

    def __call__(self, x: Array, axis: int, groups: int = 1, shared: bool = False) -> Array:
        """Return the operand of a product that sums over `axis` of x, in `groups` apart: same shape, same dtype.

        shared: all samples of a batch have the same x, so shards of it draw the same random bits. Raises ValueError if
        x has no such axis.
        """
        return self.rounded(self.rotated(x, axis, groups, self.signs()), axis, shared)

    def signs(self) -> Sequence[int]:
        """Return the signs of a rotation, drawn at the next site if they are not fixed."""
        if not self.redraw:
            return (SIGNS * ((self.rotate or 0) // len(SIGNS) + 1))[: self.rotate]
        bits = random.Window(*random.current().take(), 0).draw(self.rotate or 0)  # one for all shards of a batch
        return tuple((2 * (bits & 1).astype(int) - 1).tolist())

    def rotated(self, x: Array, axis: int, groups: int = 1, signs: Sequence[int] = SIGNS) -> Array:
        """Return x times the Hadamard matrix with these signs, block by block along `axis`."""
        if axis not in self._along or not -x.ndim <= axis < x.ndim:
            raise ValueError(f"Operand: a product cannot sum over axis {axis} of an array of shape {x.shape}")
        return x if self.rotate is None else kernels.kernel("rotate", get_array_module(x))(x, axis, groups, signs)

    def rotated_back(self, x: Array, axis: int, groups: int, signs: Sequence[int]) -> Array:
        """Return what has x as `rotated`: H is its own inverse, and so are signs."""
        if self.rotate is None:
            return x
        xp, length = get_array_module(x), x.shape[axis] // groups
        y = kernels.kernel("rotate", xp)(x, axis, groups, (1,) * self.rotate)
        rest = (1,) * (length % self.rotate)
        along = xp.asarray((*(tuple(signs) * (length // self.rotate)), *rest) * groups, x.dtype)
        return y * along.reshape(-1, *(1,) * (x.ndim - 1 - axis % x.ndim))  # (length groups, 1, ...)

    def inside(self, x: Array, axis: int) -> Array:
        """Return where x, rotated, is not clipped."""
        return self._along[axis].inside(x)

    def rounded(self, x: Array, axis: int, shared: bool = False) -> Array:
        """Return x in the format, blocked along `axis`."""
        stream = None
        if shared and shards.current() is not None and isinstance(mode(self.rounding), Stochastic):
            stream = random.Window(*random.current().take(), 0)
        return kernels.quantize(x, self._along[axis], self.rounding, stream)

    def __repr__(self) -> str:
        options = [f", {name}={value}" for name in ("rotate", "redraw", "mask") if (value := getattr(self, name))]
        return f"Operand({str(self.format)!r}, {self.rounding!r}{''.join(options)})"


@dataclass(frozen=True)
class Products:
    """The six operands of a layer's three products, None for exact, and how their terms are added up.

    Each takes an Operand, a PerTensor, a Format or its name (both round to nearest), or a function of an array and an
    axis. The operands of one product have the same rotation. accumulate, an Accumulator: None adds in the arrays' own
    dtype. reuse, whether W_input and x_weight are made from the rounded W and x of the forward product, which are then
    all that is kept of them. Raises TypeError for anything else, ValueError for rotations that do not cancel and sums
    narrower than their terms.
    """

    x: Any = None
    W: Any = None
    gy_input: Any = None
    W_input: Any = None
    gy_weight: Any = None
    x_weight: Any = None
    accumulate: Accumulator | None = None
    reuse: bool = False

    def __post_init__(self) -> None:
        flag("Products", "reuse", self.reuse)
        take_rounders(self, OPERANDS, Operand)
        if not isinstance(self.accumulate, Accumulator | None):
            raise TypeError(f"Products: accumulate must be an Accumulator or None, got {self.accumulate!r}")
        for pair in PRODUCTS.values():
            self._check(*pair)

    def _check(self, *names: str) -> None:
        """Raise ValueError unless the two operands of a product go together, and with the sum."""
        for option in ("rotate", "redraw"):
            turned = [getattr(getattr(self, name), option, None) or None for name in names]
            if turned[0] != turned[1]:
                raise ValueError(f"Products: {names[0]} and {names[1]} must have the same {option}, got {turned}")
        for name in names:
            fmt = getattr(getattr(self, name), "format", None)
            if self.accumulate is not None and fmt is not None:
                self.accumulate.check_terms(name, fmt)

    @classmethod
    def uniform(
        cls,
        fmt: formats.Format | str,
        rounding: str | Stochastic = "nearest",
        rotate: int | None = None,
        accumulate: Accumulator | None = None,
    ) -> Products:
        """Return Products with one format for all six operands."""
        operand: Any = Operand(fmt, rounding, rotate)
        return cls(**dict.fromkeys(OPERANDS, operand), accumulate=accumulate)

    def operand(self, name: str, x: Array, axis: int, groups: int = 1, memory: Memory | None = None) -> Array:
        """Return the operand of this name, made from x, of a product that sums over `axis`.

        memory is of one pass of an operation: what its products have in common is drawn, or measured, once.
        """
        make, memory = getattr(self, name), {} if memory is None else memory
        if isinstance(make, Operand):
            return self._rounded(make, name, x, axis, groups, memory)
        if isinstance(make, PerTensor):
            tensor = name.partition("_")[0]
            scale = once(memory, (tensor, id(make)), lambda: make.scale(x, tensor, memory.get("learn", True)))
            return make.rounded(x, scale)
        return x if make is None else get_array_module(x).asarray(make(x, axis), dtype=x.dtype)

    def _rounded(self, make: Operand, name: str, x: Array, axis: int, groups: int, memory: Memory) -> Array:
        x = make.rotated(x, axis, groups, signs_of(make, name, memory))
        if make.mask:
            memory[name] = make.inside(x, axis)
        return make.rounded(x, axis, name in WEIGHTS)

    def back(self, name: str, g: Array, axis: int, groups: int, memory: Memory) -> Array:
        """Return the gradient g of the forward operand `name` as that of what it was made from.

        It is 0 where the operand was clipped, if it is masked. With `reuse`, g is that of the rotated numbers.
        """
        make, inside = getattr(self, name), memory.get(name)
        if inside is None and not (self.reuse and getattr(make, "rotate", None)):
            return g
        signs = memory[PRODUCTS["forward"]]
        g = g if self.reuse else make.rotated(g, axis, groups, signs)
        return make.rotated_back(g if inside is None else g * inside, axis, groups, signs)

    def own(self) -> Products:
        """Return the same for one layer alone: what remembers has a memory of its own."""
        remembers = any(getattr(getattr(self, name), "history", 0) for name in OPERANDS)
        return copy.deepcopy(self) if remembers else self

    def rounders(self) -> dict[str, Any]:
        """Return what makes each operand, and what rounds their sums, by name; None for what does not."""
        sums = {} if self.accumulate is None else {name: getattr(self.accumulate, name) for name in SUMS}
        return {name: getattr(self, name) for name in OPERANDS} | sums

    def __repr__(self) -> str:
        shown = [f"{f.name}={value!r}" for f in fields(self) if (value := getattr(self, f.name)) not in (None, False)]
        return f"Products({', '.join(shown)})"


def signs_of(make: Operand, name: str, memory: Memory) -> Sequence[int]:
    """Return the signs that an operand is rotated with: those of the other operand of its product."""
    return once(memory, next(pair for pair in PRODUCTS.values() if name in pair), make.signs)


def once(memory: Memory, key: Any, make: Callable[[], T]) -> T:
    """Return what is remembered, or is made now."""
    if key not in memory:
        memory[key] = make()
    return memory[key]


PRODUCTS = {
    "forward": ("x", "W"),
    "input gradient": ("gy_input", "W_input"),
    "weight gradient": ("gy_weight", "x_weight"),
}
OPERANDS = tuple(name for pair in PRODUCTS.values() for name in pair)
RESULTS = dict(zip(OPERANDS, ("y", "y", "gx", "gx", "gW", "gW"), strict=True))


def as_products(value: Any) -> Products | None:
    """Return Products: a format or its name stands for `Products.uniform`."""
    if isinstance(value, str | formats.Format):
        return Products.uniform(value)
    if not isinstance(value, Products | None):
        raise TypeError(f"Precision: products must be Products, a format, a name or None, got {value!r}")
    return value
