"""Operations that move values: NumPy's results for any shape and index that hypothesis draws."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, basic_indices, integer_array_indices

import lpnet as lp
from lpnet import functions as F

from .cases import normal

SHAPES = array_shapes(max_dims=4, max_side=3)


@st.composite
def arrays_and_axes(draw):
    """Draw an array and an order of its axes, some counted from the end."""
    x = normal(*draw(SHAPES))
    order = draw(st.permutations(range(x.ndim)))
    return x, [a - x.ndim if draw(st.booleans()) else a for a in order]


@st.composite
def arrays_and_keys(draw):
    """Draw an array and a basic or advanced index into it."""
    x = normal(*draw(SHAPES))
    return x, draw(basic_indices(x.shape, allow_newaxis=True) | integer_array_indices(x.shape))


@given(arrays_and_axes())
def test_transpose(drawn):
    """Any order of axes is NumPy's, and backward puts each error back where its value came from."""
    x, axes = drawn
    np.testing.assert_array_equal(F.transpose(lp.Tensor(x), axes).data, x.transpose(axes))
    assert lp.gradcheck(lambda t: F.transpose(t, axes), [x])


@given(arrays_and_keys())
def test_getitem(drawn):
    """Any index is NumPy's; an element picked n times gets n errors."""
    x, key = drawn
    np.testing.assert_array_equal(lp.Tensor(x)[key].data, x[key])
    assert lp.gradcheck(lambda t: t[key], [x])


def test_getitem_by_a_comparison():
    """A mask made by comparing a tensor selects from it."""
    x = lp.Tensor(normal(3, 4), requires_grad=True)
    x[x > 0].sum().backward()
    np.testing.assert_array_equal(x.grad, x.data > 0)


@given(shape=SHAPES, n=st.integers(1, 3), axis=st.integers(-4, 3))
def test_joining(shape, n, axis):
    """concatenate and stack are NumPy's along every axis, and split their error."""
    arrays = [normal(*shape, seed=i) for i in range(n)]
    for op, twin, ndim in ((F.concatenate, np.concatenate, len(shape)), (F.stack, np.stack, len(shape) + 1)):
        k = axis % ndim - (ndim if axis < 0 else 0)
        np.testing.assert_array_equal(op([lp.Tensor(a) for a in arrays], k).data, twin(arrays, k))
        assert lp.gradcheck(lambda *xs, op=op, k=k: op(xs, k), arrays)


@given(shape=SHAPES, data=st.data())
def test_pad(shape, data):
    """Any width is NumPy's."""
    widths = [data.draw(st.tuples(st.integers(0, 2), st.integers(0, 2))) for _ in shape]
    np.testing.assert_array_equal(
        F.pad(lp.Tensor(normal(*shape)), widths, 1.5).data, np.pad(normal(*shape), widths, constant_values=1.5)
    )
    assert lp.gradcheck(lambda x: F.pad(x, widths), [normal(*shape)])


@given(shape=SHAPES, new=st.integers(1, 3))
def test_broadcast_to(shape, new):
    """Stretching is NumPy's, and the errors of all copies are summed."""
    target = (new, *(max(n, new) if n == 1 else n for n in shape))
    np.testing.assert_array_equal(
        F.broadcast_to(lp.Tensor(normal(*shape)), target).data, np.broadcast_to(normal(*shape), target)
    )
    assert lp.gradcheck(lambda x: F.broadcast_to(x, target), [normal(*shape)])


@given(shape=SHAPES)
def test_reshaping_keeps_the_order(shape):
    """reshape, squeeze and expand_dims keep the elements in C order."""
    x = lp.Tensor(normal(*shape))
    squeezed = F.squeeze(x)
    assert squeezed.shape == tuple(n for n in shape if n != 1)
    assert F.expand_dims(x, (0, -1)).shape == (1, *shape, 1)
    for y in (squeezed, F.reshape(x, math.prod(shape)), F.expand_dims(x, -1)):
        np.testing.assert_array_equal(y.data.ravel(), x.data.ravel())


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: x.reshape(4), "cannot reshape array of size 6"),
        (lambda x: F.squeeze(x, 0), "squeeze"),
        (lambda x: F.concatenate([x, x.T]), "must match exactly"),
        (lambda x: F.stack([x, x.T]), "same shape"),
        (lambda x: F.concatenate([]), "at least one array"),
        (lambda x: F.stack([]), "at least one array"),
        (lambda x: F.broadcast_to(x, (3, 3)), "broadcast"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(call, words):
    """The error is a ValueError that says what does not fit."""
    with pytest.raises(ValueError, match=words):
        call(lp.Tensor(normal(2, 3)))


def test_numpys_integers_are_shapes_and_axes():
    """What x.shape or arange gives is taken like Python's numbers."""
    x, i = lp.Tensor(np.arange(6.0).reshape(2, 3)), np.int64
    assert F.reshape(x, i(6)).shape == x.reshape(i(-1)).shape == (6,)
    assert x.reshape(i(3), i(2)).shape == x.transpose(i(1), i(0)).shape == (3, 2)


def test_axes_that_are_not_there_are_refused_with_numpys_sentence():
    """Of swapaxes, and of tensors of unlike numbers of axes to join."""
    with pytest.raises(np.exceptions.AxisError, match="axis 5 is out of bounds"):
        lp.Tensor(np.ones((2, 3))).swapaxes(0, 5)
    with pytest.raises(ValueError, match="dimension"):
        F.concatenate([lp.Tensor(np.ones(2)), lp.Tensor(np.ones((2, 2)))])
