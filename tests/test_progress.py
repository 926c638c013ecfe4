"""A bar is seen on a terminal and nowhere else, and what cannot be shown does not stop the work."""

import io
import re
import sys

import pytest

from lpnet.progress import Bar, say
from lpnet.training import format_row


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


@pytest.mark.parametrize("columns", [30, 40, 59, 80, 200, 300])
def test_a_bar_is_as_wide_as_the_terminal_and_whole(monkeypatch, columns):
    """From 40 columns to 200; where times have no room for themselves they are left out, not cut."""
    pytest.importorskip("tqdm")
    monkeypatch.setenv("COLUMNS", str(columns))
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with Bar(120, title="epoch 12/12 loss 0.574", done=60):
        pass
    (drawn,) = (line for line in re.split(r"[\r\n]", stream.getvalue()) if "%" in line)
    assert (
        len(drawn) == max(40, min(columns, 200)) - 1 and "50%|" in drawn and drawn[-1] == ("|" if columns < 61 else "]")
    )


@pytest.mark.parametrize("stream", [io.StringIO(), None])
def test_what_is_no_terminal_shows_the_line_alone(monkeypatch, capsys, stream):
    assert not shown(monkeypatch, stream) and capsys.readouterr().out == "a line\n"


@pytest.mark.parametrize("missing", [True, False])
def test_without_tqdm_or_unwanted_there_is_none(monkeypatch, capsys, missing):
    if missing:
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)  # as if it were not there
    assert shown(monkeypatch, Terminal(), wanted=missing) == "" and capsys.readouterr().out == "a line\n"


def test_a_line_of_an_epoch_keeps_what_tells_most():
    """It fits any terminal; seconds stay before the training error, and both before the rate of learning."""
    row = {"epoch": 2, "lr": 0.01, "train_loss": 0.292, "train_error": 7.84, "test_error": 8.13, "swalp_error": 8.0}
    measured = {"seconds": "12.3 s", "rate": "78.4k/s", "memory": "123 MB"}
    told = "epoch   2  loss 0.2920  train  7.84 %  test  8.13 %  average  8.00 %  12.3 s"
    assert format_row(row, 80, **measured) == told
    assert format_row(row, 40, **measured) == "epoch   2  test  8.13 %  average  8.00 %"
    assert format_row(row, 10, **measured) == "epoch   2"
    whole = format_row(row, 200, **measured)
    assert whole == format_row(row, **measured) and "lr 0.0100" in whole and whole.endswith("12.3 s  78.4k/s  123 MB")
    assert all(len(format_row(row, width, **measured)) <= width for width in range(9, 120))


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
