"""The gradient and the noise that the experiment compares, and where it says that they cross."""

import numpy as np
import pytest

from lpnet.data import DataLoader, load
from lpnet.models import mlp
from lpnet.random import manual_seed
from lpnet.reproduce import stall


@pytest.fixture
def batch():
    manual_seed(0)
    train, _ = load("digits")
    ((x, labels),) = DataLoader(train[:32], 32)
    return mlp(64, 10, ()), x, labels  # smooth: differences meet no kinks


def test_the_exact_gradient_is_that_of_the_penalized_loss(batch):
    """Along a direction, by a central difference, of a linear classifier."""
    model, x, labels = batch
    g, _ = stall.figures(model, x, labels, 0.1)
    weights = [p.data.copy() for p in model.parameters()]
    direction = [np.random.default_rng(i).standard_normal(w.shape).astype(np.float32) for i, w in enumerate(weights)]
    losses = []
    for h in (1e-3, -1e-3):
        for p, w, d in zip(model.parameters(), weights, direction, strict=True):
            p.data = w + h * d
        losses.append(stall.figures(model, x, labels, 0.1)[1])
    along = g @ np.concatenate([d.ravel() for d in direction])
    assert (losses[0] - losses[1]) / 2e-3 == pytest.approx(along, rel=0.01)


def test_measuring_draws_no_random_bits_of_the_training():
    """A run that is measured at every step ends where one does that is measured at few."""
    few, many = (stall.Descent(stall.KINDS["4 bits"], 64, 8, 0.2, 0.02, 12, 6, marks) for marks in (2, 12))
    assert stall.descend(few, 0)["loss"][-1] == stall.descend(many, 0)["loss"][-1]


def test_float_has_no_noise_and_four_bits_have():
    for kind, low, high in (("float", 0, 1e-6), ("4 bits", 0.01, 1)):
        found = stall.descend(stall.Descent(stall.KINDS[kind], 64, 8, 0.2, 0.0, 3, 1, 3), 0)
        assert low <= min(found["noise"]) and max(found["noise"]) < high


def test_the_crossing_is_the_first_mark_below_the_root_of_three():
    experiment = stall.Stall(steps=4, start=1, marks=4, seeds=1)
    run = {name: [1.0] * 4 for name in stall.FIGURES} | {"gradient": [4.0, 1.8, 1.7, 9.0]}
    results = {task.name: run for task in experiment.tasks()}
    assert experiment.marked() == [1, 2, 3, 4] and experiment.crossing(results, "4 bits") == 2
