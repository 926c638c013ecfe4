"""What lpnet/formats/README.md says in numbers is what the formats, the rounding and the random bits do."""

import re
from pathlib import Path

import numpy as np
import pytest

import lpnet as lp

PAGE = (Path(lp.formats.__file__).parent / "README.md").read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in row.strip("|").split("|")] for row in PAGE.splitlines() if row.startswith("|")]
TABLES = re.findall(r"`((?:posit|log|nf|dynamic)\d\S*?)`", "".join(row[0] for row in ROWS if len(row) == 2))
PRESETS = [row for row in ROWS if len(row) == 8 and row[1].isdigit()]


def number(text: str) -> float:
    """Return what a cell such as "(2 - 2^-7) 2^127" says."""
    return float(eval(re.sub(r"\) (?=\d)", ") * ", text).replace("^", "**"), {"__builtins__": {}}))


def test_the_page_has_all_presets():
    assert [row[0].split()[0] for row in PRESETS] == list(lp.formats.floating.PRESETS)


@pytest.mark.parametrize("row", PRESETS, ids=lambda row: row[0])
def test_a_preset_has_the_ends_that_the_page_states(row):
    fmt = lp.format(row[0].split()[0])
    largest, normal, smallest = map(number, row[2:5])
    assert (fmt.bias, fmt.max, 2.0**fmt.emin, fmt.smallest) == (int(row[1]), largest, normal, smallest)
    assert fmt.has_nan == (row[5] == "yes") and fmt.has_infinity == (row[6] == "yes")
    beyond = fmt.quantize(np.array([1.5 * largest]))[0] if fmt.max < 1e30 else fmt.quantize(np.array([1e300]))[0]
    assert beyond == (np.inf if row[7] == "infinity" else number(row[7]))


NAME = r"`((?:(?:mx|nv)fp\w+|mxint8|e4m3|nf4)(?::\w+)?|p3109\w+e)`"


@pytest.mark.parametrize("name", re.findall(NAME, PAGE))
def test_a_name_on_the_page_is_read_and_given_back(name):
    assert str(lp.format(name)) == name


def test_the_page_has_all_tables_and_all_rules():
    """What a preset or a rule is called is on the page, and with the option that gives it the rule is reached."""
    assert set(TABLES) == set(lp.formats.table.TABLES)
    names = [row for row in ROWS if len(row) == 3 and row[0].isidentifier() and row[0] != "format"]
    rules = {row[0]: row[1].strip("`") for row in names}
    assert set(lp.formats.scaled.RULES) == set(rules)
    options = {rule: option for rule, option in rules.items() if option.startswith(":")}
    assert {
        rule: lp.format(("nvfp4" if "6" in option else "mxint8") + option).scaling for rule, option in options.items()
    } == {rule: rule for rule in options}


MODES = [text for row in ROWS if len(row) == 2 for text in re.findall(r"`([a-z_]+)`", row[0])]


@pytest.mark.parametrize("mode", MODES)
def test_a_mode_on_the_page_leaves_integers_where_they_are(mode):
    whole = np.arange(-300.0, 300.0)
    assert (lp.FixedPoint(16, 0).quantize(whole, mode) == whole).all()


def test_random_bits_are_those_that_numpy_gives_by_the_page():
    """Site 2 of seed 5: the page's formulas, evaluated by NumPy's generator alone."""
    words = np.random.Philox(key=[5, 0], counter=[0, 2, 0, 0]).random_raw(8).astype("<u8")
    for rounding, lanes, bits in (("stochastic", "<u2", 16), (lp.Stochastic(8), "u1", 8), (lp.Stochastic(3), "u1", 3)):
        r = words.view(lanes) // 2 ** (8 * np.dtype(lanes).itemsize - bits)
        u = (r + 0.5) / 2**bits
        x = np.linspace(-3, 3, u.size)
        n = np.floor(x) + (u < x - np.floor(x))
        stream = lp.random.Stream(5)
        stream.site = 2
        np.testing.assert_array_equal(lp.FixedPoint(8, 0).quantize(x, rounding, stream), n)
