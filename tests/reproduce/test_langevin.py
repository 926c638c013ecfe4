"""Langevin samples on a grid: the formula against the chain's own transitions, the quantizer against its moments."""

import math

import numpy as np
import pytest

from lpnet.reproduce.langevin import described, mean_rounding_variance, variance, variance_corrected

GAP = 0.25


def hat_of_normal(mean, deviation, at):
    """Return the mean of max(0, 1 - |x - at|) of normal x, by its antiderivatives: what stochastic rounding makes."""

    def second(z):  # the second antiderivative of the density
        cdf = (1 + np.vectorize(math.erf)(z / math.sqrt(2))) / 2
        return z * cdf + np.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    z = [(at + shift - mean) / deviation for shift in (-1, 0, 1)]
    return deviation * (second(z[2]) - 2 * second(z[1]) + second(z[0]))


@pytest.mark.parametrize("lr", [0.1, 0.01, 0.001])
def test_the_variance_is_that_of_the_chains_stationary_distribution(lr):
    """The chain has finitely many states that matter: its stationary distribution is an eigenvector."""
    grid = np.arange(-40, 41)  # in gaps
    P = hat_of_normal((1 - lr) * grid[:, None], math.sqrt(2 * lr) / GAP, grid[None, :])
    p = np.linalg.matrix_power(P / P.sum(1, keepdims=True), 2**17)[len(grid) // 2]
    assert variance("rounded", lr, GAP) == pytest.approx(p @ (GAP * grid) ** 2, rel=0.02)


@pytest.mark.parametrize("r", [0.05, 0.3, 2.0])
def test_the_mean_rounding_variance_is_that_of_normal_numbers(r):
    f = np.random.default_rng(0).normal(0, r, 400_000) % 1
    assert mean_rounding_variance(r) == pytest.approx(np.mean(f * (1 - f)), rel=0.01)


@pytest.mark.parametrize("v", [0.3, 0.02, 0.014])
def test_the_corrected_quantizer_has_the_mean_and_the_variance_asked_for(v):
    """Above and below (gap / 2)^2, on the grid, for a mean between grid points that leaves room for the variance."""
    x = variance_corrected(np.full(400_000, 0.73), v, GAP, np.random.Generator(np.random.Philox(key=0)))
    assert set(np.unique(x / GAP) % 1) == {0}
    assert x.mean() == pytest.approx(0.73, abs=5 * math.sqrt(v / x.size)) and x.var() == pytest.approx(v, rel=0.02)


def test_the_corrected_quantizer_has_the_least_variance_where_less_is_asked_for():
    x = variance_corrected(np.full(400_000, GAP * 0.4), 1e-4, GAP, np.random.Generator(np.random.Philox(key=0)))
    assert x.var() == pytest.approx(GAP**2 * 0.4 * 0.6, rel=0.02) and set(x) == {0, GAP}


def test_the_distance_of_moved_and_scaled_normal_numbers_is_known():
    """W2^2 of N(m, s^2) and N(0, 1) is m^2 + (s - 1)^2."""
    x = np.random.default_rng(0).normal(0.3, 1.5, 50_000)
    assert described(x, GAP)["distance"] == pytest.approx(math.hypot(0.3, 0.5), rel=0.02)
