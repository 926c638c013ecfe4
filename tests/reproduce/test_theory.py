"""The formulas that the experiments are held against, themselves held against simulations and difference quotients."""

import math

import numpy as np
import pytest

import lpnet as lp
from lpnet.reproduce import averaging, linear_problem, logistic_problem, logistic_regression, report, sgd


@pytest.fixture(scope="module")
def linear():
    return linear_problem.problem(5, 200)


@pytest.fixture(scope="module")
def logistic():
    return logistic_problem.problem("digits", (0, 1, 2), 120, 3, 0.1, None)


def test_the_mean_of_the_samples_gradients_vanishes_at_the_optimum(linear, logistic):
    for p in (linear, logistic):
        w = np.tile(p.optimum, (p.n, 1))
        assert abs(p.gradient(w, np.arange(p.n)).mean(axis=0)).max() < 1e-9


def test_gradient_and_hessian_are_the_derivatives_of_the_cross_entropy(logistic):
    """lpnet's own cross-entropy is the witness, at a point that is not the optimum."""
    p, w = logistic, np.linspace(-1, 1, logistic.size)

    def objective(w):
        z = np.hstack([np.zeros((p.n, 1)), p.X @ w.reshape(2, -1).T])
        return float(lp.functions.cross_entropy(lp.Tensor(z), p.labels).data) + p.penalty * float(w @ w) / 2

    steps = np.eye(p.size) * 1e-4
    gradient = [(objective(w + h) - objective(w - h)) / 2e-4 for h in steps]
    np.testing.assert_allclose(p.mean_gradient(w), gradient, rtol=1e-5, atol=1e-8)
    hessian = [(p.mean_gradient(w + h) - p.mean_gradient(w - h)) / 2e-4 for h in steps]
    np.testing.assert_allclose(p.hessian(w), hessian, rtol=1e-5, atol=1e-8)
    one_by_one = p.gradient(np.tile(w, (p.n, 1)), np.arange(p.n)).mean(axis=0)
    np.testing.assert_allclose(p.mean_gradient(w), one_by_one, rtol=1e-9)


def test_the_bias_balances_the_mean_gradient_to_second_order(logistic):
    """With weights spread by S around the optimum, moving all by the bias makes their mean gradient vanish."""
    p = logistic
    z = np.random.default_rng(0).standard_normal((4000, p.size)) * 0.03
    z = np.concatenate([z, -z])  # no third moment
    bias = p.bias(z.T @ z / len(z))
    left = [np.linalg.norm(np.mean([p.mean_gradient(p.optimum + b + e) for e in z], axis=0)) for b in (0, bias)]
    assert left[1] < 0.05 * left[0]


def test_rounding_variance_is_that_of_stochastic_rounding():
    """Of 1e5 roundings of one number, for several numbers."""
    for shift in (0.0, 0.1, 0.5, -0.3, 2.75):
        y = lp.quantize(np.full(100_000, 0.25 * (3 + shift)), "fixed12.2", "stochastic", lp.random.Stream(1))
        assert y.var() / 0.25**2 == pytest.approx(float(linear_problem.rounding_variance(np.array(shift))), abs=3e-3)


def test_the_floor_of_one_weight_is_the_closed_form():
    """With normal gradients of deviation s: S = (gap s / 2a) h(r), h(r) = r + G(r) / r, r = lr s / gap.

    G(r) = 1/6 - sum_k exp(-2 (pi k r)^2) / (pi k)^2 is the mean of p (1 - p) over normal shifts. X = 1 or -1 makes the
    gradient as normal as the residual, and lr small makes S negligible beside it.
    """
    rng = np.random.default_rng(0)
    X = rng.choice([-1.0, 1.0], (4000, 1))
    p = linear_problem.LinearProblem(X, 0.3 * X[:, 0] + rng.standard_normal(4000))
    lr, gap, k = 1e-4, 2e-4, np.arange(1, 200)
    r = lr / gap
    G = 1 / 6 - (np.exp(-2 * (np.pi * k * r) ** 2) / (np.pi * k) ** 2).sum()
    S, _ = linear_problem.stationary(p, lr, gap)
    assert S.item() == pytest.approx(gap / 2 * (r + G / r), rel=0.05)


def test_the_average_approaches_its_limit(linear):
    """T E|avg - w*|^2 -> tr A^-1 (what a step adds) A^-1 / lr^2."""
    lr, T = 0.01, 10**7
    S, step = linear_problem.stationary(linear, lr, 2.0**-5)
    inverse = np.linalg.inv(linear.hessian)
    limit = np.trace(inverse @ step @ inverse) / lr**2
    assert T * linear_problem.averaged(linear, S, lr, T) == pytest.approx(limit, rel=1e-3)
    assert linear_problem.averaged(linear, S, lr, 1) == pytest.approx(np.trace(S))  # an average of one


def test_squared_mean_is_unbiased_and_knows_its_error():
    """Over 300 samples of 20 vectors around a mean of length 1: no bias, and errors of the size stated."""
    mean = np.full(4, 0.5)
    found = [
        logistic_regression.squared_mean(mean + np.random.default_rng(i).standard_normal((20, 4))) for i in range(300)
    ]
    values, errors = np.array(found).T
    assert values.mean() == pytest.approx(1, abs=0.1)
    assert values.std() == pytest.approx(errors.mean(), rel=0.2)


def test_an_average_in_float_is_the_mean():
    average, x = averaging.RunningMean(None), np.random.default_rng(0).standard_normal((9, 3))
    for row in x:
        average.add(row)
    np.testing.assert_allclose(average.mean, x.mean(axis=0))


def test_slope_is_the_exponent_and_difference_the_standard_error():
    assert sgd.slope([1, 10, 100], [5, 0.5, 0.05]) == pytest.approx(-1)
    gap, error = report.difference([1.0, 2.0, 3.0], [0.0, 0.0, 0.0])
    assert (gap, error) == (2, pytest.approx(math.sqrt(1 / 3)))
    assert report.difference([1.0, 2.0, None, 6.0], [0.5, 1.5, 9.0, None]) == (0.5, 0)  # paired; whole pairs only
    assert math.isnan(report.difference([1.0, None], [2.0, 3.0])[1])


@pytest.mark.parametrize("value, passed", [(1.0, True), (2.0, False), (math.nan, False)])
def test_nothing_but_a_number_in_the_band_passes(value, passed):
    assert report.within("claim", value, 0.5, 1.5).passed == passed
