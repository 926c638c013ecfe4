"""Matrix products against sums written out, and the sentences for shapes that do not fit."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lpnet as lp
from lpnet import functions as F

from .cases import normal

SIZE = st.integers(1, 3)
LEADS = st.sampled_from([((), ()), ((2,), ()), ((), (2,)), ((2,), (1,)), ((3, 1), (2,))])


def loop_matmul(a, b):
    """Return the product of two matrices, element by element."""
    return np.array([[sum(x * y for x, y in zip(row, column, strict=True)) for column in b.T] for row in a])


@given(m=SIZE, k=SIZE, n=SIZE, lead=LEADS)
def test_stacks_of_matrices(m, k, n, lead):
    """Leading axes broadcast, each product is the sum over k, and gradients are exact."""
    a, b = normal(*lead[0], m, k), normal(*lead[1], k, n, seed=1)
    y = F.matmul(lp.Tensor(a), lp.Tensor(b)).data
    stack = np.broadcast_shapes(*lead)
    wide_a, wide_b = np.broadcast_to(a, (*stack, m, k)), np.broadcast_to(b, (*stack, k, n))
    assert y.shape == (*stack, m, n)
    for i in np.ndindex(stack):
        np.testing.assert_allclose(y[i], loop_matmul(wide_a[i], wide_b[i]), rtol=1e-12, atol=1e-14)
    assert lp.gradcheck(F.matmul, [a, b])


@given(k=SIZE, n=SIZE, lead=st.sampled_from([(), (2,), (2, 3)]))
def test_vectors(k, n, lead):
    """A vector on either side loses its axis, as in NumPy, with exact gradients."""
    v, right, left = normal(k), normal(*lead, k, n), normal(*lead, n, k)
    np.testing.assert_allclose(F.matmul(lp.Tensor(v), lp.Tensor(right)).data, np.matmul(v, right), rtol=1e-12)
    assert lp.gradcheck(F.matmul, [v, right])
    assert lp.gradcheck(F.matmul, [left, v])


@given(o=SIZE, i=SIZE, lead=st.sampled_from([(), (1,), (4,), (2, 3)]))
def test_linear_is_matmul_and_add(o, i, lead):
    """linear(x, W, b) is x W^T + b, with exact gradients."""
    x, W, b = normal(*lead, i), normal(o, i, seed=1), normal(o)
    y = F.linear(*map(lp.Tensor, (x, W, b)))
    np.testing.assert_allclose(y.data, loop_matmul(x.reshape(-1, i), W.T).reshape(*lead, o) + b, rtol=1e-12, atol=1e-14)
    assert lp.gradcheck(F.linear, [x, W, b])


@pytest.mark.parametrize("lead", [(), (4,), (2, 3)])
def test_of_no_features_linear_is_the_bias(lead):
    """An empty sum is 0, and its gradients are empty."""
    x, W, b = lp.Tensor(np.zeros((*lead, 0)), requires_grad=True), lp.Tensor(np.zeros((5, 0)), True), normal(5)
    y = F.linear(x, W, lp.Tensor(b, requires_grad=True))
    np.testing.assert_array_equal(y.data, np.broadcast_to(b, (*lead, 5)))
    y.sum().backward()
    assert x.grad.shape == (*lead, 0) and W.grad.shape == (5, 0)


@pytest.mark.parametrize(
    ("op", "shapes", "words"),
    [
        (F.matmul, [(2, 3), (2, 3)], r"matmul: shapes \(2, 3\) and \(2, 3\) do not fit"),
        (F.matmul, [(), (2,)], r"matmul: shapes \(\) and \(2,\)"),
        (F.matmul, [(2, 3), (2,)], r"matmul: shapes \(2, 3\) and \(2,\)"),
        (F.linear, [(4, 3), (2, 5)], r"linear: input of shape \(4, 3\) does not fit a weight of shape \(2, 5\)"),
        (F.linear, [(3,), (3,)], r"linear: input"),
        (F.linear, [(), (3, 3)], r"linear: input"),
        (F.linear, [(4, 3), (2, 3), (3,)], r"linear: bias of shape \(3,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(op, shapes, words):
    """The error names both shapes."""
    with pytest.raises(ValueError, match=words):
        op(*(lp.Tensor(normal(*s)) for s in shapes))
