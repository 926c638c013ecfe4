"""Explanations say what rounding does."""

import numpy as np
import pytest

import lpnet as lp

from .cases import FORMATS


@pytest.mark.parametrize("rounding", [*lp.rounding.MODES, lp.Stochastic(3)], ids=str)
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_tells_what_quantize_does(fmt, rounding):
    """Result, neighbours and share are those of quantize; the text has no line over 80 columns."""
    x = np.random.default_rng(3).standard_normal((3, 40)).astype(np.float32) * 3
    told = lp.explain(x, fmt, rounding, index=(1, -4))
    assert told.x == x[1, -4]
    assert told.below == lp.quantize(x, fmt, "floor")[1, -4] <= told.x or told.below == told.above
    assert told.above == lp.quantize(x, fmt, "ceil")[1, -4]
    if told.result is not None:
        assert told.result == lp.quantize(x, fmt, rounding)[1, -4]
    elif np.isfinite(told.above - told.below):
        assert told.fraction == pytest.approx((told.x - told.below) / (told.above - told.below))
    assert all(len(line) <= 80 and line == line.rstrip() for line in str(told).splitlines())


def test_codes_by_field():
    """0.3 lies between 0 0101 001 and 0 0101 010 of e4m3, six tenths of the way up."""
    lines = str(lp.explain(0.3, "e4m3")).splitlines()
    assert [line.split()[1:] for line in lines if line.startswith(("below", "above", "bits"))] == [
        ["sign", "1", "exponent", "4", "mantissa", "3"],
        ["0.28125", "0", "0101", "001"],
        ["0.3125", "0", "0101", "010"],
    ]


@pytest.mark.parametrize("bits", [1, 3, 8])
def test_the_odds_are_counted(bits):
    """The probability told is the share of all random values that send the number up."""
    told = lp.explain(0.3, "e4m3", lp.Stochastic(bits))
    fraction = told.fraction
    assert told.probability == sum((r + 0.5) / 2**bits < fraction for r in range(2**bits)) / 2**bits


def test_a_tie_and_its_rule():
    """A tie is called one, and the rule says where it goes."""
    text = str(lp.explain(0.296875, "e4m3", "nearest_away"))
    assert "a tie" in text and "goes away from zero" in text
    assert lp.explain(0.296875, "e4m3", "nearest_away").result == 0.3125


def test_who_set_the_exponent():
    """The largest element of the same block is named, wherever it is."""
    x = np.ones((2, 48), np.float32)
    x[1, 40], x[1, 3], x[0, 45] = 5, 100, 1000
    text = str(lp.explain(x, "mxfp4_e2m1", index=(1, 47)))
    assert "block       of 16, scale 1 = 2^0, set by x[1, 40] = 5" in text
    assert "set by x[0, 45] = 1000" in str(lp.explain(x, "bfp8:tensor", index=(0, 0)))


def test_a_block_of_two_dimensions():
    """Its largest number is looked for in rows and columns of the block, not beyond them."""
    x = np.ones((5, 20), np.float32)
    x[3, 17], x[0, 17], x[3, 15] = 5, 100, 1000
    assert "block       of 8, scale 1 = 2^0, set by x[3, 17] = 5" in str(
        lp.explain(x, "mxfp4_e2m1:2x16", index=(2, 18))
    )


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (1.0, "it stays, in every mode"),
        (1e9, "beyond the ends"),
        (float("nan"), "NaN has no neighbours"),
    ],
)
def test_numbers_without_two_neighbours(x, text):
    """Numbers of the format, those beyond its ends and NaN are said to be so."""
    assert text in str(lp.explain(x, "e4m3"))


def test_bad_input():
    """An index must be in the array, and the array must hold a number."""
    with pytest.raises(ValueError, match=r"x has shape \(0, 3\), there is no number in it"):
        lp.explain(np.zeros((0, 3)), "e4m3")
    with pytest.raises(IndexError, match="index 3 is no element of an array of shape"):
        lp.explain(np.zeros(3), "e4m3", index=3)
    with pytest.raises(TypeError, match="explain: x must be float32 or float64, got int64"):
        lp.explain(np.arange(3), "e4m3", index=0)


@pytest.mark.parametrize("x", [-1e9, -65535.9, -65519.0, 65504.5, 65530.0, 65536.0, 3e38])
def test_the_odds_of_an_overflow_are_counted(x):
    """Beyond the largest number the probability told is the share of all random values that end there, too."""
    lanes = np.arange(2**16, dtype=np.uint16)
    stream = type("All", (lp.random.Stream,), {"draw": lambda self, n: lanes[:n]})(0)
    told = lp.explain(x, "fp16", "stochastic")
    up = lp.format("fp16").quantize(np.full(2**16, x, np.float32), "stochastic", stream) == told.above
    assert told.probability == up.mean()


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
@pytest.mark.parametrize("x", [[np.nan], [np.inf, 1], [1, np.nan]], ids=str)
def test_what_can_only_become_nan_is_not_left_to_chance(x, rounding):
    """NaN, and every number of a block with one that is not finite, has a result, and is not called an overflow."""
    told = lp.explain(np.array(x, float), "bfp4:2", rounding, 0)
    assert np.isnan(lp.quantize(np.array(x, float), "bfp4:2", rounding)).all() and np.isnan(told.result)
    assert "beyond the ends" not in str(told) and "NaN" in str(told)


@pytest.mark.parametrize("x", [-3.5e33, 3.5e33, 65520.0, -np.inf, np.nan])
def test_beyond_a_format_with_infinities(x):
    """The neighbours of what overflows are the largest number and an infinity: no share of that gap is a number."""
    assert "fp16" in str(lp.explain(x, "fp16"))


@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_a_row_and_a_block_say_what_each_number_does(fmt, rounding):
    """A line a number, with what `quantize` makes of it, in at most 80 columns."""
    x = np.random.default_rng(4).standard_normal((2, 34)).astype(np.float32) * 3
    told, alone = lp.explain(x, fmt, rounding), lp.explain(x, fmt, rounding, index=(1, 33))
    lines = str(told).splitlines()
    assert max(map(len, lines)) <= 80 and len(told) == x.size
    rows = {line[: line.index("]") + 1]: line[line.index("]") + 1 :].split() for line in lines if line[0:1] == "["}
    assert len(rows) == x.size
    assert float(rows["[1, 33]"][1]) == pytest.approx(alone.below, rel=1e-5)
    if rounding == "nearest":
        y = lp.quantize(x, fmt)
        assert all(float(rows[f"[{i}, {j}]"][4]) == pytest.approx(y[i, j], rel=1e-5) for i, j in np.ndindex(*x.shape))
    assert told[1, 33].lines == alone.lines
    assert "[1, 33]" in str(alone.block) and "<table" in alone.block._repr_html_()


def test_the_block_of_a_number_is_the_sixteen_with_its_scale():
    """Beside it in the row, and no others; where the whole array has one scale, all."""
    assert len(lp.explain(np.ones((2, 48), np.float32), "bfp8:tensor", index=(1, 40)).block) == 96
    block = lp.explain(np.ones((2, 48), np.float32), "mxfp4_e2m1", index=(1, 40)).block
    assert [line.split("]")[0] for line in str(block).splitlines() if line[:1] == "["] == [
        f"[1, {j}" for j in range(32, 48)
    ]


def test_no_word_is_cut_and_what_is_many_is_counted():
    """A long name goes on below itself; of a thousand numbers 128 are shown."""
    fmt = lp.Table(tuple(np.linspace(-2, 2, 63).tolist()), "long")
    text = str(lp.explain(0.3, fmt))
    assert "".join(repr(fmt).split()) in "".join(text.split()) and max(map(len, text.splitlines())) <= 80
    assert str(lp.explain(np.ones(1000), "e4m3")).endswith(
        "and 872 more numbers; with index=... one of them is explained"
    )
