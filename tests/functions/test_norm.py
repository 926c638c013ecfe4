"""Batch and layer normalization against their definition written out in NumPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lpnet as lp
from lpnet import functions as F

from .cases import away, distinct, normal

SIDE = st.integers(1, 3)


@given(n=st.integers(2, 4), c=SIDE, rest=st.lists(SIDE, max_size=2))
def test_batch_norm(n, c, rest):
    """Channel by channel (x - mean) / sqrt(var + eps), times weight plus bias; gradients are exact."""
    x, weight, bias = distinct(n, c, *rest) * 10, away(c), normal(c)
    y = F.batch_norm(*map(lp.Tensor, (x, weight, bias)), eps=0.01).data
    for k in range(c):
        channel = x[:, k]
        expected = (channel - np.mean(channel)) / np.sqrt(np.var(channel) + 0.01) * weight[k] + bias[k]
        np.testing.assert_allclose(y[:, k], expected, rtol=1e-10, atol=1e-12)
    assert lp.gradcheck(lambda *xs: F.batch_norm(*xs, eps=0.01), [x, weight, bias])


@given(lead=st.lists(SIDE, max_size=2), shape=st.lists(SIDE, min_size=1, max_size=2))
def test_layer_norm(lead, shape):
    """Sample by sample over the last axes; gradients are exact."""
    x, weight, bias = distinct(*lead, *shape) * 10, away(*shape), normal(*shape)
    y = F.layer_norm(*map(lp.Tensor, (x, weight, bias)), eps=0.01).data
    for i in np.ndindex(*lead):
        expected = (x[i] - x[i].mean()) / np.sqrt(x[i].var() + 0.01) * weight + bias
        np.testing.assert_allclose(y[i], expected, rtol=1e-10, atol=1e-12)
    assert lp.gradcheck(lambda *xs: F.layer_norm(*xs, eps=0.01), [x, weight, bias])


@given(n=SIDE, c=SIDE, rest=st.lists(SIDE, max_size=2))
def test_given_statistics_are_constants(n, c, rest):
    """With mean and var given, the result is an affine function of x, also for one sample; gradients are exact."""
    inputs, mean, var = (normal(n, c, *rest), away(c), normal(c)), normal(c, seed=5), away(c) ** 2
    assert lp.gradcheck(lambda *xs: F.batch_norm(*xs, mean, var), inputs)
    single = F.batch_norm(*(lp.Tensor(x[:1] if i == 0 else x) for i, x in enumerate(inputs)), mean, var)
    whole = F.batch_norm(*map(lp.Tensor, inputs), mean, var)
    np.testing.assert_array_equal(single.data[0], whole.data[0])


def test_float32_keeps_its_digits_far_from_zero():
    """The variance is that of the centred values: a mean of 1000 costs digits of the input, not of the variance."""
    x = (distinct(64, 1) + 1000).astype(np.float32)
    y = F.batch_norm(lp.Tensor(x), lp.Tensor(np.ones(1)), lp.Tensor(np.zeros(1)), eps=0.0).data
    exact = x.astype(np.float64)
    np.testing.assert_allclose(y, (exact - exact.mean()) / exact.std(), atol=2e-4)


@pytest.mark.parametrize(
    ("op", "shapes", "words"),
    [
        (
            F.batch_norm,
            [(4, 3), (2,), (2,)],
            r"batch_norm: input \(4, 3\) needs .* of shape \(3,\), got \(2,\), \(2,\)",
        ),
        (F.batch_norm, [(4, 3), (3,), (2,)], r"batch_norm: .* got \(3,\), \(2,\)"),
        (F.batch_norm, [(3,), (3,), (3,)], r"batch_norm: input \(3,\)"),
        (F.batch_norm, [(1, 3), (3,), (3,)], r"batch_norm: an input of shape \(1, 3\) has one value a channel"),
        (lambda *xs: F.batch_norm(*xs, mean=np.zeros(3)), [(4, 3), (3,), (3,)], "give both mean and var, or neither"),
        (lambda *xs: F.batch_norm(*xs, np.zeros(1), np.ones(1)), [(4, 3), (3,), (3,)], r"got \(3,\), \(3,\), \(1,\)"),
        (F.layer_norm, [(4, 3), (4,), (4,)], r"layer_norm: weight \(4,\) and bias \(4,\) do not fit an input \(4, 3\)"),
        (F.layer_norm, [(3,), (1, 3), (1, 3)], "layer_norm: weight"),
        (F.layer_norm, [(3,), (), ()], "layer_norm: weight"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(op, shapes, words):
    """The error names what came and what would do."""
    with pytest.raises(ValueError, match=words):
        op(*(lp.Tensor(normal(*s)) for s in shapes))
