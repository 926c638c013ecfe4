"""Parameter groups: each is as an optimizer of its own; rates, schedules and states know of them."""

import copy

import numpy as np
import pytest

import lpnet as lp
from lpnet.nn import Parameter
from lpnet.optim import SGD, Adam, AdamW, RMSprop

GROUPS = [  # the optimizer, what is for all, and what the second group has of its own
    (SGD, {"lr": 0.1, "momentum": 0.9}, {"lr": 0.01}),
    (SGD, {"lr": 0.1, "momentum": 0.9}, {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1}),
    (Adam, {"lr": 0.1}, {"betas": (0.5, 0.75), "eps": 0.01}),
    (AdamW, {"lr": 0.1}, {"weight_decay": 0}),
    (RMSprop, {"lr": 0.1}, {"alpha": 0.5, "centered": True, "momentum": 0.5}),
]


def pair():
    """Return two parameters, always the same."""
    return [Parameter(np.random.default_rng(i).standard_normal(5).astype(np.float32)) for i in range(2)]


def steps(params, *optimizers, n=4):
    """Step with `n` gradients, always the same."""
    for t in range(n):
        for i, p in enumerate(params):
            p.grad = np.random.default_rng([t, i]).standard_normal(5).astype(np.float32)
        for optimizer in optimizers:
            optimizer.step()


@pytest.mark.parametrize("kind, common, own", GROUPS)
@pytest.mark.parametrize("precision", [None, lp.Precision.uniform("bfp8", "nearest")])
def test_a_group_is_as_an_optimizer_of_its_own(kind, common, own, precision):
    """Its parameters move to the same bits as those of an optimizer that has the group's hyperparameters for all."""
    (a, b), (c, d) = pair(), pair()
    together = kind([{"params": [a]}, {"params": b, **own}], **common, precision=precision)
    apart = [kind([c], **common, precision=precision), kind([d], **{**common, **own}, precision=precision)]
    steps([a, b], together)
    steps([c, d], *apart)
    assert np.array_equal(a.data, c.data) and np.array_equal(b.data, d.data)


def test_groups_have_torchs_form():
    """Each has its parameters and every hyperparameter, as a dictionary, and the attributes are the first group's."""
    a, b = pair()
    optimizer = SGD([{"params": iter([("a", a)]), "lr": 0.5}, {"params": [("b", b)], "momentum": 0.5}])
    assert optimizer.params == [a, b]
    first, second = optimizer.param_groups
    assert first == {"params": [a], "lr": 0.5, "momentum": 0, "weight_decay": 0, "nesterov": False}
    assert second == {"params": [b], "lr": 1e-3, "momentum": 0.5, "weight_decay": 0, "nesterov": False}
    assert (optimizer.lr, optimizer.momentum) == (0.5, 0)
    assert optimizer.defaults["lr"] == 1e-3


def test_a_rate_that_is_assigned_moves_all_in_proportion():
    """A number is the first group's, a list has one for each, and a group's own is set in its dictionary."""
    a, b = pair()
    optimizer = SGD([{"params": a}, {"params": b, "lr": 0.025}], lr=0.1)
    optimizer.lr = 0.2
    assert [g["lr"] for g in optimizer.param_groups] == [0.2, 0.05]
    optimizer.lr = [0.5, 0.25]
    assert [g["lr"] for g in optimizer.param_groups] == [0.5, 0.25]
    optimizer.param_groups[1]["lr"] = np.float32(0.125)
    assert optimizer.lr == 0.5 and type(optimizer.param_groups[1]["lr"]) is float
    optimizer.momentum = 0.5
    assert [g["momentum"] for g in optimizer.param_groups] == [0.5, 0.5]


def test_a_copy_has_groups_of_its_own():
    """Assigning a rate to a deep copy leaves the optimizer as it was, and the copy steps with its own."""
    (a, b), (c, d) = pair(), pair()
    first = SGD([{"params": a}, {"params": b, "lr": 0.05}], lr=0.1)
    second = copy.deepcopy(first)
    second.lr = 0.2
    assert first.lr == 0.1
    steps(second.params, second)
    steps([c, d], SGD([c], lr=0.2), SGD([d], lr=0.1))
    assert [p.data.tolist() for p in second.params] == [c.data.tolist(), d.data.tolist()]


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda a, b: SGD([{"params": a}, {"params": b, "betas": (0, 1)}]), r"SGD: a group has params, lr, .*'betas'"),
        (lambda a, b: SGD([{"params": a}, {"params": b, "lr": -1}]), "SGD: lr must be a finite number of at least 0"),
        (lambda a, b: SGD([{"params": a}, {"lr": 1}]), 'a group must be a dictionary with "params"'),
        (lambda a, b: SGD([{"params": a}, b]), 'a group must be a dictionary with "params"'),
        (lambda a, b: SGD([{"params": a}, {"params": [a, b]}]), "more than once"),
        (lambda a, b: SGD([{"params": []}, {"params": []}]), "at least one"),
        (lambda a, b: SGD([{"params": [np.ones(2)]}]), "must be Parameters"),
        (lambda a, b: SGD([{"params": a}, {"params": b, "nesterov": True}]), "nesterov needs a momentum"),
        (lambda a, b: Adam([{"params": a}, {"params": b, "betas": (0, 1)}]), "betas"),
    ],
)
def test_bad_groups_are_refused_with_the_weights_as_they_were(make, words):
    """When the optimizer is made."""
    a, b = pair()
    before = a.data
    with pytest.raises(ValueError, match=words):
        make(a, b)
    assert a.data is before


def test_a_bad_rate_leaves_all_as_they_were():
    """Too many, too few, below 0, in proportion to 0."""
    a, b = pair()
    optimizer = SGD([{"params": a}, {"params": b}], lr=0.1)
    for lr, words in [([1.0], "one for each of 2 groups"), ([0.5, -1], "of at least 0"), ("1", "finite number")]:
        with pytest.raises(ValueError, match=words):
            optimizer.lr = lr
    with pytest.raises(ValueError, match="finite number"):
        optimizer.param_groups[1]["lr"] = None
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.1]
    still = SGD([{"params": a, "lr": 0}, {"params": b}], lr=0.1)
    with pytest.raises(ValueError, match="lr=0"):
        still.lr = 0.2


def network(seed=0):
    lp.manual_seed(seed)
    return lp.models.small_cnn()


def training(model, rate=0.05, **own):
    """Return what `fit` takes, with the last layer in a group of its own."""
    train, _ = lp.data.load("digits")
    body = [p for name, p in model.named_parameters() if not name.startswith("8.")]
    groups = [{"params": body}, {"params": model[8].parameters(), **own}]
    return {
        "train": lp.data.DataLoader(lp.data.Dataset(train.images[:192], train.labels[:192], train.classes), 64),
        "optimizer": SGD(groups, rate, 0.9, precision=lp.optim.states8()),
        "progress": False,
    }


@pytest.mark.parametrize("schedule", [lp.optim.step_schedule(0.05, 1), lambda epoch: [0.05 / (1 + epoch), 0.01]])
def test_a_run_with_groups_goes_on_to_the_same_bits(schedule, tmp_path):
    """Stopped after an epoch and resumed, states in blocks: as in one go; other groups are refused."""
    whole, parts = network(), network()
    lp.fit(whole, **training(whole, lr=0.1, momentum=0.5), epochs=3, schedule=schedule)
    common = {"out": tmp_path / "run", "schedule": schedule}
    lp.fit(parts, **training(parts, lr=0.1, momentum=0.5), epochs=1, **common)
    again = network(1)
    with pytest.raises(ValueError, match="groups"):
        lp.fit(again, **training(again, lr=0.1), epochs=3, resume=True, **common)
    again = network(1)
    lp.fit(again, **training(again, lr=0.1, momentum=0.5), epochs=3, resume=True, **common)
    assert all(np.array_equal(v, again.state_dict()[k]) for k, v in whole.state_dict().items())


def test_a_schedule_sets_the_rate_of_each_group():
    """A number in proportion, a list one by one; the log has the first group's."""
    model = network()
    parts = training(model, 0.1, lr=0.01)
    log = lp.fit(model, **parts, epochs=2, schedule=lp.optim.step_schedule(0.1, 1, 0.5))
    assert [g["lr"] for g in parts["optimizer"].param_groups] == pytest.approx([0.05, 0.005])
    assert [row["lr"] for row in log] == [0.1, 0.05]
    lp.fit(model, **parts, epochs=1, schedule=lambda epoch: (0.02, 0.03))
    assert [g["lr"] for g in parts["optimizer"].param_groups] == [0.02, 0.03]
