"""The mean over all random numbers of a stochastically rounded block: itself, unless its scale lets it clip."""

import math

import numpy as np
import pytest

import lpnet as lp

BITS = 7
UNBIASED = ["mxfp4_e2m1:ceil", "mxfp6_e3m2:ceil", "mxfp6_e2m3:ceil", "mxfp8_e4m3:ceil", "mxint8:ceil", "mxfp4_e2m1:4/3"]
FLOOR = ["mxfp4_e2m1", "mxfp6_e3m2", "mxfp6_e2m3", "mxfp8_e4m3", "mxint8"]


class Same(lp.random.Stream):
    """Gives every element the same of 2^BITS random numbers."""

    def __init__(self, number):
        super().__init__()
        self.lane = number << (16 - BITS)

    def draw(self, n):
        return np.full(n, self.lane, np.uint16)


def mean(x, name):
    """Return the mean of x rounded with every random number there is."""
    return np.mean([lp.quantize(x, name, lp.Stochastic(BITS), Same(i)) for i in range(2**BITS)], axis=0)


def blocks():
    """Return blocks of 32 in float64 whose largest numbers have every leading mantissa, each of many sizes."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (256, 32)) * np.exp2(rng.uniform(-9, 0, (256, 32)))
    x[:, 0] = 1 + np.arange(256) / 256  # the largest of its block
    return x * np.exp2(rng.integers(-20, 20, (256, 1)))


@pytest.mark.parametrize("name", UNBIASED)
def test_the_mean_is_the_number_itself(name):
    """By the rules ceil and 4/3 (3/4 of the number), up to the half of a random number's last bit."""
    x, fmt = blocks(), lp.format(name)
    allowed = 2.0 ** -(BITS + 1) * (1 + 1e-9)
    assert (abs(mean(x, name) - x) <= allowed * fmt.spacing(x)).all()


@pytest.mark.parametrize("name", FLOOR)
def test_floor_takes_away_what_lies_beyond_the_largest_element(name):
    """By the rule floor the mean is the number, or the largest element where that is less: never more, often less."""
    x, fmt = blocks(), lp.format(name)
    top = fmt.max * fmt.expand(fmt.scales(x), x.shape)
    beyond = abs(x) > top
    expected = np.clip(x, -top, top)
    allowed = 2.0 ** -(BITS + 1) * (1 + 1e-9)
    found = mean(x, name)
    np.testing.assert_array_equal(found[beyond], expected[beyond])
    assert (abs(found - expected) <= allowed * fmt.spacing(expected)).all()
    assert abs(found).sum() < abs(x).sum()


@pytest.mark.parametrize("name", FLOOR)
def test_how_often_floor_clips(name):
    """Of blocks of every leading mantissa m, those with m > max / 2^emax: log2 of 2^(emax + 1) / max of a log scale."""
    fmt = lp.format(name)
    share = math.log2(2.0 ** (fmt.emax + 1) / fmt.max)
    largest = np.exp2((np.arange(4000) + 0.5) / 4000)[:, None]
    clipped = lp.quantize(largest, name, "ceil") < largest
    assert clipped.mean() == pytest.approx(share, abs=1e-3)
    assert not (lp.quantize(largest, f"{name}:ceil", "ceil") < largest).any()


def test_a_product_of_unbiased_operands_is_unbiased():
    """With operands that draw apart, the mean over all pairs of random numbers is the product of the means."""
    x, W = blocks()[:2] * 2.0**-10, blocks()[2:5]
    rounded = [
        [lp.quantize(a, "mxfp4_e2m1:ceil", lp.Stochastic(BITS), Same(i)) for i in range(2**BITS)] for a in (x, W)
    ]
    pairs = np.mean([a @ b.T for a in rounded[0] for b in rounded[1]], axis=0)
    np.testing.assert_allclose(pairs, mean(x, "mxfp4_e2m1:ceil") @ mean(W, "mxfp4_e2m1:ceil").T, rtol=1e-12)
    np.testing.assert_allclose(pairs, x @ W.T, atol=0.01 * (abs(x) @ abs(W.T)).max())
