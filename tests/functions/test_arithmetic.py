"""Elementwise operations: values against NumPy and math, and what each does at its edges."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import lpnet as lp
from lpnet import functions as F

from .cases import away, distinct

NUMPY = ["add", "sub", "mul", "div", "maximum", "minimum"]
PAIRS = mutually_broadcastable_shapes(num_shapes=2, max_dims=3, max_side=3)


def numpy_twin(name):
    """Return NumPy's function for ours."""
    return getattr(np, {"sub": "subtract", "mul": "multiply", "div": "divide"}.get(name, name))


@pytest.mark.parametrize("name", NUMPY)
@given(shapes=PAIRS)
def test_binary_operations_broadcast_as_numpy_does(name, shapes):
    """Any two shapes that NumPy broadcasts give NumPy's result and exact gradients."""
    sizes = [math.prod(s) for s in shapes.input_shapes]
    numbers = distinct(sum(sizes)) + 0.03  # none near 0 or near each other
    a, b = (part.reshape(s) for part, s in zip(np.split(numbers, sizes[:1]), shapes.input_shapes, strict=True))
    op = getattr(F, name)
    np.testing.assert_array_equal(op(lp.Tensor(a), lp.Tensor(b)).data, numpy_twin(name)(a, b))
    assert lp.gradcheck(op, (a, b), eps=1e-5 if name == "div" else 1e-4, atol=1e-7)


TWINS = [
    (F.exp, math.exp),
    (F.log, math.log),
    (F.sqrt, math.sqrt),
    (F.absolute, abs),
    (F.neg, lambda x: -x),
    (lambda x: F.power(x, 2.5), lambda x: x**2.5),
]


@pytest.mark.parametrize(("op", "twin"), TWINS)
@given(x=st.floats(1e-3, 50))
def test_single_numbers_against_math(op, twin, x):
    """One float64 number gives what Python's math gives."""
    assert op(lp.Tensor(np.float64(x))).item() == pytest.approx(twin(x), rel=1e-14)


@pytest.mark.parametrize(("op", "share"), [(F.maximum, (1, 0)), (F.minimum, (1, 0))])
def test_equal_values_give_the_gradient_to_the_first(op, share):
    """At a tie one of two gets the gradient, not both."""
    a, b = lp.Tensor([2.0], requires_grad=True), lp.Tensor([2.0], requires_grad=True)
    op(a, b).backward()
    assert (a.grad.item(), b.grad.item()) == share


@pytest.mark.parametrize("op", [F.maximum, F.minimum])
def test_nan_passes_through_extremes(op):
    """A NaN on either side is not hidden."""
    nan = lp.Tensor([np.nan, 1.0]), lp.Tensor([1.0, np.nan])
    assert np.isnan(op(*nan).data).all()


def test_extremes_compare_in_the_tensors_dtype():
    """A Python number is compared as the float64 it is, not as the nearest float32."""
    a = lp.Tensor(np.array([0.1 + 1e-10, 0.1 - 1e-10]))
    np.testing.assert_array_equal(F.maximum(a, 0.1).data, [0.1 + 1e-10, 0.1])
    np.testing.assert_array_equal(a.clip(0.1, 0.1).data, [0.1, 0.1])


@pytest.mark.parametrize("op", [F.absolute, F.relu])
def test_gradient_at_the_kink_is_zero(op):
    """The corner of |x| and of max(x, 0) has gradient 0."""
    x = lp.Tensor([0.0, -0.0], requires_grad=True)
    op(x).backward([1.0, 1.0])
    np.testing.assert_array_equal(x.grad, [0, 0])


@pytest.mark.parametrize(("n", "slope"), [(0, 0), (1, 1), (2, 0), (3, 0)])
def test_powers_at_zero(n, slope):
    """x^n has a finite gradient at 0 for n = 0, 1, 2, ..."""
    x = lp.Tensor([0.0], requires_grad=True)
    F.power(x, n).backward()
    assert x.grad.item() == slope


def test_a_zero_to_a_tensors_power_has_finite_slopes():
    """0^n is 0 for n > 0 and 1 for n = 0; neither slope is NaN, as in PyTorch."""
    x, n = lp.Tensor([0.0, 0.0, 2.0], requires_grad=True), lp.Tensor([2.0, 0.0, 0.0], requires_grad=True)
    y = x**n
    y.sum().backward()
    np.testing.assert_array_equal(y.data, [0, 1, 1])
    np.testing.assert_array_equal(x.grad, [0, 0, 0])
    np.testing.assert_allclose(n.grad, [0, 0, np.log(2)], rtol=1e-6)


@pytest.mark.parametrize("condition", [[True, False], np.array([1, 0]), lp.Tensor([1.0, 0.0])])
def test_where_takes_any_truth_values(condition):
    """A list, an array or a tensor chooses."""
    a = away(2)
    np.testing.assert_array_equal(F.where(condition, lp.Tensor(a), 7).data, [a[0], 7])


def test_where_broadcasts_to_its_condition():
    """A condition wider than both values stretches them, and their gradients are summed back."""
    mask = np.array([[True, False, True], [True, True, True]])
    a, b = lp.Tensor([2.0], requires_grad=True), lp.Tensor(3.0, requires_grad=True)
    F.where(mask, a, b).sum().backward()
    assert (a.grad.shape, a.grad.item(), b.grad.shape, b.grad.item()) == ((1,), 5, (), 1)


def test_shapes_that_do_not_fit_are_refused():
    """NumPy's sentence, which names both shapes, reaches the user."""
    with pytest.raises(ValueError, match=r"\(2,\) \(3,\)"):
        lp.Tensor([1.0, 2.0]) + lp.Tensor([1.0, 2.0, 3.0])


@pytest.mark.parametrize("n", [np.float64(2), np.float32(2), np.int64(2), np.int8(2)])
def test_numpys_numbers_are_exponents_that_leave_the_dtype(n):
    """float32 stays float32 in both directions."""
    x = lp.Tensor(np.float32([1.5, -3]), requires_grad=True)
    y = x**n
    y.backward(np.ones(2))
    assert y.dtype == x.grad.dtype == np.float32
    assert y.data.tolist() == [2.25, 9] and x.grad.tolist() == [3, -6]
