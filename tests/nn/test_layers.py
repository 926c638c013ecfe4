"""Layers: gradients against finite differences, values against plain NumPy."""

import inspect

import numpy as np
import pytest

import lpnet as lp
from lpnet import nn

from .cases import LAYERS, LOSSES


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


# Distinct values, no two in a window within the difference quotient's reach: where max and ReLU are smooth.
def apart(*shape):
    n = int(np.prod(shape))
    return (np.random.default_rng(1).permutation(n).reshape(shape) - n // 2 + 0.5) / n


def an_input(name):
    """Return an input of a case: integers where the layer has rows."""
    case = LAYERS[name]
    return np.arange(np.prod(case.shape)).reshape(case.shape) % case.rows if case.rows else apart(*case.shape)


def test_every_layer_has_a_case():
    """A new layer without a row in the table fails here."""
    base = {nn.Module, nn.Parameter, nn.Buffer, nn.Activation, nn.ModuleList, nn.ModuleDict}
    classes = {thing for thing in vars(nn).values() if inspect.isclass(thing)} - base
    assert classes == {type(case.make()) for case in LAYERS.values()} | {type(loss) for loss, _ in LOSSES.values()}


@pytest.mark.parametrize("name", LAYERS)
def test_backward_is_the_derivative_of_forward_by_the_input_and_every_parameter(name):
    """Of the output by the input and by every parameter, in float64, against difference quotients."""
    layer, x = LAYERS[name].make().astype("float64"), an_input(name)
    for i, p in enumerate(layer.parameters()):
        p.data = p.data + 0.1 * numbers(*p.shape, seed=i)  # so that a BatchNorm's 1 and 0 hide nothing
    varied = [] if LAYERS[name].rows else [x]
    assert lp.gradcheck(lambda *given: layer(given[0] if varied else x), [*varied, *layer.parameters()])


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_of_a_loss(name):
    """A loss's gradient by its input is what difference quotients say."""
    loss, target = LOSSES[name]
    assert lp.gradcheck(lambda x: loss(x, target), [numbers(3, 4)])


def test_batch_norm_normalizes_by_the_batch_in_training_and_by_the_running_statistics_in_evaluation():
    """Against the formula in NumPy."""
    x, norm = 3 * numbers(8, 3, 4, 4).astype(np.float32) + 2, nn.BatchNorm2d(3)
    column = (1, 3, 1, 1)
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    y = norm(x).numpy()
    np.testing.assert_allclose(y, (x - mean.reshape(column)) / np.sqrt(var.reshape(column) + 1e-5), atol=1e-5)
    running = norm.running_mean.numpy().reshape(column), norm.running_var.numpy().reshape(column)
    np.testing.assert_allclose(norm.eval()(x).numpy(), (x - running[0]) / np.sqrt(running[1] + 1e-5), atol=1e-5)


def test_running_statistics_are_the_exponential_mean_with_the_unbiased_variance():
    """Step by step, against the formula in NumPy."""
    norm, mean, var = nn.BatchNorm1d(3, momentum=0.3), np.zeros(3), np.ones(3)
    for i in range(4):
        x = numbers(5, 3, seed=i) * (i + 1) + i
        norm(x.astype(np.float32))
        mean, var = 0.7 * mean + 0.3 * x.mean(0), 0.7 * var + 0.3 * x.var(0, ddof=1)
    np.testing.assert_allclose(norm.running_mean.numpy(), mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(norm.running_var.numpy(), var, rtol=1e-5)


def test_evaluation_moves_no_running_statistics():
    """Looking at a model does not change it."""
    norm = nn.BatchNorm1d(3).eval()
    before = norm.state_dict()
    norm(numbers(5, 3).astype(np.float32))
    assert all(np.array_equal(before[k], v) for k, v in norm.state_dict().items())


def test_without_running_statistics_evaluation_is_as_training():
    """Nothing to save, nothing to move: the batch normalizes itself in both modes."""
    x, norm = numbers(5, 3).astype(np.float32), nn.BatchNorm1d(3, affine=False, track_running_stats=False)
    assert norm.state_dict() == {}
    assert np.array_equal(norm(x).numpy(), norm.eval()(x).numpy())
    np.testing.assert_allclose(norm(x).numpy(), (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5), rtol=1e-5, atol=1e-6)


def test_group_norm_normalizes_each_sample_over_groups_of_channels():
    """Each group of a sample has mean 0 and variance 1: one group is a LayerNorm of all, one a channel is of each."""
    x = 3 * numbers(2, 6, 4, 4).astype(np.float32) + 1
    y = nn.GroupNorm(3, 6, affine=False)(x).numpy().reshape(2, 3, -1)
    np.testing.assert_allclose(y.mean(2), 0, atol=1e-5)
    np.testing.assert_allclose(y.var(2), 1, rtol=1e-4)


def test_the_padding_row_is_zero():
    """Embedding starts the row padding_idx at 0, and training leaves it there."""
    layer = nn.Embedding(4, 3, padding_idx=1)
    layer(np.array([[0, 1], [1, 3]])).sum().backward()
    assert not layer.weight.data[1].any() and not layer.weight.grad[1].any() and layer.weight.data[0].any()


def test_dropout_is_off_in_evaluation_and_keeps_the_mean_in_training():
    """Kept elements are divided by 1 - p, and evaluation is the identity."""
    x, layer = np.ones((200, 200), np.float32), nn.Dropout(0.25)
    y = layer(x).numpy()
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)}
    assert abs(y.mean() - 1) < 5 * np.sqrt(0.25 / 0.75 / y.size)  # five standard deviations of the mean
    assert np.array_equal(layer.eval()(x), x)


def test_dropout_repeats_with_the_seed_and_changes_with_the_site():
    """The mask is a function of the seed and of how many were drawn before."""
    x, layer = np.ones((50, 50), np.float32), nn.Dropout(0.5)
    lp.manual_seed(3)
    first, second = layer(x).numpy(), layer(x).numpy()
    lp.manual_seed(3)
    assert np.array_equal(layer(x).numpy(), first) and not np.array_equal(first, second)


def test_average_pooling_of_padding_counts_it():
    """A window of one element and three of padding has a quarter of it, as in PyTorch."""
    y = nn.AvgPool2d(2, 2, 1)(np.ones((1, 1, 2, 2), np.float32))
    assert np.array_equal(y.numpy(), np.full((1, 1, 2, 2), 0.25))


@pytest.mark.parametrize(
    "layer, x, words",
    [
        (lambda: nn.Conv2d(16, 4, 3), (2, 3, 8, 8), ["3 channels", "16"]),
        (lambda: nn.Linear(5, 3), (2, 4), ["4", "5"]),
        (lambda: nn.BatchNorm2d(3), (2, 3), ["BatchNorm2d", "4 axes"]),
        (lambda: nn.BatchNorm1d(3), (1, 3), ["one value a channel"]),
        (lambda: nn.MaxPool2d(9), (2, 3, 8, 8), ["window"]),
    ],
)
def test_an_input_that_does_not_fit_is_refused_by_name(layer, x, words):
    """The error names the layer, what came and what would do."""
    with pytest.raises(ValueError) as refused:
        layer()(np.ones(x, np.float32))
    assert all(word in str(refused.value) for word in words), str(refused.value)


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda: nn.Linear(0, 3), "in_features"),
        (lambda: nn.Linear(3, 1.5), "out_features"),
        (lambda: nn.Conv2d(3, -1, 3), "out_channels"),
        (lambda: nn.Conv2d(3, 4, 0), "kernel_size"),
        (lambda: nn.Conv2d(4, 6, 3, groups=4), "groups"),
        (lambda: nn.Conv2d(3, 4, 3, stride=0), "stride"),
        (lambda: nn.Conv2d(3, 4, 3, padding=-1), "padding"),
        (lambda: nn.Conv2d(3, 4, 3, dilation=0), "dilation"),
        (lambda: nn.BatchNorm2d(0), "num_features"),
        (lambda: nn.LayerNorm((3, 0)), "normalized_shape"),
        (lambda: nn.BatchNorm2d(3, affine=1), "affine"),
        (lambda: nn.Conv2d(3, 4, 3, padding="full"), "padding"),
        (lambda: nn.ConvTranspose2d(3, 4, 3, padding="same"), "padding"),
        (lambda: nn.Conv1d(3, 4, (3, 3)), "kernel_size"),
        (lambda: nn.GroupNorm(2, 3), "num_groups"),
        (lambda: nn.Embedding(3, 0), "embedding_dim"),
        (lambda: nn.Embedding(3, 2, 3), "padding_idx"),
        (lambda: nn.AdaptiveAvgPool2d(0), "output_size"),
        (lambda: nn.MaxPool2d(2, ceil_mode=None), "ceil_mode"),
        (lambda: nn.CrossEntropyLoss(reduction="max"), "reduction"),
        (lambda: nn.Dropout(1.0), "p must be"),
        (lambda: nn.Dropout(float("nan")), "p must be"),
        (lambda: nn.MaxPool2d(0), "kernel_size"),
        (lambda: nn.AvgPool2d(2, 0), "stride"),
        (lambda: nn.MaxPool2d(2, padding=-1), "padding"),
    ],
)
def test_a_bad_argument_is_refused_when_the_layer_is_made(make, word):
    """Not when the first batch comes."""
    with pytest.raises(ValueError, match=word):
        make()


@pytest.mark.parametrize(
    "layer, parts",
    [
        (nn.Linear(3, 2, bias=False), ["Linear", "3", "2", "bias=False"]),
        (nn.Conv2d(4, 6, (3, 5), 2, 1, groups=2), ["Conv2d", "4", "6", "(3, 5)", "stride=(2, 2)", "groups=2"]),
        (nn.BatchNorm2d(7), ["BatchNorm2d", "7"]),
        (nn.BatchNorm2d(7, affine=False), ["7", "affine=False"]),
        (nn.Conv1d(4, 6, 3, padding="same"), ["Conv1d", "4", "6", "(3,)", "padding='same'"]),
        (nn.ConvTranspose2d(4, 6, 3, 2, groups=2), ["ConvTranspose2d", "4, 6", "(3, 3)", "stride=(2, 2)", "groups=2"]),
        (nn.GroupNorm(2, 6), ["GroupNorm", "2", "6"]),
        (nn.Embedding(9, 4, 0), ["Embedding", "9", "4", "padding_idx=0"]),
        (nn.MaxPool2d(2, ceil_mode=True), ["ceil_mode=True"]),
        (nn.LeakyReLU(0.2), ["negative_slope=0.2"]),
        (nn.Dropout(0.2), ["0.2"]),
        (nn.MaxPool2d(2), ["MaxPool2d", "2"]),
        (nn.LayerNorm((2, 3)), ["LayerNorm", "2", "3"]),
    ],
)
def test_repr_shows_what_the_layer_was_made_with(layer, parts):
    """Sizes and options can be read off."""
    assert all(part in repr(layer) for part in parts), repr(layer)


def test_without_momentum_running_statistics_are_the_mean_over_batches():
    """momentum=None is torch's cumulative average; the count is saved, under torch's name."""
    norm, batches = nn.BatchNorm1d(3, momentum=None), [numbers(5, 3, seed=i) * (i + 1) + i for i in range(4)]
    for x in batches[:2]:
        norm(x.astype(np.float32))
    again = nn.BatchNorm1d(3, momentum=None)
    again.load_state_dict(norm.state_dict())
    for x in batches[2:]:
        again(x.astype(np.float32))
    np.testing.assert_allclose(again.running_mean.data, np.mean([x.mean(0) for x in batches], 0), rtol=1e-5)
    np.testing.assert_allclose(again.running_var.data, np.mean([x.var(0, ddof=1) for x in batches], 0), rtol=1e-5)
    assert again.state_dict()["num_batches_tracked"] == 4
    assert again.running_mean.dtype == np.float32


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda f, i: nn.BatchNorm1d(i(3), eps=f(0.1), momentum=f(0.3)), (5, 3)),
        (lambda f, i: nn.LayerNorm(i(3), eps=f(0.1)), (5, 3)),
        (lambda f, i: nn.Dropout(f(0.5)), (5, 3)),
        (lambda f, i: nn.Linear(i(3), i(2)), (5, 3)),
        (lambda f, i: nn.Conv2d(i(4), i(4), i(3), i(2), i(1), i(1), i(2)), (2, 4, 5, 5)),
        (lambda f, i: nn.MaxPool2d(i(2), i(1), i(1)), (2, 4, 5, 5)),
        (lambda f, i: nn.AvgPool2d(i(2), (i(1), i(2)), i(1)), (2, 4, 5, 5)),
    ],
)
def test_numpys_numbers_are_as_good_as_pythons(make, shape):
    """float32 stays float32, with the same bits, state and repr."""

    def run(f, i):
        lp.random.manual_seed(3)
        layer = make(f, i)
        y = layer(lp.Tensor(numbers(*shape).astype(np.float32)))
        return [y.data, *layer.state_dict().values()], repr(layer)

    (arrays, text), (expected, python) = run(np.float64, np.int64), run(float, int)
    assert text == python
    for a, b in zip(arrays, expected, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", sorted(LAYERS.keys() - {"BatchNorm2d, not tracking"}))
def test_an_empty_batch_gives_one_and_gradients_of_zero(name):
    """Each layer has the output's shape of one sample, but none of it; what it learns from nothing is 0."""
    layer, size = LAYERS[name].make(), LAYERS[name].shape[1:]
    layer = layer.eval() if LAYERS[name].statistics else layer
    x = lp.Tensor(np.zeros((0, *size), np.float32), requires_grad=True)
    y = layer(x)
    assert y.shape == (0, *layer(lp.Tensor(np.zeros((1, *size), np.float32))).shape[1:]) and y.dtype == np.float32
    y.backward(np.zeros(y.shape))
    assert LAYERS[name].rows or x.grad.shape == x.shape
    assert all(p.grad.shape == p.shape and not p.grad.any() for p in layer.parameters())


@pytest.mark.parametrize(
    "fails",
    [
        lambda x: nn.BatchNorm1d(3)(x),
        lambda x: nn.BatchNorm1d(3, track_running_stats=False).eval()(x),
        lambda x: nn.MSELoss()(x, x),
        lambda x: nn.CrossEntropyLoss()(x, np.zeros(0, int)),
    ],
)
def test_what_needs_a_sample_says_so(fails):
    """Statistics and mean losses of nothing are refused in a sentence."""
    with pytest.raises(ValueError, match=r"no value a channel|the batch is empty"):
        fails(lp.Tensor(np.zeros((0, 3))))
