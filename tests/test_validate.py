"""Arguments at the door: Python's whatever came, or one sentence."""

import dataclasses

import numpy as np
import pytest

from lpnet.validate import check_fields, choice, flag, integer, number, pair


@pytest.mark.parametrize("kind", [int, float, np.float16, np.float32, np.float64, np.int64, np.uint8, np.array])
def test_every_kind_of_number_becomes_pythons(kind):
    """Whatever number comes, its value is kept and its type is Python's."""
    assert type(number("X", "x", kind(2))) is float and number("X", "x", kind(2)) == 2
    assert type(integer("X", "x", kind(2))) is int and integer("X", "x", kind(2)) == 2
    assert pair("X", "x", kind(2)) == pair("X", "x", [kind(2), 2]) == (2, 2)


@pytest.mark.parametrize("check", [number, integer])
@pytest.mark.parametrize(
    "value",
    [True, np.bool_(True), np.nan, np.inf, -np.inf, np.float32("nan"), "1", None, [1], np.ones(1), -1, 6, 10**400, 1j],
)
def test_what_is_no_number_of_the_range_is_refused_by_name(check, value):
    """Truth values, NaN, infinity, texts, lists and what lies outside are no numbers."""
    with pytest.raises(ValueError, match=r"Owner: name must be .* from 0 to 5, got"):
        check("Owner", "name", value, 0, 5)


@pytest.mark.parametrize("value", [0.5, np.float32(2.25), np.array(1e-9)])
def test_an_integer_has_no_fraction(value):
    """A number with a fraction is not rounded in silence."""
    with pytest.raises(ValueError, match="X: x must be an integer of at least 0"):
        integer("X", "x", value)


@pytest.mark.parametrize(
    ("ends", "taken", "refused", "text"),
    [
        ("[]", (0, 1), (-0.1, 1.1), "from 0 to 1"),
        ("[)", (0, 0.99), (1,), r"in \[0, 1\)"),
        ("(]", (0.01, 1), (0,), r"in \(0, 1\]"),
        ("()", (0.01, 0.99), (0, 1), r"in \(0, 1\)"),
    ],
)
def test_an_end_belongs_to_the_interval_or_not(ends, taken, refused, text):
    """`ends` is written as intervals are, and the error writes it so."""
    assert [number("X", "p", p, 0, 1, ends) for p in taken] == list(taken)
    for p in refused:
        with pytest.raises(ValueError, match=f"X: p must be a finite number {text}, got {p}"):
            number("X", "p", p, 0, 1, ends)


def test_above_zero():
    """Without an upper end, an open lower one reads 'above'."""
    with pytest.raises(ValueError, match="X: scale must be a finite number above 0, got 0"):
        number("X", "scale", 0, ends="(]")


@pytest.mark.parametrize("value", [(1, 2, 3), (), (0, 1), "12", (1, None), 1.5])
def test_a_pair_is_two_integers(value):
    """Neither three numbers nor one too small make a pair."""
    with pytest.raises(ValueError, match="X: size must be an integer of at least 1"):
        pair("X", "size", value)


@pytest.mark.parametrize("value", [True, np.bool_(True), np.array(True)])
def test_a_flag_becomes_pythons(value):
    """True of Python or NumPy is True."""
    assert flag("X", "x", value) is True


@pytest.mark.parametrize("value", [0, 1, 2, "yes", None, np.ones(2, bool)])
def test_a_flag_is_no_number(value):
    """Numbers, texts and None are neither True nor False."""
    with pytest.raises(ValueError, match="X: x must be True or False, got"):
        flag("X", "x", value)


def test_a_choice_is_one_of_the_options():
    """An option is returned; of anything else the error says what would do."""
    assert choice("X", "color", "red", ("red", "blue")) == "red"
    with pytest.raises(ValueError, match="X: color must be one of red, blue, got 'rd'"):
        choice("X", "color", "rd", ("red", "blue"))


@dataclasses.dataclass(frozen=True)
class Word:
    """A value with two fields."""

    bits: int
    signed: bool = True

    def __post_init__(self):
        check_fields(self, bits=(1, 8), signed=bool)


def test_fields_of_a_frozen_dataclass():
    """A value's fields become Python's, so that equal values are equal and print the same; others are refused."""
    assert repr(Word(np.int64(3), np.bool_(False))) == "Word(bits=3, signed=False)"
    with pytest.raises(ValueError, match="Word: bits must be an integer from 1 to 8, got 9"):
        Word(9)
    with pytest.raises(ValueError, match="Word: signed must be True or False, got 2"):
        Word(3, 2)


def test_one_in_a_tuple_is_both():
    """As PyTorch has it."""
    assert pair("f", "stride", (3,)) == pair("f", "stride", 3) == (3, 3)
