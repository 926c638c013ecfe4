"""What a prompt and a notebook show of an object is what `print` shows, and nothing in it can be taken for HTML."""

import re

import numpy as np
import pytest

import lpnet as lp
from lpnet import tables

TEXT = {  # tables: a prompt shows what `print` does
    "Explanation": lambda: lp.explain(0.3, "e4m3"),
    "Explanations": lambda: lp.explain(np.float32([0.3, 0.4]), "mxfp4_e2m1"),
    "Summary": lambda: lp.summary(lp.models.small_cnn(), (1, 8, 8)),
    "Sweep": lambda: lp.sweep(lambda x, seed: x, {"x": [1, 2]}, jobs=1),
    "Trace": lambda: seen()[0],
    "Watch": lambda: seen()[1],
}
OBJECTS = {**TEXT, "Tensor": lambda: lp.Tensor([[1.0]]), "Format": lambda: lp.Table((-1, 0, 1), "<b>")}


def seen():
    """Return a trace and a watch of one step in bfp4."""
    model = lp.nn.Sequential(lp.nn.Linear(3, 4), lp.nn.ReLU(), lp.nn.Linear(4, 2))
    lp.nn.lower(model, "bfp4")
    optimizer = lp.optim.SGD(model.parameters(), 0.001, precision=lp.Precision.uniform("bfp4", "nearest"))
    with lp.trace(model) as trace, lp.watch(model, optimizer) as watch:
        lp.functions.cross_entropy(model(np.ones((2, 3), np.float32)), np.array([0, 1])).backward()
        optimizer.step()
    return trace, watch


@pytest.mark.parametrize("name", TEXT)
def test_a_prompt_shows_the_table(name):
    """`repr` is `str`, of lines of at most 80 columns."""
    shown = TEXT[name]()
    assert repr(shown) == str(shown) and max(map(len, str(shown).splitlines())) <= 80


NARROW = {  # what is made, how it is shown, and what only a wide terminal has room for
    "Trace": (lambda: seen()[0], str, ()),
    "Watch": (lambda: seen()[1], str, ()),
    "Summary": (TEXT["Summary"], str, ("Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d", "Flatten", "Linear")),
    "Explanations": (TEXT["Explanations"], str, ("code", "0", "00", "01", "1", "11")),
    "story": (lambda: seen()[1], lambda watch: watch.story("0.weight", (1, 2)), ()),
    "formats": (lambda: None, lambda _: lp.formats.show.table(), ()),
    "recipes": (lambda: None, lambda _: lp.recipes.listing(), ()),
}


@pytest.mark.parametrize("columns", [40, 50, 64])
@pytest.mark.parametrize("name", NARROW)
def test_a_narrow_terminal_shows_all_in_parts(monkeypatch, name, columns):
    """No line is wider than the terminal, and every word that 80 columns show is there."""
    make, show, left_out = NARROW[name]
    made = make()
    monkeypatch.setenv("COLUMNS", "80")
    whole = show(made)
    monkeypatch.setenv("COLUMNS", str(columns))
    parts = show(made)
    assert max(map(len, parts.splitlines())) <= columns
    words = {word for word in whole.split() if not re.fullmatch(r"[|x-]+", word)}  # but for the line of numbers
    assert words - set(left_out) <= set(parts.split())


def test_parts_of_a_table_have_its_first_columns(monkeypatch):
    """And its numbers stay in their rows."""
    monkeypatch.setenv("COLUMNS", "40")
    head, rows = ["name", *(f"column {i}" for i in range(5))], [[name, *map(str, range(5))] for name in ("one", "two")]
    first, second = tables.folded(head, rows).split("\n\n")
    assert first.splitlines()[2].split() == ["two", "0", "1", "2"] and second.splitlines()[2].split() == [
        "two",
        "3",
        "4",
    ]


@pytest.mark.parametrize("name", OBJECTS)
def test_a_notebook_shows_it_whole(name):
    """Every tag that is opened is closed, and what is a name stays one."""
    html = OBJECTS[name]()._repr_html_()
    tags = re.findall(r"<(/?)(\w+)[^>]*>", html)
    assert tags and {tag for _, tag in tags} <= {"table", "caption", "thead", "tbody", "tr", "th", "td", "pre"}
    for tag in {tag for _, tag in tags}:
        assert tags.count(("", tag)) == tags.count(("/", tag))


def test_a_notebook_shows_what_is_wrong_with_a_step():
    """The sentences under the table of a step are there, too."""
    watch = seen()[1]
    assert watch.notes() and all(note in watch._repr_html_() for note in watch.notes())
