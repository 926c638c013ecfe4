"""`lower`: which layers are marked, and that a marked layer rounds once each way and nowhere else."""

import itertools

import numpy as np
import pytest

import lpnet as lp
from lpnet import nn


class Recorder:
    """A quantizer that rounds to multiples of `step` and counts."""

    def __init__(self, step=0.25):
        self.step, self.seen = step, []

    def __call__(self, x):
        self.seen.append(np.array(x))
        return np.round(x / self.step) * x.dtype.type(self.step)


def network():
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1),
        nn.BatchNorm2d(2),
        nn.ReLU(),
        nn.Conv2d(2, 2, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(8, 4),
        nn.Tanh(),
        nn.Linear(4, 3),
    )


def marked(model):
    return [name for name, m in model.named_modules() if m.precision is not None]


def test_the_default_is_the_papers_choice():
    """Convolutions and activations are rounded; a layer before an activation is left to that one."""
    model = network()
    changed = nn.lower(model, "bfp8")
    assert changed == {"0": "Conv2d", "2": "ReLU", "4": "ReLU", "8": "Tanh"}  # "3" is left to the ReLU after it
    assert marked(model) == list(changed)


@pytest.mark.parametrize(
    "layers, expected",
    [
        ((nn.Conv2d,), ["0", "3"]),  # no activation chosen: nothing to leave it to
        ((nn.Conv2d, nn.ReLU), ["0", "2", "4"]),
        ((nn.Conv2d, nn.Tanh), ["0", "3", "8"]),  # the ReLU after "3" is not chosen
        ((nn.Linear, nn.Tanh), ["8", "9"]),
        (("3", nn.ReLU), ["2", "3", "4"]),  # named itself
        ((nn.Linear, "1"), ["1", "7", "9"]),
        ("9", ["9"]),
        ([], []),
    ],
)
def test_layers_are_chosen_by_type_and_by_name(layers, expected):
    """What is returned is what is marked."""
    model = network()
    assert list(nn.lower(model, "bfp8", layers)) == expected == marked(model)


def test_lowering_again_replaces_earlier_marks_and_none_removes_all():
    """The last call counts."""
    model = network()
    nn.lower(model, "bfp8")
    nn.lower(model, "bfp8", ["9"])
    assert marked(model) == ["9"]
    assert nn.lower(model, None) == {} and marked(model) == []


def test_an_unknown_name_is_refused_with_the_nearest_and_changes_nothing():
    """Neither a mistyped name nor a module in place of one moves a mark."""
    model = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.ReLU())
    nn.lower(model, "bfp8")
    before = marked(model)
    with pytest.raises(ValueError, match=r"'0\.00', did you mean 0\.0"):
        nn.lower(model, "bfp8", ["0.00"])
    with pytest.raises(TypeError, match="types or names"):
        nn.lower(model, "bfp8", [model[0]])
    assert marked(model) == before


def test_parameter_names_and_values_stay():
    """Marking a layer is no change of its state."""
    model = network()
    before = model.state_dict()
    nn.lower(model, "bfp8")
    after = model.state_dict()
    assert list(before) == list(after) and all(np.array_equal(before[k], after[k]) for k in before)


def test_a_shared_layer_stays_marked():
    """A later use without a mark does not remove that of the first."""
    relu = nn.ReLU()
    model = nn.Sequential(relu, nn.Linear(2, 2), relu)
    nn.lower(model, "bfp8", ["0"])
    assert relu.precision is not None


@pytest.mark.parametrize(
    "layer, shape",
    [
        (nn.Conv2d(2, 3, 3), (2, 2, 5, 5)),
        (nn.Linear(4, 3), (2, 4)),
        (nn.GELU(), (3, 3)),
        (nn.BatchNorm1d(4), (6, 4)),
    ],
)
def test_a_marked_layer_computes_exactly_and_rounds_once_each_way(layer, shape):
    """Its output, and the error that comes back, are rounded; nothing within is."""
    rng = np.random.default_rng(0)
    x, weights = rng.standard_normal(shape).astype(np.float32), None
    exact_x = lp.Tensor(x, requires_grad=True)
    exact = layer(exact_x)
    weights = rng.standard_normal(exact.shape).astype(np.float32)
    q = Recorder()
    rounded_weights = q(weights)
    exact.backward(rounded_weights)  # what an exact layer gives back for the rounded error
    activation, error = Recorder(), Recorder()
    nn.lower(layer, lp.Precision(activation=activation, error=error), [type(layer)])
    low_x = lp.Tensor(x, requires_grad=True)
    with lp.use(lp.Precision(activation=lambda _: 1 / 0)):  # the active precision does not reach inside
        low = layer(low_x)
    assert np.array_equal(low.numpy(), q(exact.numpy())) and len(activation.seen) == 1
    low.backward(weights)
    assert np.array_equal(low_x.grad, exact_x.grad) and len(error.seen) == 1
    assert np.array_equal(error.seen[0], weights)


def formats(model):
    return {name: str(m.precision.activation.format) for name, m in model.named_modules() if m.precision is not None}


@pytest.mark.parametrize(
    "table, expected",
    [
        ({"*": "bfp8"}, {"0": "bfp8", "2": "bfp8", "4": "bfp8", "8": "bfp8"}),
        ({"*": "bfp8", "0": None, "9": None}, {"2": "bfp8", "4": "bfp8", "8": "bfp8"}),
        ({"9": "bfp8", "4": "bfp4"}, {"4": "bfp4", "9": "bfp8"}),  # a name chooses what the paper does not
        ({"*": None, "[0-3]": "bfp4", "2": "e4m3"}, {"0": "bfp4", "2": "e4m3", "3": "bfp4"}),  # "4" does not round
        ({"*": "bfp8", "4": None}, {"0": "bfp8", "2": "bfp8", "3": "bfp8", "8": "bfp8"}),  # nor is "3" left to it
        ({nn.Linear: "bfp4", "9": "e4m3"}, {"7": "bfp4", "9": "e4m3"}),
        ({"*": "bfp8", nn.Activation: "bfp4", nn.ReLU: None}, {"0": "bfp8", "3": "bfp8", "8": "bfp4"}),  # nearest type
        ({"*": "bfp8", nn.ReLU: "e5m2", "4": "e4m3"}, {"0": "bfp8", "2": "e5m2", "4": "e4m3", "8": "bfp8"}),
        ({}, {}),
    ],
)
def test_each_layer_goes_by_the_most_specific_key(table, expected):
    """A name over patterns over types over "*", in whatever order they come."""
    model = network()
    for given in (table, dict(reversed(table.items()))):
        assert list(nn.lower(model, given)) == list(expected)
        assert formats(model) == expected


def test_a_name_stands_for_all_within_and_the_longest_wins():
    """Names come before patterns, and those before '*'."""

    def stage():
        return nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1), nn.ReLU())

    model = nn.Sequential(stage(), stage(), nn.Sequential(stage()))
    nn.lower(model, {"*": "bfp8", "1": None, "2": None, "2.0.0": "e4m3", "*.0": "bfp4", "0.*": "e5m2"})
    assert formats(model) == {"0.0": "bfp4", "0.2": "e5m2", "2.0.0": "e4m3"}  # of two patterns the one written first


@pytest.mark.parametrize(
    "table, error, words",
    [
        ({"*": "bfp8", "clasifier": None}, ValueError, r"lower: unknown layer 'clasifier', .*classifier"),
        ({"clas*ifer": "bfp8"}, ValueError, r"unknown layer 'clas\*ifer', .*classifier"),
        ({"classifier": "bfq8"}, ValueError, "unknown format 'bfq8'"),
        ({3: "bfp8"}, TypeError, "types or names"),
    ],
)
def test_a_key_that_fits_nothing_is_refused_and_changes_nothing(table, error, words):
    """A dictionary with one bad key moves no mark."""
    model = nn.Sequential(nn.ReLU())
    model.classifier = nn.Linear(1, 1)
    nn.lower(model, "bfp8")
    with pytest.raises(error, match=words):
        nn.lower(model, table)
    assert marked(model) == ["0"]


@pytest.mark.parametrize("build", [lp.models.preresnet20, lp.models.resnet18, lp.models.small_cnn, lp.models.lenet])
def test_the_numbers_that_are_rounded_are_those_of_the_table(build):
    """As `precision`'s table says: results of activations and of convolutions that none follows, and their errors."""
    model, size = build(10, 3, **({"size": 16} if build in (lp.models.small_cnn, lp.models.lenet) else {})), 16
    activation, error, outputs, step = Recorder(2**-6), Recorder(2**-20), [], 2**-6
    marked = nn.lower(model, lp.Precision(activation=activation, error=error))
    modules = dict(model.named_modules())
    chosen = {name for name, m in modules.items() if isinstance(m, nn.Conv2d | nn.ReLU)}
    followed = {
        f"{prefix}.{i}".lstrip(".")
        for prefix, m in modules.items()
        if isinstance(m, nn.Sequential)
        for i, (a, b) in enumerate(itertools.pairwise(m))
        if isinstance(b, nn.ReLU)
    }
    assert set(marked) == chosen - followed
    names = {id(m): name for name, m in modules.items()}
    nn.module.forward_hooks.append(lambda m, y: outputs.append((names[id(m)], m, y)))
    try:
        x = np.random.default_rng(0).standard_normal((4, 3, size, size)).astype(np.float32)
        logits = model(x)
        loss = lp.functions.cross_entropy(logits, np.arange(4))
        loss.backward()
    finally:
        nn.module.forward_hooks.pop()
    rounded = sum(y.size for name, _, y in outputs if name in marked)
    assert sum(a.size for a in activation.seen) == sum(e.size for e in error.seen) == rounded
    assert len(activation.seen) == sum(name in marked for name, _, _ in outputs)

    def on_grid(a):
        return bool((a % step == 0).all())

    assert all(on_grid(y.numpy()) for name, _, y in outputs if name in marked)
    floats = [y.numpy() for _, m, y in outputs if isinstance(m, nn.BatchNorm2d | nn.Linear)]
    floats += [logits.numpy(), loss.numpy(), *(p.grad for p in model.parameters())]
    floats += [b.numpy() for b in model.buffers()]
    assert not any(on_grid(a) for a in floats if a.any() and a.size > 1)
