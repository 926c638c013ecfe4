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
def poolings(draw, dilations):
    """Draw an input and a geometry that fits: windows that overlap, touch, leave gaps or have them, and padding."""
    size, stride = draw(windows.pairs(1, 3)), draw(st.none() | windows.pairs(1, 3))
    padding = tuple(draw(st.integers(0, k // 2)) for k in windows.both(size))
    x = distinct(draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    steps, dilation = windows.both(size if stride is None else stride), draw(dilations)
    geometry = windows.both(size), steps, padding, windows.both(dilation)
    assume(min(windows.out_shape(x.shape[2:], *geometry)) > 0)
    # A window with gaps, all whose places are border, has no largest number.
    assume(all(p < n or d == 1 for n, p, d in zip(x.shape[2:], padding, windows.both(dilation), strict=True)))
    return x, {
        "size": size,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": draw(st.booleans()),
    }


@given(drawn=poolings(windows.pairs(1, 2)))
def test_the_largest_is_that_of_the_definition(drawn):
    """Each output is the largest value that its window sees; gradients are exact."""
    x, geometry = drawn
    witness = windows.pool2d(x, lambda values, places: max(values, default=-math.inf), **geometry)
    np.testing.assert_array_equal(F.max_pool2d(lp.Tensor(x), **geometry).data, witness, strict=True)
    if np.isfinite(witness).all():
        assert lp.gradcheck(lambda t: F.max_pool2d(t, **geometry), [x])


@given(drawn=poolings(st.just(1)), padding_too=st.booleans())
def test_the_mean_is_that_of_the_definition(drawn, padding_too):
    """Each output is the mean of what its window sees, the padding's zeros counted or not; gradients are exact."""
    x, geometry = drawn
    witness = windows.pool2d(
        x, lambda values, places: sum(values) / (places if padding_too else len(values)), **geometry
    )
    del geometry["dilation"]

    def pool(t):
        return F.avg_pool2d(t, **geometry, count_include_pad=padding_too)

    np.testing.assert_allclose(pool(lp.Tensor(x)).data, witness, rtol=1e-12, atol=1e-15, strict=True)
    assert lp.gradcheck(pool, [x])


@given(shape=st.tuples(*[st.integers(1, 5)] * 4), out=st.tuples(*[st.none() | st.integers(1, 4)] * 2))
def test_adaptive_means_share_rows_and_columns(shape, out):
    """Each output is the mean of the rows and columns that its share of the image touches."""
    x = normal(*shape)
    sides = [
        [(n * i // m, math.ceil(n * (i + 1) / m)) for i in range(m)]
        for n, m in zip(shape[2:], (m or n for m, n in zip(out, shape[2:], strict=True)), strict=True)
    ]
    witness = [[x[:, :, a:b, c:d].mean((2, 3)) for c, d in sides[1]] for a, b in sides[0]]
    y = F.adaptive_avg_pool2d(lp.Tensor(x), out).data
    np.testing.assert_allclose(y, np.moveaxis(witness, (0, 1), (2, 3)), rtol=1e-12, atol=1e-15, strict=True)


@pytest.mark.parametrize("op", [F.max_pool2d, F.avg_pool2d, F.adaptive_avg_pool2d])
def test_one_image_is_a_batch_of_one(op):
    """(C, H, W) gives what (1, C, H, W) does, without the first axis, and its gradient."""
    one, batch = lp.Tensor(normal(2, 5, 6), requires_grad=True), lp.Tensor(normal(2, 5, 6)[None], requires_grad=True)
    y, expected = op(one, 3), op(batch, 3)
    assert np.array_equal(y.data, expected.data[0])
    y.sum().backward(), expected.sum().backward()
    assert np.array_equal(one.grad, batch.grad[0])


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
        ((4, 4), (2,), r"expected input \(N, C, H, W\) or \(C, H, W\), got \(4, 4\)"),
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
