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


@pytest.mark.parametrize("op", [F.sum, F.mean, F.max, F.min, F.prod, F.logsumexp, F.var])
@pytest.mark.parametrize("axis", [0, -1, (0,)])
def test_one_number_has_an_axis(op, axis):
    """Along axis 0 of a tensor without axes, as without an axis, and so does its gradient; axis 1 is refused."""
    one, two = (lp.Tensor(np.array(0.75), requires_grad=True) for _ in range(2))
    y, wanted = op(one, axis), op(two)
    assert y.shape == () and y.item() == wanted.item()
    y.backward()
    wanted.backward()
    np.testing.assert_array_equal(one.grad, two.grad, strict=True)
    with pytest.raises(np.exceptions.AxisError):
        op(one, 1)


def test_cumsum_of_one_number_has_its_shape():
    """Where NumPy makes an axis of it, and the gradient could not go back."""
    x = lp.Tensor(np.array(3.0), requires_grad=True)
    y = F.cumsum(x, 0)
    y.backward()
    assert y.shape == () and y.item() == 3 and x.grad.shape == () and x.grad == 1


@pytest.mark.parametrize("shape, axis", [((0,), 0), ((3, 0), 1), ((0, 3), 1), ((0, 3), 0)])
@pytest.mark.parametrize("op", [F.prod, F.softmax, F.log_softmax, F.cumsum])
def test_nothing_goes_along_empty_axes(op, shape, axis):
    """NumPy's product, or a tensor of the shape, and a gradient of it."""
    x = lp.Tensor(np.zeros(shape), requires_grad=True)
    y = op(x, axis)
    expected = np.zeros(shape).prod(axis) if op is F.prod else np.zeros(shape)
    np.testing.assert_array_equal(y.data, expected, strict=True)
    y.sum().backward()
    assert x.grad.shape == shape


@pytest.mark.parametrize("correction", [0, 1, 1.5])
@pytest.mark.parametrize("axis", [None, 0, (0, 1)])
def test_the_variance_is_corrected_as_numpys(correction, axis):
    """Variance and deviation divide by the number of elements less the correction; gradients are exact."""
    x = distinct(3, 4)
    t = lp.Tensor(x)
    np.testing.assert_allclose(t.var(axis, correction=correction).data, x.var(axis, ddof=correction), rtol=1e-13)
    np.testing.assert_allclose(t.std(axis, correction=correction).data, x.std(axis, ddof=correction), rtol=1e-13)
    assert lp.gradcheck(lambda t: F.var(t, axis, correction=correction), [x])


def test_argmax_keeps_the_axis():
    """On request, as in NumPy."""
    x = distinct(3, 4)
    np.testing.assert_array_equal(lp.Tensor(x).argmax(1, keepdims=True), x.argmax(1, keepdims=True))
