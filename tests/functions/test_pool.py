"""Pooling against a loop over windows, for any geometry that hypothesis draws."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import lpnet as lp
from lpnet import functions as F

from . import windows
from .cases import distinct, normal

OPS = [F.max_pool2d, F.avg_pool2d]


@st.composite
def poolings(draw):
    """Draw an input and a geometry that fits: windows that overlap, touch or leave gaps, and padding."""
    size, stride = draw(windows.pairs(1, 3)), draw(st.none() | windows.pairs(1, 3))
    padding = tuple(draw(st.integers(0, k // 2)) for k in windows.both(size))
    x = distinct(draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    steps = windows.both(size if stride is None else stride)
    assume(min(windows.out_shape(x.shape[2:], windows.both(size), steps, padding, (1, 1))) > 0)
    return x, (size, stride, padding)


@pytest.mark.parametrize("op", OPS)
@given(drawn=poolings())
def test_pooling_is_the_definition(op, drawn):
    """Each output is the largest value, or the mean with the border's zeros, of its window; gradients are exact."""
    x, geometry = drawn
    area = math.prod(windows.both(geometry[0]))
    witness = windows.pool2d(x, max if op is F.max_pool2d else lambda values: sum(values) / area, *geometry)
    np.testing.assert_allclose(op(lp.Tensor(x), *geometry).data, witness, rtol=1e-12, atol=1e-15, strict=True)
    assert lp.gradcheck(lambda t: op(t, *geometry), [x])


def test_the_border_never_wins_and_the_first_of_equals_does():
    """max_pool2d's padding is no number: negative inputs stay; at a tie one element gets the whole error."""
    x = lp.Tensor(-np.ones((1, 1, 3, 3)), requires_grad=True)
    y = F.max_pool2d(x, 3, 2, 1)
    y.backward(np.ones(y.shape))
    np.testing.assert_array_equal(y.data, -np.ones((1, 1, 2, 2)))
    np.testing.assert_array_equal(x.grad[0, 0], [[1, 1, 0], [1, 1, 0], [0, 0, 0]])


def test_nan_is_not_hidden():
    """A window that sees a NaN gives NaN."""
    x = np.ones((1, 1, 2, 4))
    x[0, 0, 1, 0] = x[0, 0, 0, 3] = np.nan
    assert np.isnan(F.max_pool2d(lp.Tensor(x), 2).data).all()


def test_windows_of_more_than_256_places():
    """The place of the maximum is kept for windows of any size."""
    x = lp.Tensor(distinct(1, 1, 17, 17), requires_grad=True)
    F.max_pool2d(x, 17).sum().backward()
    np.testing.assert_array_equal(x.grad, x.data == x.data.max())


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    ("shape", "geometry", "words"),
    [
        ((1, 4, 4), (2,), r"expected input \(N, C, H, W\), got \(1, 4, 4\)"),
        ((1, 1, 2, 2), (3,), r"a window of \(3, 3\) does not fit into an input of \(2, 2\)"),
        ((1, 1, 4, 4), (2, 0), "stride must be an integer of at least 1"),
        ((1, 1, 4, 4), (0,), "size must be an integer of at least 1"),
        ((1, 1, 4, 4), (2, 2, 2), "padding 2 is more than half the window 2"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(op, shape, geometry, words):
    """The error names the operation, what came and what would do."""
    with pytest.raises(ValueError, match=f"{op.__name__}: {words}"):
        op(lp.Tensor(normal(*shape)), *geometry)
