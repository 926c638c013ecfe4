"""Recursive summation in few bits: sums that are rounded after every term, and what theory predicts of their errors.

A sum on the grid of its format, plus a term t, is rounded to the multiple of the gap u of its power of two: the error
is that of rounding t / u, with t distributed as it is. Sums of random sign are normal, as random walks are, so the
probabilities of the powers of two are known, and with them the variance that a step adds; rounding towards zero also
pulls a sum back, in the mean by c times itself. Sums of one sign follow their mean. Nothing is fitted.

Sources: Higham, "Accuracy and stability of numerical algorithms", 2nd edition, chapter 4; Wang et al., "Training deep
neural networks with 8-bit floating point numbers", NeurIPS 2018, section 3.1, on swamping.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from statistics import NormalDist

import numpy as np

from ..accumulator import Accumulator
from ..formats import format
from ..kernels import quantize
from ..precision import Quantizer
from ..random import Stream
from .sgd import Array

BINADES = range(-24, 24)  # powers of two that sums lie between


@dataclass(frozen=True)
class Summation:
    """How terms are added up: `every` in a partial sum, whose sums go into one of `outer`; None: all in one."""

    fmt: str
    rounding: str = "nearest"
    every: int | None = None
    outer: str = "fp32"  # rounded to nearest

    def accumulator(self, seed: int) -> Accumulator:
        """Return what adds up like this."""
        add = Quantizer(self.fmt, self.rounding, Stream(seed))
        return Accumulator(add=add) if self.every is None else Accumulator(add=add, every=self.every, outer=self.outer)

    def error(self, ks: tuple[int, ...]) -> list[float]:
        """Return the rms error of sums of K terms of mean 0 and variance 1, products of two normal numbers, for all K.

        K are multiples of `every`.
        """
        found = _errors(self, max(ks))
        return [math.sqrt(found[k // (self.every or 1) - 1]) for k in ks]

    def sum(self, ks: tuple[int, ...]) -> list[float]:
        """Return the mean of sums of K squares of normal numbers, for all K, multiples of `every`."""
        found = _sums(self, max(ks))
        return [found[k // (self.every or 1) - 1] for k in ks]


@cache
def _errors(s: Summation, longest: int) -> list[float]:
    """Return the mean square errors of sums of 1, 2, ... terms or parts."""
    if s.every is None:
        return _variances(Adding(s.fmt, s.rounding, products()), longest)
    inside = _variances(Adding(s.fmt, s.rounding, products()), s.every)[-1]
    parts = quantize(math.sqrt(s.every) * normal(), s.fmt)
    found = _variances(Adding(s.outer, "nearest", parts), longest // s.every)
    return [error + (i + 1) * inside for i, error in enumerate(found)]


@cache
def _sums(s: Summation, longest: int) -> list[float]:
    """Return the means of sums of 1, 2, ... squares, or parts of them."""
    if s.every is None:
        return list(means(Adding(s.fmt, s.rounding, normal() ** 2), longest))
    *_, part = means(Adding(s.fmt, s.rounding, normal() ** 2), s.every)
    parts = quantize(part + math.sqrt(2 * s.every) * normal(), s.fmt)
    return list(means(Adding(s.outer, "nearest", parts), longest // s.every))


def normal(n: int = 4096) -> Array:
    """Return quantiles of the normal distribution, (n,)."""
    return np.array([NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)])


def products() -> Array:
    """Return products of two independent normal numbers, each of 128 quantiles, (128 * 128,)."""
    return np.outer(normal(128), normal(128)).ravel()


@dataclass(frozen=True)
class Adding:
    """One step of a sum: a term of this distribution is added, the sum is rounded."""

    fmt: str
    rounding: str
    terms: Array

    def gap(self, binade: int) -> float:
        """Return the gap of sums between 2^binade and twice that."""
        return float(format(self.fmt).spacing(np.array(2.0**binade)))

    @cached_property
    def moments(self) -> Array:
        """Mean and mean square of the error of a step, of positive sums, by binade, (2, len(BINADES))."""
        return np.array([self._moments(self.terms / u) * (u, u * u) for u in map(self.gap, BINADES)]).T

    def _moments(self, terms: Array) -> Array:
        """Return mean and mean square of the error of adding terms, in gaps, to a multiple of the gap."""
        fraction = terms % 1
        if self.rounding == "stochastic":
            return np.array([0.0, np.mean(fraction * (1 - fraction))])
        error = -fraction if self.rounding == "toward_zero" else np.rint(terms) - terms
        return np.array([error.mean(), np.mean(error**2)])


def _variances(adding: Adding, terms: int) -> list[float]:
    """Return the mean square of the errors of sums of 1, 2, ... terms of random sign."""
    mean, square = adding.moments
    variance = float(np.mean(adding.terms**2))
    rounded = common = 0.0  # variance of the rounded sum, its covariance with the exact one
    found = []
    for k in range(1, terms + 1):
        deviation = math.sqrt(rounded + variance)
        share, size = _shares(deviation)
        back = float(mean @ size) / deviation**2 if adding.rounding == "toward_zero" else 0.0
        noise = float(square @ share) - (back * deviation) ** 2
        rounded, common = (1 + back) ** 2 * deviation**2 + noise, (1 + back) * (common + variance)
        found.append(rounded - 2 * common + k * variance)
    return found


def _shares(deviation: float) -> tuple[Array, Array]:
    """Return, of normal sums and by binade, the probability of being in it, and the mean size counted there alone."""
    z = [2.0**e / deviation for e in (*BINADES, BINADES[-1] + 1)]
    inside = np.diff([math.erf(x / math.sqrt(2)) for x in z])
    return inside, -deviation * math.sqrt(2 / math.pi) * np.diff([math.exp(-x * x / 2) for x in z])


def means(adding: Adding, terms: int) -> Iterator[float]:
    """Yield the mean of sums of 1, 2, ... positive terms."""
    total, error = 0.0, adding.moments[0]
    mean = float(adding.terms.mean())
    for _ in range(terms):
        binade = math.frexp(total + mean)[1] - 1
        total += mean + float(error[binade - BINADES[0]])
        yield total
