"""The table of formats is complete: a new preset, class, option or pattern of names without a row fails here."""

import dataclasses
import inspect
import pickle
import re

import pytest

from lpnet import formats
from lpnet.formats import _names

from .cases import FORMATS

ABSTRACT = {formats.Format, formats.Blocked}
KINDS = [kind for kind in vars(formats).values() if inspect.isclass(kind) and issubclass(kind, formats.Format)]
CLASSES = [kind for kind in dict.fromkeys(KINDS) if kind not in ABSTRACT]  # in one order, in all processes


def test_every_preset_has_a_row():
    """The names of lpnet stand for formats of the table."""
    assert {formats.format(name) for name in formats.names()} <= set(FORMATS)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_option_has_rows(kind):
    """Each class is there, or a scale of one that is; each of its fields has two values at least."""
    rows = [fmt for fmt in FORMATS if isinstance(fmt, kind)]
    rows += [fmt.scale for fmt in FORMATS if isinstance(fmt, formats.BlockScaled) and isinstance(fmt.scale, kind)]
    for field in dataclasses.fields(kind):
        assert len({getattr(fmt, field.name) for fmt in rows}) >= 2, field.name


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in _names._PATTERNS])
def test_every_pattern_of_names_has_a_row(pattern):
    """Whatever `format` reads by a pattern is printed so by a format of the table."""
    assert any(re.fullmatch(pattern, str(fmt)) for fmt in FORMATS)


@pytest.mark.parametrize("fmt", FORMATS, ids=str)
def test_the_text_of_a_format_is_read_back(fmt):
    """`format(str(fmt))` is `fmt`, whether its text is a name, a pattern or a call; so is what pickle gives back."""
    assert formats.format(str(fmt)) == pickle.loads(pickle.dumps(fmt)) == fmt
