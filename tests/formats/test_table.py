"""A format that is a list of numbers."""

import statistics
from fractions import Fraction

import numpy as np
import pytest

import lpnet as lp
from lpnet import formats
from lpnet.random import Stream

NF4, SMALL = lp.format("nf4"), lp.Table((1, 2, 10), "positive", first=-1)
TABLES = [
    NF4,
    lp.Table((-3, -1, 0, 1, 3), "odd"),
    lp.Table((-1, 1), "signs"),
    SMALL,
    *map(
        lp.format,
        (
            "dynamic8",
            "dynamic8u",
            "posit8.0",
            "posit8.1",
            "posit8.2",
            "posit5.3",
            "log8.3",
            "log4.0",
        ),
    ),
]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_table_is_a_format(table):
    """It has every property, codes too, its text is read back, and the fast way gives the same bits."""
    formats.check(table)
    assert formats.format(str(table)) == table
    x = np.random.default_rng(0).standard_normal((3, 100_000)).astype(np.float32)
    for rounding in lp.rounding.MODES:
        expected = table.rule(x, rounding, Stream(1))
        np.testing.assert_array_equal(lp.quantize(x, table, rounding, Stream(1)), expected)
    np.testing.assert_array_equal(table.encode(x).decode(), table.quantize(x))


def test_every_mode_by_hand():
    """Ties go to the even place, away or up; beyond the ends are the ends; NaN stays."""
    table, x = lp.Table((-3, -1, 0, 1, 3), "t"), np.array([-9, -2, -0.5, 0.5, 0.6, 2, 9])
    expected = {
        "nearest": [-3, -3, 0, 0, 1, 3, 3],
        "nearest_away": [-3, -3, -1, 1, 1, 3, 3],
        "nearest_up": [-3, -1, 0, 1, 1, 3, 3],
        "toward_zero": [-3, -1, 0, 0, 0, 1, 3],
        "floor": [-3, -3, -1, 0, 0, 1, 3],
        "ceil": [-3, -1, 0, 1, 1, 3, 3],
    }
    for rounding, values in expected.items():
        assert table.quantize(x, rounding).tolist() == values, rounding
    assert np.isnan(table.quantize(np.array([np.nan, 1]))).tolist() == [True, False]
    share = (table.quantize(np.full(100_000, 1.5), "stochastic", Stream(3)) == 3).mean()
    assert share == pytest.approx(0.25, abs=0.01)
    assert (table.bits, table.min, table.max, table.smallest) == (3, -3, 3, 1)
    assert np.isnan(table.encode(np.array([np.nan])).decode())
    with pytest.raises(ValueError, match="no code"):
        lp.Table((-1, 1), "signs").encode(np.array([np.nan]))


@pytest.mark.parametrize("values", [(), (1,), (1, 1), (2, 1), (0, np.inf), (0, np.nan), (0, 1e39)])
def test_lists_that_are_no_table(values):
    """A list that is too short, out of order, or not of finite float32 numbers is refused."""
    with pytest.raises(ValueError, match="Table: values must"):
        lp.Table(values, "t")


def posit(code, bits, es):
    """Return the number of a posit's code, a Fraction, by the standard's formula; None for NaR."""
    if code == 0:
        return Fraction(0)
    if code == 2 ** (bits - 1):
        return None
    if code > 2 ** (bits - 1):
        return -posit(2**bits - code, bits, es)
    digits = [code >> i & 1 for i in range(bits - 2, -1, -1)]  # behind the sign
    k = next((i for i, d in enumerate(digits) if d != digits[0]), len(digits))
    regime = k - 1 if digits[0] else -k
    rest = digits[k + 1 :] + [0] * es  # exponent bits that do not fit are 0
    exponent = sum(d << (es - 1 - i) for i, d in enumerate(rest[:es]))
    fraction = sum(Fraction(d, 2 ** (i + 1)) for i, d in enumerate(rest[es:]))
    return Fraction(2) ** (regime * 2**es + exponent) * (1 + fraction)


@pytest.mark.parametrize(("bits", "es"), [(8, 0), (8, 1), (8, 2), (5, 3), (3, 1), (12, 2)])
def test_posits(bits, es):
    """Every code stands for the number of the posit standard, NaR for NaN, and ties go to even codes."""
    fmt, codes = lp.format(f"posit{bits}.{es}"), np.arange(2**bits, dtype=np.uint64)
    expected = [posit(int(code), bits, es) for code in codes]
    values = fmt.from_codes(codes, np.dtype(np.float64))
    np.testing.assert_array_equal(values, [np.nan if v is None else float(v) for v in expected])
    np.testing.assert_array_equal(fmt.to_codes(values), codes)
    ties = (values[1 : 2 ** (bits - 1) - 1] + values[2 : 2 ** (bits - 1)]) / 2
    assert not (fmt.to_codes(fmt.quantize(ties)) % 2).any()


def test_nf4_holds_quantiles():
    """Its numbers are means of a Gaussian's quantiles, eight on the side of its 1, seven on the other, and zero."""
    quantile, end = statistics.NormalDist().inv_cdf, 0.9677083
    above = [quantile(p) for p in np.linspace(end, 0.5, 9)[:-1]]
    below = [-quantile(p) for p in np.linspace(end, 0.5, 8)[:-1]]
    np.testing.assert_allclose(NF4.values, np.sort([*below, 0, *above]) / max(above), atol=1e-7)


def test_dynamic_numbers():
    """A decade has twice the numbers of the one below, in even steps; signed or not there are 256, of which 0 and 1."""
    for name, most in (("dynamic8", 64), ("dynamic8u", 128)):
        values = np.array(lp.format(name).values)
        assert len(values) == 256 and values.max() == 1 and 0 in values
        decades = [values[(values > 10.0**-e / 10) & (values < 10.0**-e)] for e in range(7)]
        assert [len(decade) for decade in decades] == [most >> e for e in range(7)]
        for decade in decades[:5]:
            np.testing.assert_allclose(np.diff(decade, 2), 0, atol=1e-12)
    assert lp.format("dynamic8u").min == 0 and np.array_equal(-values[values < 0], [])


def test_logarithmic_numbers():
    """log8.3 has 63 steps of 2^(1/8) on each side of 1, their negatives, and zero."""
    values = np.array(lp.format("log8.3").values)
    np.testing.assert_allclose(np.log2(values[128:]) * 8, np.arange(-63, 64), atol=1e-12)
    np.testing.assert_array_equal(values, -values[::-1])


@pytest.mark.parametrize("name", ["posit2.0", "posit17.1", "posit8.4", "log2.1", "log8.9"])
def test_tables_out_of_range(name):
    """A number in a name that makes no table is an error that says which."""
    with pytest.raises(ValueError, match=r"(posit|log): .*bits must be an integer from"):
        lp.format(name)
