"""Formats as text and pictures."""

import sys

import pytest

from lpnet import formats
from lpnet.formats import show


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
    """e2m1 has seven numbers above zero."""
    assert show._positive(formats.format("e2m1")).tolist() == [0.5, 1, 1.5, 2, 3, 4, 6]


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
