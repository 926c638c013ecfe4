"""A format that is a list of numbers."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import formats
from lpnet.random import Stream

NF4 = lp.Table(
    (
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ),
    "nf4",
)
TABLES = [NF4, lp.Table((-3, -1, 0, 1, 3), "odd"), lp.Table((-1, 1), "signs"), lp.Table((1, 2, 10), "positive")]


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
    with pytest.raises(ValueError, match="no code"):
        table.encode(np.array([np.nan]))


@pytest.mark.parametrize("values", [(), (1,), (1, 1), (2, 1), (0, np.inf), (0, np.nan), (0, 1e39)])
def test_lists_that_are_no_table(values):
    """A list that is too short, out of order, or not of finite float32 numbers is refused."""
    with pytest.raises(ValueError, match="Table: values must"):
        lp.Table(values, "t")
