"""A bar is seen on a terminal and nowhere else, and what cannot be shown does not stop the work."""

import io
import sys

import pytest

from lpnet.progress import Bar, say


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def shown(monkeypatch, stream, **options):
    """Return what a bar over three steps writes to stderr."""
    monkeypatch.setattr(sys, "stderr", stream)
    with Bar(3, title="work", **options) as bar:
        for _ in range(3):
            bar.advance(title="more")
        bar.print("a line")
    return None if stream is None else stream.getvalue()


def test_a_terminal_shows_the_bar_and_the_line(monkeypatch, capsys):
    pytest.importorskip("tqdm")
    text = shown(monkeypatch, Terminal())
    assert "work" in text and "0.00/3.00" in text and capsys.readouterr().out == "a line\n"


@pytest.mark.parametrize("stream", [io.StringIO(), None])
def test_what_is_no_terminal_shows_the_line_alone(monkeypatch, capsys, stream):
    assert not shown(monkeypatch, stream) and capsys.readouterr().out == "a line\n"


@pytest.mark.parametrize("missing", [True, False])
def test_without_tqdm_or_unwanted_there_is_none(monkeypatch, capsys, missing):
    if missing:
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)  # as if it were not there
    assert shown(monkeypatch, Terminal(), wanted=missing) == "" and capsys.readouterr().out == "a line\n"


def test_a_bar_that_cannot_be_made_is_a_line(monkeypatch):
    """tqdm takes defaults from the environment, and may dislike them."""
    tqdm = pytest.importorskip("tqdm.auto")

    def fail(**_):
        raise TypeError("no\nsuch option")

    monkeypatch.setattr(tqdm, "tqdm", fail)
    assert shown(monkeypatch, Terminal()) == "lpnet: no progress bar: no such option\n"


def test_a_line_from_anywhere_stands_above_the_bar(monkeypatch):
    """It begins a line of its own while the bar is shown, and is a plain line before and after."""
    pytest.importorskip("tqdm")
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    say("before")
    with Bar(3, title="work"):
        say("within")
    say("after")
    text = stream.getvalue()
    assert text.startswith("before\n") and text.endswith("after\n")
    assert text[text.index("within") - 1] == "\r" and "within\n" in text
