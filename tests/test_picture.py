"""A picture that cannot be drawn is a line of stderr, and the work it was of is there nonetheless."""

import sys

import pytest

from lpnet import picture


def test_a_picture_is_written(tmp_path):
    """A file that begins as PNG does."""
    pytest.importorskip("matplotlib")
    assert picture.try_save(tmp_path / "a.png", (2, 2), lambda figure: figure.subplots().plot([1, 2]))
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("error", [ValueError("no such\nbackend"), RuntimeError("latex"), OSError(28, "full")])
def test_what_goes_wrong_is_one_line(tmp_path, capsys, error):
    """A drawing that fails costs a line on stderr, no work and no file."""
    pytest.importorskip("matplotlib")

    def draw(figure):
        raise error

    assert not picture.try_save(tmp_path / "a.png", (2, 2), draw)
    line = capsys.readouterr().err
    assert line.startswith(f"lpnet: no picture {tmp_path / 'a.png'}: ") and line.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_there_is_none(tmp_path, capsys, monkeypatch):
    """And not a word about it."""
    for name in [name for name in sys.modules if name.startswith("matplotlib.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not there
    assert not picture.try_save(tmp_path / "a.png", (2, 2), lambda figure: None)
    assert capsys.readouterr().err == ""
