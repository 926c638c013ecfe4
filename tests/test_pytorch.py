"""PyTorch's names and defaults, so that code and weights can be exchanged. Source: PyTorch's documentation, 2.x."""

import inspect

import pytest

from lpnet import functions as F
from lpnet import models, nn, optim

DEFAULTS = {  # what PyTorch's constructors take, where there is a default
    nn.Linear: {"bias": True},
    nn.Conv2d: {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True},
    nn.Conv1d: {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": True},
    nn.ConvTranspose2d: {"stride": 1, "padding": 0, "output_padding": 0, "groups": 1, "bias": True, "dilation": 1},
    nn.Embedding: {"padding_idx": None},
    nn.BatchNorm1d: {"eps": 1e-5, "momentum": 0.1, "affine": True, "track_running_stats": True},
    nn.BatchNorm2d: {"eps": 1e-5, "momentum": 0.1, "affine": True, "track_running_stats": True},
    nn.GroupNorm: {"eps": 1e-5, "affine": True},
    nn.LayerNorm: {"eps": 1e-5},
    nn.Dropout: {"p": 0.5},
    nn.GELU: {"approximate": "none"},
    nn.ReLU: {},
    nn.Sigmoid: {},
    nn.Tanh: {},
    nn.SiLU: {},
    nn.LeakyReLU: {"negative_slope": 0.01},
    nn.ELU: {"alpha": 1.0},
    nn.Softplus: {"beta": 1.0},
    nn.MaxPool2d: {"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False},
    nn.AvgPool2d: {"stride": None, "padding": 0, "ceil_mode": False, "count_include_pad": True},
    nn.AdaptiveAvgPool2d: {},
    nn.Flatten: {},
    nn.CrossEntropyLoss: {"weight": None, "ignore_index": -100, "reduction": "mean", "label_smoothing": 0.0},
    nn.MSELoss: {"reduction": "mean"},
    nn.L1Loss: {"reduction": "mean"},
    nn.Sequential: {},
    nn.ModuleList: {"modules": ()},
    nn.ModuleDict: {"modules": None},
    optim.SGD: {"lr": 1e-3, "momentum": 0, "weight_decay": 0, "nesterov": False},
    optim.Adam: {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0},
    optim.AdamW: {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 1e-2},
    optim.RMSprop: {
        "lr": 1e-2,
        "alpha": 0.99,
        "eps": 1e-8,
        "weight_decay": 0,
        "momentum": 0,
        "centered": False,
    },
    F.gelu: {"approximate": "none"},
    F.dropout: {"p": 0.5},
    F.layer_norm: {"eps": 1e-5},
    F.batch_norm: {"weight": None, "bias": None, "eps": 1e-5},
    F.group_norm: {"weight": None, "bias": None, "eps": 1e-5},
    F.conv1d: {"b": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1},
    F.leaky_relu: {"negative_slope": 0.01},
    F.elu: {"alpha": 1.0},
    F.softplus: {"beta": 1.0},
    F.embedding: {"padding_idx": None},
    F.conv2d: {"b": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1},
    F.max_pool2d: {"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False},
    F.avg_pool2d: {"stride": None, "padding": 0, "ceil_mode": False, "count_include_pad": True},
}
OURS = {
    "precision",
    "stream",
    "compensate",
    "mean",
    "var",
}  # what PyTorch does not have, or calls running_mean, running_var


@pytest.mark.parametrize("thing", DEFAULTS, ids=lambda thing: thing.__name__)
def test_defaults_are_pytorchs(thing):
    """A call without an argument means what it means in PyTorch, and what has a default here has one there."""
    parameters = inspect.signature(thing).parameters.values()
    ours = {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in OURS}
    assert ours == DEFAULTS[thing]


def test_every_layer_and_optimizer_is_in_the_table():
    """A new layer or optimizer is held against PyTorch's, or is said to have no counterpart."""
    without = {
        nn.Module,
        nn.Parameter,
        nn.Buffer,
        nn.Activation,
        optim.Optimizer,
        optim.SWALP,
        optim.LossScaler,
        optim.Flat,
    }
    classes = {thing for package in (nn, optim) for thing in vars(package).values() if inspect.isclass(thing)}
    assert classes == {thing for thing in DEFAULTS if inspect.isclass(thing)} | without


@pytest.mark.parametrize("make", [getattr(models, name) for name in models.names()], ids=models.names())
def test_classifiers_take_num_classes(make):
    """The number of classes is called as in torchvision."""
    assert "num_classes" in inspect.signature(make).parameters
