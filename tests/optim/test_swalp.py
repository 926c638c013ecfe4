"""SWALP's average against NumPy's mean of the iterates; `update_bn` against statistics of all the data at once."""

import threading

import numpy as np
import pytest

import lpnet as lp
from lpnet import nn, random
from lpnet.optim import SGD, SWALP, update_bn


class Walk:
    """A model of one layer that takes random steps; remembers its weights after each."""

    def __init__(self, start, cycle=None, **options):
        lp.manual_seed(0)
        self.rng, self.model = np.random.default_rng(0), nn.Linear(3, 2).astype("float64")
        self.optimizer = SGD(self.model.parameters(), 0.1)
        self.swalp, self.seen = SWALP(self.model, self.optimizer, start, cycle, **options), []

    def go(self, steps):
        for _ in range(steps):
            for p in self.model.parameters():
                p.grad = self.rng.standard_normal(p.shape)
            self.optimizer.step()
            self.swalp.step()
            self.seen.append(self.model.weight.data.copy())
        return self


@pytest.mark.parametrize("start, cycle, steps", [(0, 1, 20), (5, 1, 20), (4, 3, 20), (7, 5, 12), (3, 2, 4)])
def test_the_average_is_the_mean_of_every_cycle_th_iterate_after_start(start, cycle, steps):
    """Against NumPy's mean of the weights that were seen."""
    walk = Walk(start, cycle).go(steps)
    taken = [w for t, w in enumerate(walk.seen, 1) if t > start and (t - start) % cycle == 0]
    assert walk.swalp.n_averaged == len(taken)
    mean = np.mean(taken, axis=0) if taken else walk.seen[-1]  # before the first average: the weights themselves
    np.testing.assert_allclose(walk.swalp.averaged.weight.data, mean, rtol=1e-13)


def test_training_never_sees_the_average():
    """With and without averaging the iterates are the same; the averaged model is a copy."""
    plain, averaging = Walk(1000, 1).go(10), Walk(2, 1).go(10)
    assert np.array_equal(plain.seen, averaging.seen)
    averaging.swalp.averaged.weight.data[:] = 0  # a copy, of the mean too
    assert averaging.model.weight.data.all() and averaging.swalp.state_dict()["mean"]["weight"].all()
    assert averaging.go(1).swalp.averaged.weight.data.all()


def test_the_averaged_model_is_one_object_until_the_next_average():
    """What is done to it, such as update_bn, lasts until then."""
    walk = Walk(2, 2)
    assert np.array_equal(walk.swalp.averaged.weight.data, walk.model.weight.data)
    assert np.array_equal(walk.go(1).swalp.averaged.weight.data, walk.seen[-1])  # before the first: the model's own
    first = walk.go(3).swalp.averaged
    assert walk.swalp.averaged is first and walk.go(1).swalp.averaged is first
    assert walk.go(1).swalp.averaged is not first
    last = walk.swalp.averaged
    walk.swalp.load_state_dict(walk.swalp.state_dict())
    assert walk.swalp.averaged is not last


def test_update_bn_reaches_the_averaged_model_without_a_name():
    """`swalp.averaged` is the same object in both lines."""
    model = nn.Sequential(nn.BatchNorm2d(3))
    swalp = SWALP(model, SGD(model.parameters(), 0.1), 0, 1)
    swalp.step()
    update_bn(swalp.averaged, batches(data()))
    np.testing.assert_allclose(swalp.averaged[0].running_mean.data, data().mean((0, 2, 3)), rtol=1e-5)


class Keeps(nn.Module):
    """A model that keeps its last activation, and whatever else it is given."""

    def __init__(self, **more):
        self.layer = nn.Linear(4, 4)
        vars(self).update(more)

    def forward(self, x):
        for _ in range(500):
            x = lp.functions.tanh(self.layer(x))
        self.features = x
        return x


def test_a_kept_activation_does_not_drag_its_graph_into_the_average():
    """A tensor that a module keeps is copied as a leaf."""
    model = Keeps()
    model(np.ones((2, 4), np.float32))
    averaged = SWALP(model, SGD(model.parameters(), 1), 0, 1).averaged
    assert averaged.features.creator is None and model.features.creator is not None
    assert np.array_equal(averaged.features.data, model.features.data)


def test_a_model_that_cannot_be_copied_is_refused_when_swalp_is_made():
    """Not after hours, when the averaging starts."""
    model = Keeps(lock=threading.Lock())
    with pytest.raises(TypeError, match=r"SWALP: .*cannot be copied: .*lock"):
        SWALP(model, SGD(model.parameters(), 1), 0, 1)


def test_the_rate_switches_after_step_start():
    """Once, to the rate given, or not at all."""
    walk, rates = Walk(3, 1, lr=0.7), []
    for _ in range(5):
        rates.append(walk.optimizer.lr)
        walk.go(1)
    assert rates == [0.1, 0.1, 0.1, 0.7, 0.7]
    assert Walk(0, 1, lr=0.7).optimizer.lr == 0.7
    assert Walk(2, 1).go(5).optimizer.lr == 0.1


def test_the_average_is_rounded_to_its_own_format_after_every_step():
    """Against Algorithm 1 in two lines."""

    def grid(x):
        return np.floor(x * 16 + 0.5) / 16

    walk, twin = Walk(0, 1, average=grid), None
    for n in range(10):
        walk.go(1)
        w = walk.seen[-1]
        twin = grid(w) if twin is None else grid(twin + (w - twin) / (n + 1))
    assert np.array_equal(walk.swalp.averaged.weight.data, twin)


def test_a_format_by_name_rounds_the_average():
    """Each row of the mean is integers of four bits times one power of two."""
    mean = Walk(0, 1, average="bfp4").go(5).swalp.averaged.weight.data
    scale = 2.0 ** (np.floor(np.log2(abs(mean).max(axis=1, keepdims=True))) - 2)  # one exponent a row, 3 bits and sign
    assert np.array_equal(mean / scale, np.round(mean / scale))


def test_the_averaged_model_is_exact_free_of_gradients_and_keeps_the_modes():
    """Its marks and gradients are gone, the model's stay."""
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    nn.lower(model, "bfp8")
    model(np.ones((1, 2), np.float32)).sum().backward()
    averaged = SWALP(model, SGD(model.parameters(), 0.1), 0, 1).averaged
    assert all(m.precision is None for m in averaged.modules()) and model[1].precision is not None
    assert all(p.grad is None for p in averaged.parameters()) and model[0].weight.grad is not None


def test_a_loaded_average_goes_on_to_the_same_bits():
    """Stopped in the middle or not."""
    whole, half = Walk(2, 2, lr=0.5).go(11), Walk(2, 2, lr=0.5).go(6)
    again = Walk(2, 2, lr=0.5)
    again.model.load_state_dict(half.model.state_dict())
    again.optimizer.load_state_dict(half.optimizer.state_dict())
    again.swalp.load_state_dict(half.swalp.state_dict())
    again.rng = half.rng
    again.go(5)
    assert np.array_equal(whole.swalp.averaged.weight.data, again.swalp.averaged.weight.data)
    assert again.optimizer.lr == 0.5 and again.swalp.n_averaged == whole.swalp.n_averaged


def test_an_average_of_another_model_is_refused_and_changes_nothing():
    """By name and shape."""
    walk = Walk(0, 1).go(3)
    state = {**walk.swalp.state_dict(), "mean": {"weight": np.ones((9, 9))}, "t": 99}
    with pytest.raises(ValueError, match=r"'weight' \(9, 9\)"):
        walk.swalp.load_state_dict(state)
    assert walk.swalp.t == 3


@pytest.mark.parametrize(
    "arguments, word",
    [
        ((-1, 1), "start"),
        ((0, 0), "cycle"),
        ((0, 1, -0.1), "lr"),
        ((0, 1, float("nan")), "lr"),
        ((0, 1, None, "bfq8"), "bfq8"),
    ],
)
def test_bad_numbers_are_refused_by_name(arguments, word):
    """When SWALP is made."""
    model = nn.Linear(1, 1)
    with pytest.raises(ValueError, match=word):
        SWALP(model, SGD(model.parameters(), 1), *arguments)


# Several averages of one training

KINDS = {
    "every": {"cycle": 1},
    "rare": {"cycle": 3, "average": lp.Quantizer("bfp4", "nearest")},
    "coarse": {"average": lp.Quantizer("bfp8", "nearest")},
}


def test_several_averages_are_each_what_they_are_alone():
    """Cycle and format of each are its own, those that it leaves out are as given for all."""
    together = Walk(2, 2, averages=KINDS).go(9).swalp
    for name, own in KINDS.items():
        alone, one = Walk(2, **{"cycle": 2, **own}).go(9).swalp, together.averages[name]
        assert (one.n_averaged, one.cycle) == (alone.n_averaged, alone.cycle)
        assert one.precision.average == alone.round
        assert np.array_equal(one.averaged.weight.data, alone.averaged.weight.data)


def test_swalp_itself_has_the_attributes_of_the_first():
    """Of several averages the first one answers."""
    swalp = Walk(2, averages={"rare": {"cycle": 3}, "every": {"cycle": 1}}).go(9).swalp
    rare = swalp.averages["rare"]
    assert (swalp.cycle, swalp.n_averaged, swalp.mean, swalp.averaged) == (3, 2, rare.mean, rare.averaged)


def test_several_loaded_averages_go_on_to_the_same_bits():
    """Each with its own count and format."""
    whole, half, again = (Walk(2, 2, averages=KINDS) for _ in range(3))
    whole.go(9), half.go(4)
    again.model.load_state_dict(half.model.state_dict())
    again.swalp.load_state_dict(half.swalp.state_dict())
    again.rng = half.rng
    again.go(5)
    for name, average in whole.swalp.averages.items():
        assert np.array_equal(average.mean["weight"], again.swalp.averages[name].mean["weight"])


def test_other_averages_are_refused_and_change_nothing():
    """Other names, or other shapes under one of them."""
    state = Walk(2, 2, averages=KINDS).go(5).swalp.state_dict()
    single = Walk(2, 2)
    with pytest.raises(ValueError, match="SWALP: the saved averages are every, rare, coarse, here they are a single"):
        single.swalp.load_state_dict(state)
    several = Walk(2, 2, averages=KINDS)
    state["averages"]["coarse"]["mean"]["weight"] = np.ones((9, 9))
    with pytest.raises(ValueError, match=r"'weight' \(9, 9\)"):
        several.swalp.load_state_dict(state)
    assert single.swalp.t == several.swalp.t == several.swalp.n_averaged == 0


@pytest.mark.parametrize(
    "averages, words",
    [
        ({}, "at least one"),
        ([1, 2], "averages must be"),
        ({"a": {"cycles": 1}}, "'cycles': 1.* for 'a'"),
        ({"a": {}}, "cycle must be an integer of at least 1, got None"),
        ({"": {"cycle": 1}}, "averages must be"),
        ({"a": {"cycle": 1, "average": "bfq8"}}, "bfq8"),
        ({"a": 3}, "got 3 for 'a'"),
    ],
)
def test_averages_that_are_none_are_refused(averages, words):
    """The error shows the form."""
    with pytest.raises(ValueError, match=words):
        Walk(0, averages=averages)


def test_parameters_with_a_precision_of_their_own_are_averaged_in_it():
    """The role average of each parameter's own precision rounds its mean."""
    model, grid = nn.Linear(3, 2), lp.Precision(average=np.rint)
    optimizer = SGD(model.named_parameters(), 0.1, precision={"*": grid, "bias": None})
    swalp = SWALP(model, optimizer, 0, 1)
    swalp.step()
    assert np.array_equal(swalp.mean["weight"], np.rint(model.weight.data))
    assert np.array_equal(swalp.mean["bias"], model.bias.data)


# BatchNorm statistics


def data(n=37):
    drift = np.arange(n).reshape(-1, 1, 1, 1) / 9  # so that batches differ
    return (np.random.default_rng(0).standard_normal((n, 3, 4, 4)) * 2 + drift).astype(np.float32)


def batches(x, *sizes):
    return [(part, None) for part in np.split(x, np.cumsum(sizes))]


def norms(model):
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


@pytest.mark.parametrize("sizes", [(), (16, 16), (1, 2, 30), (36,)])
def test_batches_count_by_their_size_and_variance_is_merged_within_and_between(sizes):
    """However the data are cut, the statistics are those of all of it at once."""
    model, x = nn.Sequential(nn.BatchNorm2d(3)), data()
    update_bn(model, batches(x, *sizes))
    wide = x.astype(np.float64)
    np.testing.assert_allclose(model[0].running_mean.data, wide.mean((0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(model[0].running_var.data, wide.var((0, 2, 3), ddof=1), rtol=1e-6)


def deep():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 2, 2), nn.BatchNorm2d(2))


def test_dropout_is_off_and_later_layers_see_batch_statistics():
    """The second BatchNorm sees what the first makes of the batch."""
    model, x = deep(), data()
    update_bn(model, batches(x))
    first = model[1]
    y = model[0](x).numpy()
    hidden = (y - y.mean((0, 2, 3), keepdims=True)) / np.sqrt(y.var((0, 2, 3), keepdims=True) + first.eps)
    np.testing.assert_allclose(norms(model)[1].running_mean.data, model[3](hidden).numpy().mean((0, 2, 3)), atol=1e-5)


def test_nothing_is_drawn_from_the_training_stream_and_nothing_else_changes():
    """Neither the stream, the modes, the weights, nor the methods of the layers."""
    model = deep()
    model[2].eval()
    before, modes, site = model.state_dict(), [m.training for m in model.modules()], random.default.site
    with lp.use(lp.Precision(activation=lambda _: 1 / 0)):  # an active precision is not used
        update_bn(model, batches(data()))
    assert random.default.site == site and [m.training for m in model.modules()] == modes
    kept = [name for name in before if "running" not in name]
    assert all(np.array_equal(before[k], model.state_dict()[k]) for k in kept)
    assert all("update_running_stats" not in vars(norm) for norm in norms(model))


def broken(x):
    yield x[:8], None
    raise RuntimeError("the disk is gone")


@pytest.mark.parametrize("loader, error", [(lambda x: broken(x), RuntimeError), (lambda x: [], ValueError)])
def test_an_interrupted_or_empty_pass_leaves_everything_as_it_was(loader, error):
    """Half a pass would be statistics of half the data."""
    model = deep()
    model[2].eval()
    before, modes = model.state_dict(), [m.training for m in model.modules()]
    with pytest.raises(error):
        update_bn(model, loader(data()))
    assert [m.training for m in model.modules()] == modes
    assert all(np.array_equal(v, before[k]) for k, v in model.state_dict().items())
    model(data())  # moves the statistics again
    assert not np.array_equal(before["1.running_mean"], model.state_dict()["1.running_mean"])


def test_a_shared_batch_norm_collects_from_all_its_uses():
    """Its statistics are those of both inputs together."""
    norm = nn.BatchNorm2d(3)
    model, x = nn.Sequential(norm, norm), data()
    update_bn(model, batches(x))
    once = (x - x.mean((0, 2, 3), keepdims=True)) / np.sqrt(x.var((0, 2, 3), keepdims=True) + norm.eps)
    np.testing.assert_allclose(norm.running_mean.data, np.concatenate([x, once]).mean((0, 2, 3)), rtol=1e-4)


def test_without_batch_norm_the_loader_is_not_read():
    """There is nothing to estimate."""
    update_bn(nn.Linear(1, 1), broken(data()))


def test_marked_layers_round():
    """The statistics are those of the activations that there will be."""
    model = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3))
    nn.lower(model, lp.Precision(activation=np.ceil))
    update_bn(model, batches(data()))
    np.testing.assert_allclose(model[1].running_mean.data, np.ceil(np.maximum(data(), 0)).mean((0, 2, 3)), rtol=1e-5)


# What SWALP takes


@pytest.mark.parametrize(
    "arguments, word",
    [
        ((24.75, 1), r"start must be an integer of at least 0, got 24\.75"),
        ((0, 2.5), "cycle must be an integer"),
        ((True, 1), "start"),
        ((0, float("inf")), "cycle"),
        ((0, 1, True), "lr"),
    ],
)
def test_steps_are_integers(arguments, word):
    """Half a step is refused."""
    model = nn.Linear(1, 1)
    with pytest.raises(ValueError, match=word):
        SWALP(model, SGD(model.parameters(), 1), *arguments)


@pytest.mark.parametrize("kind", [float, np.float32, np.int64, np.array])
def test_a_step_of_any_type_averages_and_switches(kind):
    """NumPy's integers, and floats without a fraction, count as Python's."""
    walk = Walk(kind(3), kind(2), lr=np.float32(0.5)).go(7)
    assert walk.swalp.n_averaged == 2 and type(walk.optimizer.lr) is float and walk.optimizer.lr == 0.5


def test_an_optimizer_of_another_model_is_refused():
    """It would average weights that never move."""
    with pytest.raises(ValueError, match="SWALP: the optimizer holds none of the model's parameters"):
        SWALP(nn.Linear(1, 1), SGD(nn.Linear(1, 1).parameters(), 1), 0, 1)


# What real loaders yield


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: (x,), lambda x: [x, 0], lambda x: (x, 0, 0), lp.Tensor])
def test_a_batch_is_the_input_or_begins_with_it(wrap):
    """As loaders give it: alone, in a tuple or in a list."""
    model, x = nn.Sequential(nn.BatchNorm2d(3)), data()
    update_bn(model, [wrap(x)])
    np.testing.assert_allclose(model[0].running_mean.data, x.mean((0, 2, 3)), rtol=1e-5)


@pytest.mark.parametrize("batch", [{"image": data(), "label": 0}, ()])
def test_other_batches_are_refused_by_what_they_are(batch):
    """The error names the type that came."""
    with pytest.raises(TypeError, match=rf"update_bn: a batch must be .* got {type(batch).__name__} of"):
        update_bn(deep(), [batch])


class Half(nn.Module):
    def __init__(self):
        self.used, self.unused = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x):
        return self.used(x)


def test_a_batch_norm_that_is_not_used_is_left_alone():
    """It has no statistics to take; no data at all is an error."""
    model, x = Half(), data()
    update_bn(model, [x])
    np.testing.assert_allclose(model.used.running_mean.data, x.mean((0, 2, 3)), rtol=1e-5)
    assert not model.unused.running_mean.data.any() and (model.unused.running_var.data == 1).all()
    with pytest.raises(ValueError, match="no data"):
        update_bn(model, [])
