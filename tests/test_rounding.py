"""The seven modes of rounding to integers; stochastic rounding's bias, distribution and independence of chunks."""

import math
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import lpnet as lp
from lpnet import _explain, formats, random, rounding
from lpnet.rounding import MODES, Stochastic

from .formats import twin

DETERMINISTIC = [mode for mode in MODES if mode != "stochastic"]


class Lanes(random.Stream):
    """A stream that gives random numbers chosen by the test."""

    def __init__(self, lanes):
        self.lanes = np.asarray(lanes, np.uint16)

    def draw(self, n):
        return self.lanes[:n]


@pytest.mark.parametrize("mode", DETERMINISTIC)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(x=st.floats(allow_nan=False, allow_infinity=False, width=32))
@example(x=0.49999997)  # + 0.5 is 1 in float32
@example(x=-0.49999997)
@example(x=8388609.0)  # + 0.5 is a tie in float32
@example(x=2.5)
@example(x=-0.5)
@example(x=1.4e-45)
def test_equals_exact_rounding(mode, dtype, x):
    """Every mode gives what exact fractions give."""
    y = rounding.round(np.full(3, x, dtype), mode)
    assert y.dtype == dtype
    assert y.tolist() == [twin.integer(Fraction(x), mode, None, 24)] * 3


@pytest.mark.parametrize("mode", MODES)
def test_integers_and_specials_stay(mode):
    """An integer, an infinity or a NaN is left as it is, whatever the random bits."""
    n = np.float32([0, 1, -1, 127, 2.0**23 + 1, -(2.0**24), 3e38, np.inf, -np.inf, np.nan])
    with np.errstate(invalid="ignore"):
        for lanes in (0, 0x7FFF, 0xFFFF):
            np.testing.assert_array_equal(rounding.round(n, mode, Lanes([lanes] * 16)), n)


@pytest.mark.parametrize("bits", range(1, 17))
def test_every_random_number_once(bits):
    """Over all random numbers, the share that goes up is f where f is a multiple of 2^-bits.

    For other fractions the share is the nearest multiple, so the bias is 2^-(bits + 1) at most.
    """
    lanes = np.arange(2**16)
    for f in (k * 2.0**-6 for k in range(64)):
        n = np.full(2**16, f - 3, np.float64)
        up = np.mean(rounding.round(n, Stochastic(bits), Lanes(lanes)) == -2)
        assert up == f if f * 2**bits % 1 == 0 else abs(up - f) <= 2.0 ** -(bits + 1)


def test_the_bias_bound_is_reached():
    """With one bit, a quarter never goes up: the bias is the stated 2^-(bits + 1), a quarter of the gap."""
    n = np.full(2**16, 0.25, np.float32)
    assert rounding.round(n, Stochastic(1), Lanes(np.arange(2**16))).sum() == 0


@pytest.mark.parametrize("bits", [2, 5, 8])
@pytest.mark.parametrize("name", ["e4m3", "bfp4", "fixed8.6", "mxfp4_e2m1"])
def test_formats_are_unbiased_over_all_random_numbers(name, bits):
    """The mean over all random numbers is the number itself where its fraction has at most `bits` bits."""
    fmt, copies = formats.format(name), 2**bits
    x = np.ldexp(np.arange(1.0, 25.0), 0 if name == "fixed8.6" else 4)
    x = x * 2.0 ** -(6 + bits) if name == "fixed8.6" else x
    low, high = fmt.quantize(x, "floor"), fmt.quantize(x, "ceil")
    gap = np.where(high > low, high - low, 1)
    x = low + np.floor((x - low) / gap * copies) / copies * gap  # fractions of `bits` bits
    x[-1] = 24 * 16 if name != "fixed8.6" else x[-1]  # the block's exponent stays
    total = sum(fmt.quantize(x, Stochastic(bits), Lanes([r << (16 - bits)] * 32)) for r in range(copies))
    np.testing.assert_array_equal(total / copies, x)


@pytest.mark.parametrize("width", [8, 16])
def test_chi_square_of_ten_million_draws(width):
    """The upper bytes of 10^7 lanes are uniform, and so are pairs of neighbours: chi-square within five sigma."""
    lanes = random.draw(random.Stream(11), 10**7, np, width)
    upper = lanes >> (width - 6)
    for cells, counts in (
        (256, np.bincount(lanes >> (width - 8))),
        (4096, np.bincount(upper[::2].astype(int) * 64 + upper[1::2])),
    ):
        assert len(counts) == cells
        expected = counts.sum() / cells
        chi2 = ((counts - expected) ** 2 / expected).sum()
        assert abs(chi2 - (cells - 1)) < 5 * math.sqrt(2 * (cells - 1))


@pytest.mark.parametrize("f", [2.0**-10, 0.1, 1 / 3, 0.5, 0.999])
def test_ten_million_roundings(f):
    """Of 10^7 stochastic roundings a share f goes up, within five standard deviations and the stated bias."""
    n = np.full(10**7, 5 + f)
    share = np.count_nonzero(rounding.round(n, "stochastic", random.Stream(3)) == 6) / n.size
    assert abs(share - f) < 5 * math.sqrt(f * (1 - f) / n.size) + 2.0**-17


@pytest.mark.parametrize("bits", [1, 5, 8, 9])
def test_up_to_eight_bits_are_of_a_byte(bits):
    """Element i goes up by byte i of NumPy's Philox, in pieces and from the midst of a block; nine bits are of two."""
    raw = np.random.Philox(key=[5, 0], counter=[0, 2, 0, 0]).random_raw(1 << 17).astype("<u8")
    x = np.random.default_rng(0).uniform(0, 60, 300_001).astype(np.float32)
    lanes = raw.view("<u2" if bits == 9 else "u1")[: x.size]
    u = (np.floor(lanes / 2.0 ** (lanes.itemsize * 8 - bits)) + 0.5) / 2.0**bits
    expected = np.floor(x) + (u < x - np.floor(x))
    stream = random.Stream(5)
    stream.site = 2
    np.testing.assert_array_equal(lp.quantize(x, "fixed8.0", Stochastic(bits), stream), expected)
    for start in (0, 1, 31, 32, 45, 200_000):
        got = lp.quantize(x[start:], "fixed8.0", Stochastic(bits), random.Window(5, 2, start))
        np.testing.assert_array_equal(got, expected[start:])


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("chunk", [1, 7, 16, 1000, 2048])
@pytest.mark.parametrize("rounding", ["stochastic", Stochastic(5)], ids=str)
def test_chunks_and_threads_give_the_same_bits(threads, chunk, rounding):
    """An element's random number depends on its place alone, not on how the work is cut or who does it."""
    x = np.random.default_rng(0).standard_normal(2500).astype(np.float32)
    fmt, whole = formats.format("e4m3"), lp.quantize(x, "e4m3", rounding, random.Stream(9))

    def piece(start):
        return fmt.quantize(x[start : start + chunk], rounding, random.Window(9, 0, start))

    with ThreadPoolExecutor(threads) as pool:
        assert np.concatenate(list(pool.map(piece, range(0, x.size, chunk)))).tobytes() == whole.tobytes()


def test_one_site_for_each_stochastic_rounding():
    """Stochastic rounding takes one site of its stream, of an empty array too; the other modes take none."""
    stream = random.Stream(4)
    for i, x in enumerate((np.zeros((3, 5)), np.zeros((0, 4)), np.zeros(()))):
        for name in ("e4m3", "fixed8.6", "bfp8", "mxint8", "nvfp4"):
            stream.site = 100 * i
            for mode in MODES:
                lp.quantize(x.astype(np.float32), name, mode, stream)
            assert stream.site == 100 * i + 1
            lp.quantize(x.astype(np.float32), name, Stochastic(3), stream)
            assert stream.site == 100 * i + 2


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("neerest", "nearest"),
        ("stochastik", "stochastic"),
        ("up", "nearest"),
        (None, "nearest"),
    ],
)
def test_unknown_modes(name, near):
    """An unknown mode is an error that names it and the nearest valid names."""
    with pytest.raises(ValueError, match=f"{name!r}.*{near}"):
        lp.quantize(np.float32([1]), "e4m3", name)


@pytest.mark.parametrize("bits", [0, 17, 2.5, True, None])
def test_bits_out_of_range(bits):
    """Stochastic takes 1 to 16 bits."""
    with pytest.raises(ValueError, match=r"Stochastic: bits must be an integer from 1 to 16"):
        Stochastic(bits)


@pytest.mark.parametrize("bits", [np.int64(4), np.uint8(4), 4.0])
def test_bits_become_pythons(bits):
    """Whatever integer says how many bits, the value is the same and prints the same."""
    assert Stochastic(bits) == Stochastic(4) and repr(Stochastic(bits)) == "Stochastic(bits=4)"


def test_every_mode_has_a_twin_and_a_rule_in_words():
    """A new mode without a scalar twin, or that `explain` has no words for, fails here."""
    assert list(MODES) == list(twin.MODES) == list(_explain.RULES)
