"""Which number gets which format: quantizers, the eight roles they play, and the context that makes them active.

What `nn.lower(model, p)` and an optimizer with `precision=p` round, as the SWALP paper's networks do, and what stays
in float32 unless it is named (`layers`, or a key of a dictionary) or `use(p)` is active, which rounds every operation:

    numbers                                                     rounded by
    ----------------------------------------------------------  ---------------------------------------------
    results of activations (ReLU, Tanh, ...)                    lower, role activation
    results of convolutions, unless an activation comes next    lower, role activation
    errors that reach those layers                              lower, role error
    gradients of parameters                                     the optimizer, role gradient
    momentum, Adam's two means                                  the optimizer, roles momentum and second_moment
    weights, biases, BatchNorm's scale and shift                the optimizer, roles weight and accumulator
    SWALP's average                                             SWALP, role average
    sums and products inside a layer                            -  float
    results of BatchNorm and its statistics, running ones too   -  float
    residual sums, results of pooling, of dropout               -  float (max pooling keeps rounded ones rounded)
    results of linear layers without an activation next, so     -  float
    those of the classifier
    the loss, the errors that reach the layers of these rows    -  float
    the images                                                  -  float

A single format stands for five roles: second_moment, accumulator and average are float unless given by name.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import Any, TypeVar, cast

from . import formats, kernels
from .backend import get_array_module
from .formats._names import take_rounders
from .products import as_products
from .random import Stream
from .registry import unknown
from .rounding import Stochastic, mode
from .validate import flag

Rounding = str | Stochastic
Rounder = Callable[[Any], Any]  # of an array, with a result of the same shape


@dataclass(frozen=True, init=False, repr=False)
class Quantizer:
    """A format, a rounding mode and a stream of random bits: a value that is a function from arrays to arrays.

    Parameters: fmt, a Format or its name; rounding, a mode of `lpnet.rounding`; stream, where the random bits come
    from (None: the default stream); mask, for activations, whether numbers that were clipped get no error. Raises
    ValueError for an unknown name.
    """

    format: formats.Format
    rounding: Rounding
    stream: Stream | None  # two that draw from different streams are not equal
    mask: bool

    def __init__(
        self,
        fmt: formats.Format | str,
        rounding: Rounding = "stochastic",
        stream: Stream | None = None,
        mask: bool = False,
    ) -> None:
        mode(rounding)  # raises here, not at the first use
        fmt, mask = formats.format(fmt), flag("Quantizer", "mask", mask)
        vars(self).update(format=fmt, rounding=rounding, stream=stream, mask=mask)

    def __call__(self, x: Any) -> Any:
        """Return `x` rounded to the format: same shape, same dtype."""
        return kernels.quantize(x, self.format, self.rounding, self.stream)

    def inside(self, x: Any) -> Any:
        """Return where x is not clipped, which gets an error; None for everywhere."""
        return self.format.inside(x) if self.mask else None

    def __repr__(self) -> str:
        return f"Quantizer({str(self.format)!r}, {self.rounding!r}{', mask=True' if self.mask else ''})"


@dataclass(frozen=True)
class Precision:
    """What happens to the numbers of each role: a function on arrays, or None for exact.

    Each role takes a Quantizer, a Format or its name (both round stochastically), or any function on arrays. Products
    say what becomes of the operands and sums of matrix products and convolutions; a format is that of all operands.
    The roles are those of Algorithm 2 of Yang et al., "SWALP", ICML 2019.
    """

    weight: Any = None  # parameters, after each update
    activation: Any = None  # results of forward passes
    error: Any = None  # gradients that flow from layer to layer
    gradient: Any = None  # gradients of parameters, when the optimizer takes them
    momentum: Any = None  # the optimizer's state from step to step
    accumulator: Any = None  # a wider copy of the weights that collects the updates; None keeps no copy
    second_moment: Any = None  # Adam's mean squared gradient: in 8 bits most of it is 0, and dividing by it diverges
    average: Any = None  # SWALP's average, after each time it takes in the weights
    products: Any = None  # no role: the six operands of a layer's three products, and their sums

    def __post_init__(self) -> None:
        take_rounders(self, ROLES, Quantizer)
        object.__setattr__(self, "products", as_products(self.products))

    def within(self) -> Precision:
        """Return what a layer computes with that is to round its result once, at its end: its products."""
        return EXACT if self.products is None else Precision(products=self.products)

    @classmethod
    def uniform(
        cls, fmt: formats.Format | str | Rounder, rounding: Rounding = "stochastic", stream: Stream | None = None
    ) -> Precision:
        """Return a Precision with one quantizer for the first five roles.

        There is no accumulator, and second_moment and average are exact.
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
        if wrong := [role for role, _ in pairs if role not in ROLES]:
            raise unknown("role", wrong[0], ROLES, "precision")
        if len(dict(pairs)) < len(pairs):
            raise ValueError(f"precision: a role is given twice in {text!r}")
        return cls(**{role: Quantizer(name, rounding) for role, name in pairs})

    def round(self, role: str, x: Any) -> Any:
        """Return the array `x`, which plays `role`, rounded, in x's dtype. All rounding in lpnet passes here."""
        quantizer = getattr(self, role)
        return x if quantizer is None else get_array_module(x).asarray(quantizer(x), dtype=x.dtype)

    def inside(self, x: Any) -> Any:
        """Return where errors pass to the result x of a forward pass; None for everywhere."""
        found = getattr(self.activation, "inside", None)
        return found and found(x)

    def own(self) -> Precision:
        """Return the same for one layer alone: see `Products.own`."""
        return self if self.products is None else replace(self, products=self.products.own())

    def rounders(self) -> dict[str, Any]:
        """Return what rounds, by role, and by operand or sum of products; None for what does not."""
        products = {} if self.products is None else self.products.rounders()
        return {role: getattr(self, role) for role in ROLES} | {f"products.{name}": r for name, r in products.items()}

    def streams(self) -> dict[str, Stream]:
        """Return the streams that quantizers hold themselves (not the default one), by the first role they serve."""
        held = {name: getattr(rounder, "stream", None) for name, rounder in self.rounders().items()}
        return {name: s for i, (name, s) in enumerate(held.items()) if s and s not in list(held.values())[:i]}

    def __str__(self) -> str:
        shown = [name for name in (*ROLES, "products") if getattr(self, name)]
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in shown) or "exact"


def _split(text: str, mark: str) -> list[str]:
    """Return the parts of `text` between the marks that are not inside parentheses."""
    depths = itertools.accumulate((c in "([") - (c in ")]") for c in text)
    cuts = [i for i, (c, depth) in enumerate(zip(text, depths, strict=True)) if c == mark and not depth]
    return [text[a + 1 : b] for a, b in zip([-1, *cuts], [*cuts, len(text)], strict=True)]


PrecisionLike = Precision | formats.Format | str | Rounder | None  # what `as_precision` takes
ByName = Mapping[str, PrecisionLike]  # see `most_specific`
ROLES = tuple(field.name for field in fields(Precision) if field.name != "products")
EXACT = Precision()
_active: ContextVar[Precision] = ContextVar("precision", default=EXACT)


def active() -> Precision:
    """Return the Precision that operations round with now."""
    return _active.get()


def as_precision(value: PrecisionLike) -> Precision:
    """Return a Precision: a format, its name or a function stands for `Precision.uniform`, None for exact."""
    return value if isinstance(value, Precision) else EXACT if value is None else Precision.uniform(value)


def most_specific(owner: str, what: str, keys: Collection[str], names: Collection[str]) -> dict[str, str | None]:
    """Return for each of `names` the one of `keys` that it goes by: names, which stand for all within, or patterns.

    The longest name comes before all patterns, of which that with the most letters does; "*" comes last. Raises
    ValueError naming a key, "*" apart, that fits no name.
    """
    for key in keys:
        if key != "*" and not any(_matches(key, name) for name in names):
            raise unknown(what, key, names, owner)
    fitting = {name: [key for key in keys if _matches(key, name)] for name in names}
    return {name: max(found, key=_specificity(name), default=None) for name, found in fitting.items()}


def _matches(key: str, name: str) -> bool:
    return _contains(key, name) or fnmatchcase(name, key)


def _contains(key: str, name: str) -> bool:
    return f"{name}.".startswith(f"{key}.")


def _specificity(name: str) -> Callable[[str], tuple[bool, bool, int]]:
    return lambda key: (_contains(key, name), key != "*", len(re.sub(r"\[.+?\]|[*?]", "", key)))


Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Setting(contextlib.ContextDecorator):
    """A block in which a context variable has a value; it may be entered again, also within itself.

    It decorates functions, and generators, which are in it while they compute and not while their user does.
    """

    def __init__(self, variable: ContextVar[Any], value: Any) -> None:
        self.variable, self.value = variable, value
        self.tokens: list[Token[Any]] = []  # of each time it was entered and not left

    def __enter__(self) -> Any:
        self.tokens.append(self.variable.set(self.value))
        return self.value

    def __exit__(self, *_: object) -> None:
        self.variable.reset(self.tokens.pop())

    def _recreate_cm(self) -> Setting:
        return Setting(self.variable, self.value)  # threads that call one decorated function share no tokens

    def __call__(self, function: Decorated) -> Decorated:
        """Return `function` with every call, of a generator every step, in such a block."""
        if not inspect.isgeneratorfunction(function):
            return super().__call__(function)

        @functools.wraps(function)
        def steps(*args: Any, **kwargs: Any) -> Iterator[Any]:
            generator = function(*args, **kwargs)
            go_on = functools.partial(next, generator)
            try:
                while True:
                    with self._recreate_cm():
                        value = go_on()
                    try:
                        go_on = functools.partial(generator.send, (yield value))
                    except Exception as error:  # thrown in by the user
                        go_on = functools.partial(generator.throw, error)
            except StopIteration as end:
                return end.value
            finally:
                generator.close()

        return cast(Decorated, steps)


class use(Setting):
    """Round the result of every operation in this block, and later every gradient it gives back.

    A format, its name or a function on arrays stands for `Precision.uniform`; None makes the block exact.
    """

    def __init__(self, precision: PrecisionLike) -> None:
        super().__init__(_active, as_precision(precision))
