"""What rounding does to a network: the error, saturation and underflow of every number that is rounded."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import numpy as np

from . import replay, tables
from .accumulator import Accumulator
from .backend import Array
from .formats import Format
from .nn import Module
from .optim import Optimizer
from .precision import ROLES, Precision
from .products import RESULTS, Memory, Operand, Products, signs_of
from .tensor import Tensor


@dataclasses.dataclass
class RoundingStats:
    """Totals over everything rounded at one place in one role."""

    count: int = 0
    squared: float = 0.0  # sum of x^2
    squared_error: float = 0.0  # sum of (rounded - x)^2
    saturated: int = 0  # moved by a whole gap of the grid or more: clipped
    underflowed: int = 0  # not 0 before, 0 after
    exact: int = 0  # the same before and after

    @property
    def sqnr(self) -> float:
        """Signal-to-quantization-noise ratio: the signal's energy over the error's, in dB; inf if nothing was lost."""
        return 10 * math.log10(self.squared / self.squared_error) if self.squared and self.squared_error else math.inf

    @property
    def noise(self) -> float:
        """Root of the error's energy over the signal's, in per cent."""
        return 100 * (self.squared_error / self.squared) ** 0.5 if self.squared else 0.0

    def cells(self) -> list[str]:
        """Return exact, SQNR, saturated and to zero as text."""
        exact, saturated, underflowed = (
            tables.percent(part, self.count) for part in (self.exact, self.saturated, self.underflowed)
        )
        return [exact, f"{self.sqnr:.1f} dB" if self.squared else "-", saturated, underflowed]

    def add(self, x: np.ndarray, y: np.ndarray, fmt: Any, total: bool = False) -> None:
        """Count one rounding of x to y; of sums (total), which lose more than a gap on the way, only the end is."""
        error = (y - x).astype(np.float64)
        self.count += x.size
        self.exact += int((y == x).sum())
        self.squared += float((x.astype(np.float64) ** 2).sum())
        self.squared_error += float((error**2).sum())
        self.underflowed += int(((x != 0) & (y == 0)).sum())
        self.saturated += int((_beyond if total else _moved_far)(x, error, fmt).sum())


def _moved_far(x: np.ndarray, error: np.ndarray, fmt: Any) -> np.ndarray:
    """Return where rounding moved a number by a whole gap or more; without a grid, where it is beyond the ends."""
    if not isinstance(fmt, Format):
        return np.zeros(x.shape, bool)
    try:
        return abs(error) >= fmt.spacing(x)
    except NotImplementedError:
        return _beyond(x, error, fmt)


def _beyond(x: np.ndarray, error: np.ndarray, fmt: Any) -> np.ndarray:
    """Return which numbers were moved and are beyond the ends of the format."""
    if not isinstance(fmt, Format):
        return np.zeros(x.shape, bool)
    return (error != 0) & ((x > fmt.max) | (x < fmt.min))


def in_place_of(quantizer: Any, record: Any) -> Any:
    """Return the function `record` with a quantizer's format, rounding and mask: what else looks on asks for them."""
    vars(record).update({k: getattr(quantizer, k) for k in ("format", "rounding", "inside") if hasattr(quantizer, k)})
    return record


class Trace:
    """Sites by (place, role); `print` it for a table. Operands of products have their names for a role."""

    def __init__(self) -> None:
        self.stats: dict[tuple[str, str], RoundingStats] = {}

    def wrap(self, place: str, precision: Precision) -> Precision:
        """Return `precision` with quantizers that record what they do under `place`."""
        wrapped = {}
        for role in ROLES:
            quantizer = getattr(precision, role)
            wrapped[role] = quantizer and self._recorder(place, role, quantizer)
        products = precision.products and self._products(place, precision.products)
        return dataclasses.replace(precision, **wrapped, products=products)

    def _recorder(self, place: str, role: str, quantizer: Any) -> Any:
        def record(x: Any) -> Any:
            y = quantizer(x)
            self._add(place, role, x, y, getattr(quantizer, "format", None))
            return y

        return in_place_of(quantizer, record)

    def _products(self, place: str, products: Products) -> Products:
        return _Products(products, partial(self._add, place))

    def _add(self, place: str, role: str, x: Any, y: Any, fmt: Any, total: bool = False) -> None:
        if replay.again():
            return
        stats = self.stats.setdefault((place, role), RoundingStats())
        stats.add(Tensor(x).numpy(), Tensor(y).numpy(), fmt, total)

    def rows(self) -> list[list[str]]:
        """Return the cells of the table below its `HEAD`."""
        return [
            [place or "(whole model)", role, f"{stats.count:,}", *stats.cells()]
            for (place, role), stats in self.stats.items()
        ]

    def __str__(self) -> str:
        return tables.folded(HEAD, self.rows(), 2) if self.stats else EMPTY

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return tables.html(HEAD, self.rows()) if self.stats else tables.preformatted(EMPTY)


class _Products(Products):
    """Products whose operands are recorded as they are rounded (rotated, if they are), and whose sums are."""

    def __init__(self, products: Products, add: Callable[..., None]) -> None:
        vars(self).update(vars(products), _add=add, _result="")
        if products.accumulate is not None:
            vars(self).update(accumulate=_Accumulator(products.accumulate, self._add_sum))

    def operand(self, name: str, x: Array, axis: int, groups: int = 1, memory: Memory | None = None) -> Array:
        vars(self).update(_result=RESULTS[name])
        make = getattr(self, name)
        y = super().operand(name, x, axis, groups, memory)
        if make is not None and not isinstance(make, Operand):
            vars(self)["_add"](name, x, y, None)
        return y

    def _rounded(self, make: Operand, name: str, x: Array, axis: int, groups: int, memory: Memory) -> Array:
        y = super()._rounded(make, name, x, axis, groups, memory)
        x = make.rotated(x, axis, groups, signs_of(make, name, memory))
        vars(self)["_add"](name, x, y, make.format.along(axis))
        return y

    def _add_sum(self, exact: Array, y: Array, fmt: Any) -> None:
        seen = vars(self)
        seen["_add"](f"sum {seen['_result']}", exact, y, fmt, total=True)  # operands come right before their sum


class _Accumulator(Accumulator):
    """Sums that are recorded beside those of the same operands in float64."""

    def __init__(self, accumulate: Accumulator, add: Callable[[Array, Array, Any], None]) -> None:
        vars(self).update(vars(accumulate), _add=add)

    def matmul(self, a: Array, b: Array) -> Array:
        y = super().matmul(a, b)
        last = self.add if self.outer is None else self.outer
        vars(self)["_add"](a.astype(np.float64) @ b.astype(np.float64), y, getattr(last, "format", last))
        return y


HEAD = ["place", "role", "numbers", "exact", "SQNR", "saturated", "to zero"]
Traced = TypeVar("Traced", bound=Trace)
EMPTY = (
    "nothing was rounded: no layer is marked (lp.nn.lower), the optimizer has no\n"
    "precision, or nothing ran in the block"
)


@contextlib.contextmanager
def trace(model: Module, optimizer: Optimizer | None = None) -> Iterator[Trace]:
    """Record within this block what rounding does at every layer that `nn.lower` marked, and in the optimizer.

    Operands of products have their names in `Products` for a role, the sums of an accumulator "sum y", "sum gx" and
    "sum gW": beside sums of the same operands in float64. What is rotated is recorded rotated.

    exact is the share of numbers that rounding did not move, SQNR the signal's energy over the error's; saturated
    counts numbers beyond the format's range, "to zero" those too small for it.
    """
    with tracing(Trace(), model, optimizer) as result:
        yield result


@contextlib.contextmanager
def tracing(result: Traced, model: Module, optimizer: Optimizer | None = None) -> Iterator[Traced]:
    """Do as `trace`, for a Trace that may record something else."""
    marked = [(name, m, m.precision) for name, m in model.named_modules() if m.precision is not None]
    if optimizer is not None:
        exact, overrides = optimizer.precision, optimizer.overrides
    try:
        for name, module, precision in marked:
            module.precision = result.wrap(name, precision)
        if optimizer is not None:
            optimizer.precision = result.wrap("optimizer", exact)
            optimizer.overrides = {i: result.wrap(f"optimizer, parameter {i}", p) for i, p in overrides.items()}
        yield result
    finally:
        for _, module, precision in marked:
            module.precision = precision
        if optimizer is not None:
            optimizer.precision, optimizer.overrides = exact, overrides
