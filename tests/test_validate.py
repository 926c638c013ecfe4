"""Numbers at the door: Python's whatever came, or one sentence."""

import numpy as np
import pytest

from lpnet.validate import integer, number


@pytest.mark.parametrize("kind", [int, float, np.float16, np.float32, np.float64, np.int64, np.uint8, np.array])
def test_every_kind_of_number_becomes_pythons(kind):
    assert type(number("X", "x", kind(2))) is float and number("X", "x", kind(2)) == 2
    assert type(integer("X", "x", kind(2))) is int and integer("X", "x", kind(2)) == 2


@pytest.mark.parametrize("check", [number, integer])
@pytest.mark.parametrize("value", [True, np.bool_(True), np.nan, np.inf, -np.inf, np.float32("nan"), "1", None, [1],
                                   np.ones(1), -1, 6, 10**400, 1j])  # fmt: skip
def test_what_is_no_number_of_the_range_is_refused_by_name(check, value):
    with pytest.raises(ValueError, match=r"Owner: name must be .* from 0 to 5, got"):
        check("Owner", "name", value, 0, 5)


@pytest.mark.parametrize("value", [0.5, np.float32(2.25), np.array(1e-9)])
def test_an_integer_has_no_fraction(value):
    with pytest.raises(ValueError, match="X: x must be an integer of at least 0"):
        integer("X", "x", value)
