"""Dropout: the right share, the right scale, and a mask that is a function of seed and site."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import functions as F
from lpnet.random import Stream, fork_rng


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_share_and_scale(p):
    """Each element is dropped with probability p, by five standard deviations; the others are divided by 1 - p."""
    n = 200_000
    y = F.dropout(lp.Tensor(np.ones(n)), p).data
    assert abs((y == 0).mean() - p) <= 5 * np.sqrt(p * (1 - p) / n)
    np.testing.assert_allclose(y[y != 0], 1 / (1 - p), rtol=1e-15)


def test_the_error_passes_the_same_mask():
    """What was dropped gets no error, what was scaled gets it scaled."""
    x = lp.Tensor(np.ones((10, 10)), requires_grad=True)
    y = F.dropout(x, 0.5)
    y.backward(np.ones(y.shape))
    np.testing.assert_array_equal(x.grad, y.data)


def test_the_mask_follows_seed_and_site():
    """The same site of the same stream gives the same mask, the next site another, another seed another."""
    x = lp.Tensor(np.ones(100))
    stream = Stream(3)
    first, second = (F.dropout(x, 0.5, stream).data for _ in range(2))
    again, other = (F.dropout(x, 0.5, Stream(seed)).data for seed in (3, 4))
    assert np.array_equal(first, again) and not np.array_equal(first, second) and not np.array_equal(first, other)


def test_manual_seed_repeats_and_fork_rng_takes_nothing():
    """Without a stream the default one is drawn from, and a block `fork_rng` leaves it where it was."""
    x = lp.Tensor(np.ones(100))
    lp.manual_seed(5)
    a = F.dropout(x).data
    lp.manual_seed(5)
    with fork_rng():
        F.dropout(x)
    np.testing.assert_array_equal(F.dropout(x).data, a)


@pytest.mark.parametrize("p", [-0.1, 1.0, float("nan")])
def test_probabilities_out_of_range_are_refused(p):
    """p must leave something."""
    with pytest.raises(ValueError, match=r"dropout: p must be a finite number in \[0, 1\)"):
        F.dropout(lp.Tensor([1.0]), p)
