"""Activations against math, one number at a time, and at the ends of the range."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lpnet as lp
from lpnet import functions as F

from .cases import normal

TWINS = {
    F.relu: lambda x: max(x, 0.0),
    F.tanh: math.tanh,
    F.sigmoid: lambda x: 1 / (1 + math.exp(-x)),
    F.gelu: lambda x: x / 2 * (1 + math.erf(x / math.sqrt(2))),
}


@pytest.mark.parametrize("op", TWINS)
@given(x=st.floats(-30, 30))
def test_single_numbers_against_math(op, x):
    """One float64 number gives what its formula gives."""
    assert op(lp.Tensor(np.float64(x))).item() == pytest.approx(TWINS[op](x), rel=1e-13, abs=1e-15)


@given(x=st.floats(-30, 30))
def test_gelu_by_tanh(x):
    """approximate="tanh" is its own formula, within 0.0005 of the exact one; another word is refused."""
    y = F.gelu(lp.Tensor(np.float64(x)), "tanh").item()
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    assert y == pytest.approx(x / 2 * (1 + math.tanh(inner)), rel=1e-13, abs=1e-15)
    assert abs(y - F.gelu(lp.Tensor(np.float64(x))).item()) < 5e-4
    with pytest.raises(ValueError, match="gelu: approximate must be one of none, tanh, got 'erf'"):
        F.gelu(lp.Tensor([x]), "erf")


@pytest.mark.parametrize(
    ("op", "low", "high"), [(F.sigmoid, 0, 1), (F.tanh, -1, 1), (F.relu, 0, 1e30), (F.gelu, 0, 1e30)]
)
def test_the_ends_of_the_range(op, low, high):
    """Huge inputs overflow nowhere (a warning would fail the test) and have finite gradients."""
    x = lp.Tensor(np.float32([-1e30, 1e30]), requires_grad=True)
    y = op(x)
    y.backward(np.ones(2))
    np.testing.assert_allclose(y.data, [low, high])
    assert np.isfinite(x.grad).all()


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_is_a_distribution(axis):
    """Softmax sums to 1, is the ratio of exponentials, and its logarithm is log_softmax."""
    x = normal(3, 4)
    y = F.softmax(lp.Tensor(x), axis).data
    np.testing.assert_allclose(y, np.exp(x) / np.exp(x).sum(axis=axis, keepdims=True), rtol=1e-13)
    np.testing.assert_allclose(F.log_softmax(lp.Tensor(x), axis).data, np.log(y), rtol=1e-12)


@pytest.mark.parametrize("op", [F.softmax, F.log_softmax])
@pytest.mark.parametrize("shift", [1e4, -1e4])
def test_softmax_does_not_overflow(op, shift):
    """A constant added to all logits changes nothing, whatever its size."""
    x = np.array([0.0, 1.0, -2.0])
    np.testing.assert_allclose(op(lp.Tensor(x + shift)).data, op(lp.Tensor(x)).data, rtol=1e-12)
