"""The theory of sums in few bits, held against what is known of counting and against NumPy's own half precision."""

import numpy as np
import pytest

from lpnet.reproduce.summation import Adding, Summation, means


@pytest.mark.parametrize("fmt, end", [("bf16", 256), ("fp16", 2048), ("e6m9", 1024)])
def test_counting_in_few_bits_ends_where_one_is_half_a_gap(fmt, end):
    """Ones, added one by one: every integer below 2^p is there, and then nothing moves any more."""
    counts = list(means(Adding(fmt, "nearest", np.ones(1)), 3 * end))
    assert counts[: end - 1] == list(range(1, end)) and set(counts[end - 1 :]) == {end - 1}


def test_a_stochastic_count_goes_on():
    counts = list(means(Adding("bf16", "stochastic", np.ones(1)), 2000))
    assert counts == list(range(1, 2001))


@pytest.mark.parametrize("every", [None, 64])
def test_errors_are_those_of_numpys_half_precision(every):
    """Of 3,000 products of 256 pairs, added up by NumPy's own casts to float16, in one sum or in four."""
    a, b = np.random.default_rng(0).standard_normal((2, 3000, 256))
    terms = a * b

    def added(terms):
        total = np.zeros(len(terms), np.float16)
        for term in terms.T:
            total = (total + term).astype(np.float16)  # float64 before it is rounded
        return total

    parts = terms if every is None else np.stack([added(p) for p in np.split(terms, 256 // every, 1)], 1)
    error = added(parts) - terms.sum(1)
    (theory,) = Summation("fp16", every=every, outer="fp16").error((256,))
    assert np.sqrt(np.mean(error**2)) == pytest.approx(theory, rel=0.06)


def test_sums_of_one_sign_are_those_of_numpys_half_precision():
    """Squares, until the sum loses a quarter of its growth; the theory follows the mean alone."""
    squares = np.random.default_rng(0).standard_normal((300, 6000)) ** 2
    total = np.zeros(300, np.float16)
    for term in squares.T:
        total = (total + term).astype(np.float16)
    (theory,) = Summation("fp16").sum((6000,))
    assert total.mean() == pytest.approx(theory, rel=0.01) and theory < 0.9 * 6000
