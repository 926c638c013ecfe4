"""Operations that select: what was not selected gets no error, whatever the error is."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import functions as F

INF, NAN = np.inf, np.nan


def gradient(op, x, seed):
    """Return the gradient of x, given an error of `seed` everywhere."""
    x = lp.Tensor(np.array(x, np.float32), requires_grad=True)
    y = op(x)
    y.backward(np.full(y.shape, seed, np.float32))
    return x.grad.ravel()


def square(op):
    """Return `op` of four numbers as an image of 2 x 2."""
    return lambda x: op(x.reshape(1, 1, 2, 2))


@pytest.mark.parametrize("seed", [INF, -INF, NAN, 1.0, -2.0])
@pytest.mark.parametrize(
    ("op", "x", "chosen"),
    [
        (F.relu, [-1, 2], [0, 1]),
        (lambda x: F.relu(x.reshape(1, 2)[[0] * (1 << 18)])[0], [-1, 2], [0, 1]),  # in many pieces
        (F.max, [1, 2], [0, 1]),
        (F.min, [1, 2], [1, 0]),
        (lambda x: F.maximum(x, 0.0), [-1, 2], [0, 1]),
        (lambda x: F.minimum(x, 0.0), [-1, 2], [1, 0]),
        (lambda x: x.clip(0, 1), [-1, 0.5, 2], [0, 1, 0]),
        (lambda x: F.where([True, False], x, 0.0), [1, 2], [1, 0]),
        (lambda x: F.power(x, 0), [0, 2], [0, 0]),
        (square(lambda x: F.max_pool2d(x, 2)), [1, 2, 3, 4], [0, 0, 0, 1]),
        (square(lambda x: F.max_pool2d(x, 2, 1)), [1, 2, 3, 4], [0, 0, 0, 1]),
    ],
)
def test_what_is_not_selected_gets_no_error(op, x, chosen, seed):
    """Also an infinite error is 0 there, and goes where the value came from unchanged."""
    np.testing.assert_array_equal(gradient(op, x, seed), [seed if c else 0.0 for c in chosen])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dropout_selects(dtype):
    """What is dropped is 0 in both directions, also of infinity; what is kept is divided by 1 - p."""
    x = lp.Tensor(np.full(64, INF, dtype), requires_grad=True)
    y = F.dropout(x, 0.5, lp.random.Stream(1))
    y.backward(np.full(64, -INF, dtype))
    assert set(y.data) == {0, INF}
    np.testing.assert_array_equal(x.grad, -y.data)


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_the_deviation_of_equal_numbers_is_flat(axis):
    """At the kink of std the gradient is 0, as torch has it, and elsewhere that of the root of the variance."""
    assert not gradient(lambda x: F.std(x, axis), np.full((2, 3), 3.0), 1.0).any()
    mixed = gradient(lambda x: F.std(x, 1), [[3, 3], [1, 2]], 1.0)
    np.testing.assert_allclose(mixed, [0, 0, -0.5, 0.5])


@pytest.mark.parametrize("geometry", [(3, 2, 1), (2, 2, 1), (2, 1, 1)])
@pytest.mark.parametrize("value", [-INF, NAN])
def test_padding_gets_no_error(geometry, value):
    """Each window gives its whole error to the image, also where the image is what padding is filled with, or NaN."""
    x = lp.Tensor(np.full((1, 1, 4, 4), value), requires_grad=True)
    y = F.max_pool2d(x, *geometry)
    y.backward(np.ones(y.shape))
    assert x.grad.sum() == y.size


@pytest.mark.parametrize(
    ("op", "x", "chosen"),
    [
        (F.max, [1, NAN, 3], [0, 1, 0]),
        (F.min, [NAN, 1, NAN], [0.5, 0, 0.5]),
        (lambda x: F.maximum(x, 1.0), [NAN, 0], [1, 0]),
        (lambda x: F.maximum(1.0, x), [NAN, 0], [1, 0]),
        (lambda x: F.minimum(1.0, x), [NAN, 2], [1, 0]),
        (square(lambda x: F.max_pool2d(x, 2)), [9, NAN, 3, NAN], [0, 1, 0, 0]),
    ],
)
def test_nan_is_the_extreme(op, x, chosen):
    """The result is NaN where an input is, and the error goes to that input."""
    assert np.isnan(op(lp.Tensor(x)).data).any()
    np.testing.assert_array_equal(gradient(op, x, 1.0), chosen)


def test_the_padding_row_of_an_embedding_learns_nothing():
    """Its gradient is 0 however often it comes; every other row gets the sum of the errors of its places."""
    W = lp.Tensor(np.ones((3, 2)), requires_grad=True)
    F.embedding([[0, 2], [2, 1]], W, padding_idx=-1).sum().backward()
    assert W.grad.tolist() == [[1, 1], [1, 1], [0, 0]]


@pytest.mark.parametrize(
    ("index", "error", "words"),
    [
        ([0, 3], ValueError, r"indices must be in 0..2, got 0..3"),
        ([-1], ValueError, r"indices must be in 0..2"),
        ([0.5], TypeError, "indices must be whole"),
    ],
)
def test_indices_that_name_no_row_are_refused(index, error, words):
    """The error says which rows there are."""
    with pytest.raises(error, match=f"embedding: {words}"):
        F.embedding(index, lp.Tensor(np.ones((3, 2))))
