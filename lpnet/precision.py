"""Which number gets which format: quantizers, the six roles they play, and the context that makes them active."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, fields
from typing import Any

from . import formats, kernels
from .backend import get_array_module
from .random import Stream
from .rounding import Stochastic

Rounding = str | Stochastic
Function = Callable[[Any], Any]  # of an array, with a result of the same shape


class Quantizer:
    """A format, a rounding mode and a stream of random bits: a function from arrays to arrays.

    Parameters: fmt, a Format or its name; rounding, a mode of `lpnet.rounding`; stream, where the random bits come
    from (None: the default stream). Raises ValueError for an unknown name.
    """

    def __init__(
        self, fmt: formats.Format | str, rounding: Rounding = "stochastic", stream: Stream | None = None
    ) -> None:
        self.format, self.rounding, self.stream = formats.format(fmt), rounding, stream

    def __call__(self, x: Any) -> Any:
        """Return `x` rounded to the format: same shape, same dtype."""
        return kernels.quantize(x, self.format, self.rounding, self.stream)

    def __repr__(self) -> str:
        return f"Quantizer({str(self.format)!r}, {self.rounding!r})"


@dataclass(frozen=True)
class Precision:
    """What happens to the numbers of each role: a function on arrays, or None for exact.

    Each field takes a Quantizer, a Format or its name (both round stochastically), or any function on arrays.
    The roles are those of Algorithm 2 of Yang et al., "SWALP", ICML 2019.
    """

    weight: Any = None  # parameters, after each update
    activation: Any = None  # results of forward passes
    error: Any = None  # gradients that flow from layer to layer
    gradient: Any = None  # gradients of parameters, when the optimizer takes them
    momentum: Any = None  # the optimizer's state from step to step
    accumulator: Any = None  # a wider copy of the weights that collects the updates; None keeps no copy

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str | formats.Format):
                value = Quantizer(value)
            if value is not None and not callable(value):
                raise TypeError(f"Precision: {field.name} must be a format, a name, a function or None, got {value!r}")
            object.__setattr__(self, field.name, value)

    @classmethod
    def uniform(
        cls, fmt: formats.Format | str | Function, rounding: Rounding = "stochastic", stream: Stream | None = None
    ) -> Precision:
        """Return a Precision with one quantizer for every role but the accumulator, of which there is none.

        A function on arrays, in place of a format, rounds by itself: rounding and stream are not for it.
        """
        q = Quantizer(fmt, rounding, stream) if isinstance(fmt, str | formats.Format) else fmt
        return cls(weight=q, activation=q, error=q, gradient=q, momentum=q)

    @classmethod
    def parse(cls, text: str, rounding: Rounding = "stochastic") -> Precision:
        """Return the Precision that `text` names: "bfp8", or role by role "weight=bfp8,activation=e4m3,error=e5m2".

        A format may be written out, too: "FixedPoint(8, 6, symmetric=True)". Raises ValueError for an unknown name.
        """
        if len(_split(text, "=")) == 1:
            return cls() if text == "fp32" else cls.uniform(text, rounding)
        pairs = [[part.strip() for part in item.partition("=")[::2]] for item in _split(text, ",")]
        if unknown := [role for role, _ in pairs if role not in ROLES]:
            raise ValueError(f"precision: unknown role {unknown[0]!r}, the roles are {', '.join(ROLES)}")
        if len(dict(pairs)) < len(pairs):
            raise ValueError(f"precision: a role is given twice in {text!r}")
        return cls(**{role: Quantizer(name, rounding) for role, name in pairs})

    def round(self, role: str, x: Any) -> Any:
        """Return the array `x`, which plays `role`, rounded, in x's dtype. All rounding in lpnet passes here."""
        quantizer = getattr(self, role)
        return x if quantizer is None else get_array_module(x).asarray(quantizer(x), dtype=x.dtype)

    def streams(self) -> dict[str, Stream]:
        """Return the streams that quantizers hold themselves (not the default one), by the first role they serve."""
        held = {role: getattr(getattr(self, role), "stream", None) for role in ROLES}
        return {role: s for i, (role, s) in enumerate(held.items()) if s and s not in list(held.values())[:i]}

    def __str__(self) -> str:
        return ", ".join(f"{role}={getattr(self, role)!r}" for role in ROLES if getattr(self, role)) or "exact"


def _split(text: str, mark: str) -> list[str]:
    """Return the parts of `text` between the marks that are not inside parentheses."""
    depths = itertools.accumulate((c in "([") - (c in ")]") for c in text)
    cuts = [i for i, (c, depth) in enumerate(zip(text, depths, strict=True)) if c == mark and not depth]
    return [text[a + 1 : b] for a, b in zip([-1, *cuts], [*cuts, len(text)], strict=True)]


PrecisionLike = Precision | formats.Format | str | Function | None  # what `as_precision` takes
ROLES = tuple(field.name for field in fields(Precision))
EXACT = Precision()
_active: ContextVar[Precision] = ContextVar("precision", default=EXACT)


def active() -> Precision:
    """Return the Precision that operations round with now."""
    return _active.get()


def as_precision(value: PrecisionLike) -> Precision:
    """Return a Precision: a format, its name or a function stands for `Precision.uniform`, None for exact."""
    return value if isinstance(value, Precision) else EXACT if value is None else Precision.uniform(value)


@contextlib.contextmanager
def use(precision: PrecisionLike) -> Iterator[Precision]:
    """Round the result of every operation in this block, and later every gradient it gives back.

    A format, its name or a function on arrays stands for `Precision.uniform`; None makes the block exact.
    """
    token = _active.set(as_precision(precision))
    try:
        yield _active.get()
    finally:
        _active.reset(token)
