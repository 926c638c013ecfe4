"""Products of MX operands beside Microsoft's microxcaling: linear layers and convolutions, forward and both gradients.

Where a sum of products is exact in float32 in any order, both must have the same bits; elsewhere they may differ by
what adding up in another order may change. A sum is exact if its terms are multiples of g whose magnitudes sum to less
than 2^24 g. microxcaling's convolutions round ties away from zero whatever "round" says (they do not hand it on), its
linear layers as told; so do ours here.
"""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

import lpnet as lp
from lpnet import functions as F

FORMATS = {"mxfp8_e4m3": "fp8_e4m3", "mxfp6_e3m2": "fp6_e3m2", "mxfp4_e2m1": "fp4_e2m1", "mxint8": "int8"}
HALF_A_BIT = 2.0**-24
Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Case:
    """Shapes of an input and a weight, and the options of a convolution; none: a linear layer."""

    x: tuple[int, ...]
    W: tuple[int, ...]
    options: dict[str, int] | None = None

    def __str__(self) -> str:
        options = " ".join(f"{name}={value}" for name, value in (self.options or {}).items())
        return " ".join(filter(None, ("x".join(map(str, self.x)), "x".join(map(str, self.W)), options)))

    @property
    def rounding(self) -> str:
        """Mode in which microxcaling rounds this layer's operands."""
        return "nearest" if self.options is None else "nearest_away"

    def ours(self, x: Any, W: Any) -> lp.Tensor:
        """Return lpnet's result."""
        return F.linear(x, W) if self.options is None else F.conv2d(x, W, **self.options)


CASES = (
    Case((64, 96), (32, 96)),
    Case((37, 50), (41, 50)),  # ragged blocks along all three axes
    Case((5, 7), (3, 7)),  # blocks longer than the axis
    Case((40, 64, 8, 8), (32, 64, 3, 3), {"padding": 1}),
    Case((35, 40, 9, 9), (33, 40, 3, 3), {"padding": 1, "stride": 2}),  # ragged
    Case((33, 48, 7, 7), (36, 12, 3, 3), {"padding": 1, "groups": 4}),  # blocks reach over groups, as theirs do
    Case((33, 48, 9, 9), (50, 24, 3, 3), {"groups": 2, "stride": 2, "dilation": 2, "padding": 2}),
    Case((34, 3, 9, 9), (8, 3, 5, 5), {"padding": 2}),
    Case((34, 40, 5, 5), (40, 1, 3, 3), {"groups": 40, "padding": 1}),
)


def microxcaling_products() -> Iterator[tuple[str, int]]:
    """MX products: numbers that differ where sums are exact, or are further off than another order of adding allows."""
    its = Theirs()
    for name, draw in itertools.product(FORMATS, (even, gaussian)):
        found = [list(compare(its, case, name, arrays(case, draw))) for case in CASES]
        for what, cases in zip(("y", "gx", "gW"), zip(*found, strict=True), strict=True):
            exact, off, wrong = (np.concatenate(parts) for parts in zip(*cases, strict=True))
            text = f"{exact.mean():.0%} of {exact.size} sums exact, others off by {off.max():.1f}"
            yield f"{name} {what}, {draw.__name__}: {text}", int(wrong.sum())


def compare(its: Theirs, case: Case, name: str, inputs: Arrays) -> Iterator[Arrays]:
    """Give for each product which sums are exact, how far off the others are in half bits, and which are wrong."""
    ours = differentiated(case.ours, lp.Products.uniform(name, case.rounding), *inputs)
    theirs = its(case, name, *inputs)
    for a, b, (size, gap, terms) in zip(ours, theirs, bounds(case, name, *inputs), strict=True):
        exact = size < gap / HALF_A_BIT
        off = np.abs(a.astype(np.float64) - b) / np.where(size > 0, size, 1) / HALF_A_BIT
        yield exact.ravel(), off.ravel(), (off > np.where(exact, 0, terms)).ravel()


class Theirs:
    """microxcaling's result and gradients, on the CPU."""

    def __init__(self) -> None:
        self.torch = importlib.import_module("torch")
        self.linear = importlib.import_module("mx.linear").linear
        self.conv2d = importlib.import_module("mx.convolution").conv2d
        self.finalize = importlib.import_module("mx.specs").finalize_mx_specs

    def __call__(self, case: Case, name: str, x: np.ndarray, W: np.ndarray, gy: np.ndarray) -> Arrays:
        """Return y, gx and gW for errors gy."""
        element = FORMATS[name]
        specs = {"w_elem_format": element, "a_elem_format": element, "scale_bits": 8, "block_size": 32, "round": "even"}
        x, W, gy = (self.torch.tensor(a, requires_grad=True) for a in (x, W, gy))
        function = self.linear if case.options is None else self.conv2d
        y = function(x, W, mx_specs=self.finalize(specs), **(case.options or {}))
        y.backward(gy.detach())
        return tuple(t.detach().numpy() for t in (y, x.grad, W.grad))


def differentiated(function: Callable[..., lp.Tensor], products: Any, x: Any, W: Any, gy: Any) -> Arrays:
    """Return the result under these products, and the gradients of x and W for errors gy."""
    x, W = lp.Parameter(x), lp.Parameter(W)
    with lp.use(lp.Precision(products=products)):
        y = function(x, W)
        y.backward(gy)
    return y.data, x.grad, W.grad


def bounds(case: Case, name: str, x: np.ndarray, W: np.ndarray, gy: np.ndarray) -> Iterator[tuple[Any, float, int]]:
    """Give for each product the sums of its terms' magnitudes, what all are multiples of, and how many they are."""
    linear = case.options is None
    axes = ((-1, -1), (-1, 0), (0, 0)) if linear else ((1, 1), (1, 0), (0, 0))
    for i, pair in enumerate(((x, W), (gy, W), (gy, x))):
        operands = [
            lp.formats.format(name).along(axis).quantize(a, case.rounding).astype(np.float64)
            for a, axis in zip(pair, axes[i], strict=True)
        ]
        sizes, ones = [np.abs(a) for a in operands], [np.ones_like(a) for a in operands]
        yield (
            _product(case, i, *sizes, (x, W, gy)),
            float(np.prod([_step(a) for a in operands])),
            int(_product(case, i, *ones, (x, W, gy)).max()),
        )


def _product(case: Case, i: int, a: np.ndarray, b: np.ndarray, arrays: Arrays) -> np.ndarray:
    """Return the i-th product of a layer for these operands, in float64."""
    x, W, gy = (array.astype(np.float64) for array in arrays)
    given = ((a, b, gy), (x, b, a), (b, W, a))[i]
    return differentiated(case.ours, None, *given)[i]


def _step(x: np.ndarray) -> float:
    """Return the largest power of two that all numbers of an array are multiples of."""
    mantissa, exponent = np.frexp(x[x != 0])
    whole = (mantissa * 2.0**53).astype(np.int64)
    return float(np.ldexp((whole & -whole).astype(np.float64), exponent - 53).min())


def arrays(case: Case, draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]) -> Arrays:
    """Return x, W and gy."""
    rng = np.random.default_rng(0)
    x, W = draw(rng, case.x), draw(rng, case.W)
    return x, W, draw(rng, case.ours(x, W).shape)


def even(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return numbers of ten bits from 1/2 to 1, of both signs: many are ties, most sums of their terms exact."""
    return (rng.integers(512, 1024, shape) / 1024 * rng.choice([-1, 1], shape)).astype(np.float32)


def gaussian(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return Gaussian numbers whose rows have many sizes."""
    sizes = np.exp2(rng.integers(-10, 10, (shape[0], *[1] * (len(shape) - 1))))
    return (rng.standard_normal(shape) * sizes).astype(np.float32)
