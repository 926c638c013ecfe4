"""Modules: names, order, state, modes."""

import collections

import numpy as np
import pytest

import lpnet as lp
from lpnet import nn


class Shared(nn.Module):
    """Two names for one layer, and a list of layers."""

    def __init__(self):
        self.first = nn.Linear(2, 2)
        self.again = self.first
        self.rest = [nn.Linear(2, 3), nn.BatchNorm1d(3)]
        self.offset = nn.Buffer(np.arange(3, dtype=np.float32))

    def forward(self, x):
        for layer in (self.first, self.again, *self.rest):
            x = layer(x)
        return x + self.offset


def small():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))


def test_names_are_pytorchs_in_definition_order():
    """Parameters, buffers and modules are called and ordered as in PyTorch."""
    names = ["0.weight", "0.bias", "1.weight", "1.bias", "4.weight", "4.bias"]
    assert [name for name, _ in small().named_parameters()] == names
    assert [name for name, _ in small().named_buffers()] == ["1.running_mean", "1.running_var"]
    assert [name for name, _ in small().named_modules()] == ["", "0", "1", "2", "3", "4"]


def test_what_is_shared_counts_once():
    """Under its first name."""
    model = Shared()
    names = [name for name, _ in model.named_parameters()]
    assert names == ["first.weight", "first.bias", "rest.0.weight", "rest.0.bias", "rest.1.weight", "rest.1.bias"]
    assert [name for name, _ in model.named_modules()] == ["", "first", "rest.0", "rest.1"]
    assert model.n_parameters() == 6 + 9 + 6
    assert [name for name, _ in model.named_buffers()] == ["offset", "rest.1.running_mean", "rest.1.running_var"]


def test_sequential_runs_its_layers_in_turn():
    """It is a list of modules that is one itself, and takes nothing else."""
    model, x = small(), np.random.default_rng(0).standard_normal((2, 1, 4, 4)).astype(np.float32)
    model.eval()
    y = x
    for layer in model:
        y = layer(y)
    assert np.array_equal(model(x).numpy(), y.numpy())
    assert len(model) == 5 and isinstance(model[-1], nn.Linear)
    with pytest.raises(TypeError, match="item 1"):
        nn.Sequential(nn.ReLU(), np.tanh)


def test_lists_and_dicts_of_modules_have_pytorchs_names_and_methods():
    """What they hold is walked under its number or name, however it came in, and nothing but modules is held."""
    layers = nn.ModuleList([nn.Linear(2, 3)]).append(nn.ReLU()).extend([nn.Linear(3, 1)])
    layers.insert(1, nn.Tanh())
    layers[2] = nn.Sigmoid()
    del layers[1]
    assert [type(layer) for layer in layers] == [nn.Linear, nn.Sigmoid, nn.Linear]
    assert [*layers.state_dict()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert len(layers[1:]) == len(layers) - 1 and layers[-1] is layers[2]
    by_name = nn.ModuleDict({"training": nn.Linear(2, 1, bias=False)})  # also the name of an attribute
    by_name.update({"act": nn.ReLU()})
    assert [*by_name] == ["training", "act"] == [name for name, _ in by_name.items()] and "act" in by_name
    assert [*by_name.state_dict()] == ["training.weight"] and len(by_name) == len(by_name.eval().values())
    assert by_name["act"].training is False
    for refused in (lambda: layers.append(np.tanh), lambda: by_name.update({"f": np.tanh})):
        with pytest.raises(TypeError, match=r"item \w+ must be a Module"):
            refused()


def test_train_and_eval_reach_every_module():
    """However deep, both ways."""
    model = Shared()
    assert model.eval() is model and not any(m.training for m in model.modules())
    assert all(m.training for m in model.train().modules())


def test_state_dict_gives_copies_and_loads_back():
    """A state is the model's to the bit, and changes with it no more."""
    a, b = small(), small()
    a(np.random.default_rng(0).standard_normal((3, 1, 4, 4)).astype(np.float32))
    state = a.state_dict()
    b.load_state_dict(state)
    state["0.weight"][:] = 0
    assert a[0].weight.numpy().any()
    assert all(np.array_equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def test_pytorchs_batch_counter_is_passed_over():
    """A state from PyTorch's BatchNorm loads."""
    model = small()
    model.load_state_dict({**model.state_dict(), "1.num_batches_tracked": np.array(7)})


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda s: s.pop("4.bias"), ["'4.bias'", "missing"]),
        (lambda s: s.update({"5.weight": np.ones(3)}), ["'5.weight'", "no"]),
        (lambda s: s.update({"4.bias": np.ones(4)}), ["'4.bias'", "(4,)", "(3,)"]),
        (lambda s: s.update({"4.bais": s.pop("4.bias")}), ["'4.bias'", "'4.bais'"]),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing_and_is_refused_by_name(spoil, words):
    """Not even the entries that do fit are loaded."""
    model = small()
    before, state = model.state_dict(), {k: v + 1 for k, v in model.state_dict().items()}
    spoil(state)
    with pytest.raises(ValueError) as refused:
        model.load_state_dict(state)
    assert all(word in str(refused.value) for word in words), str(refused.value)
    assert all(np.array_equal(v, before[k]) for k, v in model.state_dict().items())


def test_astype_converts_parameters_and_buffers_and_forgets_gradients():
    """A gradient of the old dtype would be added to one of the new."""
    model = small()
    model(np.ones((2, 1, 4, 4), np.float32)).sum().backward()
    model.astype("float64")
    assert all(t.dtype == np.float64 and t.grad is None for t in [*model.parameters(), *model.buffers()])
    assert model.to("cpu") is model


def test_repr_indents_what_is_inside():
    """As PyTorch prints it."""
    text = repr(nn.Sequential(nn.Sequential(nn.ReLU()), nn.Flatten()))
    assert text == "Sequential(\n  (0): Sequential(\n    (0): ReLU()\n  )\n  (1): Flatten()\n)"


def test_initial_weights_come_from_the_seed_and_lie_in_pytorchs_bounds():
    """Uniform within 1 / sqrt(fan-in), the same for the same seed."""
    import lpnet as lp

    def weights(seed):
        lp.manual_seed(seed)
        return nn.Conv2d(8, 16, 3).weight.numpy()

    assert np.array_equal(weights(1), weights(1)) and not np.array_equal(weights(1), weights(2))
    bound = 1 / np.sqrt(8 * 9)
    w = weights(0)
    assert abs(w).max() <= bound and abs(w.std() - bound / np.sqrt(3)) < 0.1 * bound


def test_he_initialization_has_variance_two_over_fan_out():
    """Within five standard deviations of the estimate."""
    w = nn.init.he_normal((64, 32, 3, 3)).numpy()
    assert abs(w.var() / (2 / (64 * 9)) - 1) < 5 * np.sqrt(2 / w.size)


class Containers(nn.Module):
    """Parameters and modules in every container that is walked."""

    def __init__(self):
        self.a, self.numbers = nn.Linear(2, 2), [1, 2.5, "x"]
        self.d = {"x": nn.Linear(2, 2), 3: lp.Parameter(np.ones(1))}
        self.ps = [lp.Parameter(np.ones(2)), None, nn.Buffer(np.ones(1))]
        self.nested = [[nn.Linear(2, 2)], ({"y": nn.Linear(2, 2)},)]


def test_containers_are_walked_in_definition_order():
    """Lists, tuples and dicts at any depth give names; what is in them is counted, saved and trained."""
    model = Containers()
    both = [f"{name}.{kind}" for name in ("a", "d.x", "nested.0.0", "nested.1.0.y") for kind in ("weight", "bias")]
    assert sorted(name for name, _ in model.named_parameters()) == sorted([*both, "d.3", "ps.0"])
    assert [name for name, _ in model.named_modules()] == ["", "a", "d.x", "nested.0.0", "nested.1.0.y"]
    assert [name for name, _ in model.named_buffers()] == ["ps.2"]
    model.load_state_dict({name: value + 1 for name, value in model.state_dict().items()})
    assert model.ps[0].data.tolist() == [2, 2]
    model.numbers.append(model.numbers)
    assert len(list(model.parameters())) == 10


@pytest.mark.parametrize("container", [lambda x: {x}, lambda x: [{x}], lambda x: collections.deque([x])])
@pytest.mark.parametrize("value", [nn.ReLU(), lp.Parameter(np.ones(1))])
def test_a_container_that_is_not_walked_is_refused(container, value):
    """Nothing is silently left out of training."""
    model = small()
    model.extra, model.fine = container(value), {1, 2}
    with pytest.raises(TypeError, match=r"attribute 'extra.* list, tuple or dict"):
        list(model.parameters())


def test_modules_in_a_cycle_are_visited_once():
    """A child that knows its parent neither hangs nor counts twice, in walks and in repr."""
    model = small()
    model.child = nn.Linear(2, 2)
    model.child.parent = model
    assert [name for name, _ in model.named_modules()][-1] == "child"
    assert model.eval().child.training is False and "parent" in repr(model)
    model.load_state_dict(model.state_dict())


def test_a_shared_parameter_comes_under_any_of_its_names():
    """torch saves tied weights under both names; two values for one parameter are refused."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    state = {name: value + 1 for name, value in model.state_dict().items()}
    twice = {**state, "1.weight": state["0.weight"]}
    other = {"1.weight" if name == "0.weight" else name: value + 1 for name, value in state.items()}
    for given in (twice, other):
        model.load_state_dict(given)
        np.testing.assert_array_equal(model[1].weight.data, given["1.weight"])
    with pytest.raises(ValueError, match=r"'0.weight' and '1.weight' are one"):
        model.load_state_dict({**twice, "1.weight": state["0.weight"] + 1})
