"""Formats as text and pictures."""

import sys

import numpy as np
import pytest

import lpnet as lp
from lpnet import formats
from lpnet import rounding as rounding_
from lpnet.formats import show

from .cases import FORMATS


def test_the_table_has_all_presets():
    """One line a preset, none over 80 columns."""
    lines = show.table().splitlines()
    assert [line.split()[0] for line in lines[1 : 1 + len(formats.names())]] == formats.names()
    assert max(map(len, lines)) <= 80
    e4m3 = lines[1 + formats.names().index("e4m3")]
    assert e4m3.split() == ["e4m3", "8", "448", "0.00195312", "1.2", "-0,", "NaN,", "saturates"]


@pytest.mark.parametrize("name", [*formats.names(), "bfp8", "bfp8:16", "fixed8.6", "e3m4"])
def test_a_description_is_exact(name):
    """It gives the largest and the smallest number as powers of two, in at most 80 columns."""
    text, fmt = show.describe(name), formats.format(name)
    assert f"largest      {show._exact(fmt.max)}" in text and f"smallest     {show._exact(fmt.smallest)}" in text
    assert max(map(len, text.splitlines())) <= 80
    mantissa, _, power = show._power(fmt.max).rpartition(" * ")
    assert float(mantissa or 1) * 2.0 ** int(power[2:]) == pytest.approx(fmt.max, rel=1e-8)


@pytest.mark.parametrize("name", ["e2m1", "fp16", "bfp8", "mxfp6_e3m2", "fixed8.6"])
def test_a_picture(name, tmp_path):
    """The file is whole and nothing else is left behind."""
    pytest.importorskip("matplotlib")
    show.plot(name, tmp_path / "line.png")
    assert [p.name for p in tmp_path.iterdir()] == ["line.png"]
    assert (tmp_path / "line.png").read_bytes().startswith(b"\x89PNG")


def test_all_numbers_are_in_the_picture():
    """e2m1 has seven numbers above zero and seven below; fixed point has one more below."""
    positive = [0.5, 1, 1.5, 2, 3, 4, 6]
    assert show.numbers(formats.format("e2m1")).tolist() == [-v for v in positive[::-1]] + [0, *positive]
    assert show.numbers(formats.format("fixed4.2")).tolist() == [n / 4 for n in range(-8, 8)]
    assert "  lowest       -2^1 = -2" in show.describe("fixed4.2")
    assert "lowest" not in show.describe("e2m1")


def test_without_matplotlib(monkeypatch, tmp_path):
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="needs matplotlib: pip install"):
        show.plot("e2m1", tmp_path / "line.png")


def test_a_folder_that_is_not_there(tmp_path):
    """The error is the system's, and no file is left."""
    pytest.importorskip("matplotlib")
    with pytest.raises(OSError):
        show.plot("e2m1", tmp_path / "missing" / "line.png")


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_a_notebook_shows_a_format(fmt):
    """Its description and its line of numbers, whatever the format is, none wider than a screen but long names."""
    text = fmt._repr_html_()
    assert text.startswith("<pre>") and "largest" in text and "| one number, H up to four" in text


class Halves(formats.Format):
    """Multiples of one half from -1 to 3, by a `quantize` of its own, without codes."""

    def quantize(self, x, rounding="nearest", stream=None):
        return np.clip(rounding_.round(np.asarray(x) * 2, rounding, stream) / 2, -1, 3).astype(np.asarray(x).dtype)


class Signs(formats.Blocked):
    """A block format that says nothing of its scales."""

    axis, block, element, scale = -1, 4, formats.format("e2m1"), formats.Exponent(8)

    def quantize(self, x, rounding="nearest", stream=None):
        return np.sign(x)


@pytest.mark.parametrize("fmt", [Halves(), Signs()], ids=str)
def test_a_users_format_is_shown_explained_and_traced(fmt, tmp_path):
    """A format that gives `quantize` alone has a name, ends, an explanation, a trace and a picture."""
    pytest.importorskip("matplotlib")
    assert str(fmt) == f"{type(fmt).__name__}()" == repr(fmt) == fmt.name
    assert show.describe(fmt).startswith(str(fmt)) and str(fmt) in str(lp.explain([0.3], fmt))
    show.plot(fmt, tmp_path / "line.png")
    layer = lp.nn.ReLU()
    lp.nn.lower(layer, lp.Precision(activation=fmt))
    with lp.trace(layer) as trace:
        layer(np.float32([[-9.0, 2.0, 0.3, 5.0]]))
    assert trace.stats["", "activation"].count == 4


def test_ends_that_a_format_does_not_state_are_found():
    """They are what rounding makes of the largest, the lowest and the smallest float64."""
    assert (Halves().min, Halves().max, Halves().smallest, Halves().bits) == (-1, 3, 0.5, None)
    assert Halves() == Halves() and hash(Halves()) == hash(Halves()) and Halves() != Signs()
    assert show.numbers(Halves()).tolist() == [n / 2 for n in range(-2, 7)]
    with pytest.raises(NotImplementedError, match="Halves\\(\\) cannot be encoded: Halves defines no to_codes"):
        Halves().encode(np.zeros(3, np.float32))
    with pytest.raises(AttributeError, match="Halves has no attribute 'emin'"):
        _ = Halves().emin


def test_what_a_format_does_not_say_is_found():
    """A list of numbers saturates, a grid without ends does not; neither is cut into blocks."""

    class Endless(formats.Format):
        """Integers of any size."""

        def spacing(self, x):
            return np.maximum(formats.base.pow2floor(x), x.dtype.type(1))

        def clip(self, y, s):
            return y

    table = formats.Table((-1, 0, 1), "t")
    assert (table.saturate, Endless().saturate) == (True, False)
    assert "saturates" in show.describe(table) and "saturates" not in show.describe(Endless())
    assert (table.axis, table.block, table.code_bits((3, 5))) == (None, None, (30, 0))
    assert formats.format("mxfp4").code_bits((3, 33)) == (3 * 33 * 4, 3 * 2 * 8)
