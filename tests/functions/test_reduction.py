"""Sums, means and extremes: NumPy's results over any axes, exact gradients, and ties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, valid_tuple_axes

import lpnet as lp
from lpnet import functions as F

from .cases import distinct


@st.composite
def arrays_and_axes(draw):
    """Draw an array whose elements are apart from each other, and one, some or all of its axes."""
    x = distinct(*draw(array_shapes(max_dims=3, max_side=3)))
    return x, draw(st.none() | st.integers(-x.ndim, x.ndim - 1) | valid_tuple_axes(x.ndim, min_size=1))


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "var"])
@given(drawn=arrays_and_axes(), keepdims=st.booleans())
def test_reductions_are_numpys(name, drawn, keepdims):
    """Any axes, kept or not, give NumPy's result and exact gradients."""
    x, axis = drawn
    op, twin = getattr(F, name), getattr(np, name)
    np.testing.assert_allclose(
        op(lp.Tensor(x), axis, keepdims).data, twin(x, axis=axis, keepdims=keepdims), rtol=1e-14, atol=1e-16
    )
    assert lp.gradcheck(lambda t: op(t, axis, keepdims), [x])


@given(drawn=arrays_and_axes())
def test_std_squared_is_var(drawn):
    """std is the root of var."""
    x, axis = drawn
    np.testing.assert_allclose(F.std(lp.Tensor(x), axis).data ** 2, x.var(axis=axis), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("op", [F.max, F.min])
def test_ties_share_the_gradient(op):
    """Equal extremes share the gradient evenly, so that its sum is that of the error."""
    x = lp.Tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 5.0, 5.0]], requires_grad=True)
    op(x, axis=1).backward([1.0, 1.0])
    np.testing.assert_array_equal(x.grad[0], [0.25] * 4)
    np.testing.assert_array_equal(x.grad.sum(axis=1), [1, 1])


def test_min_keeps_the_lowest_number_of_a_lopsided_format():
    """Selecting rounds nothing: -1 stays -1 where +1 cannot be represented."""
    with lp.use(lp.Precision(activation=lambda x: np.clip(x, -1, 0.875))):
        assert F.min(lp.Tensor([-1.0, 0.5])).item() == -1


def test_the_mean_of_float32_is_float32():
    """A mean of many float32 numbers is summed pairwise, as NumPy does, and stays float32."""
    y = F.mean(lp.Tensor(np.full(100_000, 0.1, np.float32)))
    assert y.dtype == np.float32 and y.item() == pytest.approx(0.1, rel=1e-6)


def test_argmax_is_numpys():
    """The place of the largest element, an array of integers without a gradient; along an axis or in all."""
    x = np.random.default_rng(3).standard_normal((3, 4))
    np.testing.assert_array_equal(lp.Tensor(x).argmax(axis=1), x.argmax(axis=1))
    assert F.argmax(lp.Tensor(x)) == x.argmax()
