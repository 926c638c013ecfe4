"""What every optimizer and every schedule does, by the tables of cases."""

import inspect
import json

import numpy as np
import pytest

import lpnet as lp
from lpnet import optim
from lpnet.nn import Parameter

from .cases import OPTIMIZERS, SCHEDULES


def kinds(table):
    """Return the names before the comma of a table's rows."""
    return {name.partition(",")[0] for name in table}


def test_every_optimizer_has_a_case():
    """A new optimizer without a row fails here."""
    classes = {c for c in vars(optim).values() if inspect.isclass(c) and issubclass(c, optim.Optimizer)}
    assert {c.__name__ for c in classes - {optim.Optimizer}} == kinds(OPTIMIZERS)


def test_every_schedule_has_a_case():
    """A new schedule without a row fails here."""
    assert {name for name in optim.__all__ if name.endswith("_schedule")} == kinds(SCHEDULES)


def run(optimizer, p, steps):
    """Step with the gradients of the numbers in `steps`."""
    for i in steps:
        p.grad = np.random.default_rng(i).standard_normal(p.shape).astype(p.dtype)
        optimizer.step()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_loaded_state_goes_on_to_the_same_bits(name):
    """Five steps, a state saved and loaded into another optimizer, five more: as ten in one go, the rate too."""
    a = Parameter(np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32))
    first = OPTIMIZERS[name]([a])
    run(first, a, range(5))
    b = Parameter(a.data.copy())
    second = OPTIMIZERS[name]([b])
    first.lr = 0.03
    second.load_state_dict(first.state_dict())
    run(first, a, range(5, 10))
    run(second, b, range(5, 10))
    assert np.array_equal(a.data, b.data) and second.lr == 0.03


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_go_downhill(name):
    """The sum of squares gets smaller in thirty steps along its own gradient."""
    p = Parameter(np.array([3.0, -2.0, 1.0], np.float32))
    optimizer = OPTIMIZERS[name]([p])
    for _ in range(30):
        p.grad = 2 * p.data
        optimizer.step()
    assert (p.data**2).sum() < 7


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_parameter_without_gradient_stays(name):
    """Nothing moves, nor decays, that had no part in the loss."""
    a, b = Parameter(np.ones(2, np.float32)), Parameter(np.ones(2, np.float32))
    optimizer = OPTIMIZERS[name]([a, b])
    run(optimizer, a, range(3))
    assert np.array_equal(b.data, np.ones(2)) and not np.array_equal(a.data, np.ones(2))


@pytest.mark.parametrize("scalar", [np.float64, np.float32, np.array, lambda x: np.linspace(x, 1, 2)[0]])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_numpys_scalars_are_pythons_numbers(name, scalar):
    """A hyperparameter of any numeric type trains to the same bits, in the parameters' dtype, and is JSON."""

    def results(number):
        p = Parameter(np.ones(3, np.float32))
        optimizer = OPTIMIZERS[name]([p], number)
        for lr in (number(0.25), number(0.5)):
            optimizer.lr = lr
            run(optimizer, p, range(1))
        assert json.dumps(optimizer.lr) == "0.5"
        return [p.data, *(a for a in optimizer.state[0].values() if np.ndim(a))]

    for a, b in zip(results(float), results(scalar), strict=True):
        np.testing.assert_array_equal(a, b, strict=True)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weights_are_of_the_format_after_every_step(name):
    """With a format for the weights, each of them is a number of it before and after every step."""
    p, fmt = Parameter(np.random.default_rng(0).standard_normal(9).astype(np.float32)), lp.format("e4m3")
    optimizer = OPTIMIZERS[name]([p], float, lp.Precision(weight=lp.Quantizer(fmt, "nearest")))
    for i in range(5):
        assert np.array_equal(fmt.quantize(p.data), p.data)
        run(optimizer, p, [i])
    assert np.array_equal(fmt.quantize(p.data), p.data)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_gives_rates(name):
    """In every epoch, also between two and after the last, the rate is a number from 0 to the highest."""
    rates = [SCHEDULES[name](epoch) for epoch in np.linspace(0, 30, 61).tolist()]
    assert all(type(rate) is float and 0 <= rate <= 0.5 for rate in rates)
    assert rates[0] > 0 and max(rates) == 0.5  # the first epoch trains, and the rate given is reached
