"""Schedules at their corners."""

import math

import pytest

from lpnet.optim import constant_schedule, cosine_schedule, step_schedule, swalp_schedule


@pytest.mark.parametrize(
    "epoch, lr",
    [
        (0, 0.1),
        (50, 0.1),
        (100, 0.1),
        (140, 0.1 * (1 - 0.99 / 2)),
        (180, 0.001),
        (199, 0.001),
        (200, 0.01),
        (300, 0.01),
    ],
)
def test_the_papers_schedule_for_vgg(epoch, lr):
    """At its corners and between them."""
    assert swalp_schedule(0.1, 200, 0.01)(epoch) == pytest.approx(lr, rel=1e-12)


def test_without_a_rate_for_averaging_the_last_one_stays():
    """At a hundredth of the first."""
    assert swalp_schedule(0.1, 200)(250) == pytest.approx(0.001)


@pytest.mark.parametrize("epoch, lr", [(0, 0.4 / 6), (2, 0.2), (5, 0.4), (10, 0.2), (15, 0), (99, 0)])
def test_cosine_with_warmup(epoch, lr):
    """Up along a line, down along a cosine, and 0 for ever after."""
    assert cosine_schedule(0.4, 15, warmup=5)(epoch) == pytest.approx(lr, abs=1e-12)


def test_cosine_is_a_cosine():
    """A third of the way is at 60 degrees."""
    assert cosine_schedule(1, 12)(4) == pytest.approx(0.5 * (1 + math.cos(math.pi / 3)))


@pytest.mark.parametrize("epoch, lr", [(0, 1), (29, 1), (30, 0.1), (59.5, 0.1), (60, 0.01)])
def test_steps(epoch, lr):
    """A tenth after every thirty epochs, counted in fractions too."""
    assert step_schedule(1, 30)(epoch) == pytest.approx(lr)


def test_constant():
    """It is the same in every epoch."""
    assert constant_schedule(0.3)(1e6) == 0.3


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: swalp_schedule(1, 0), "start"),
        (lambda: cosine_schedule(1, 5, 5), "warmup"),
        (lambda: step_schedule(1, 0), "every"),
    ],
)
def test_bad_numbers_are_refused_by_name(make, words):
    """When the schedule is made."""
    with pytest.raises(ValueError, match=words):
        make()
