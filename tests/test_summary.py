"""`summary`: shapes are those that come out, counts those of a convolution written out."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import tables
from lpnet._summary import summary

SHAPES = {"linear": (7,)}


@pytest.mark.parametrize("name", lp.models.names())
def test_every_network_has_its_parameters_and_leaves_no_mark(name):
    """Rows add up to `n_parameters`, bytes to what `encode` takes, and neither modes nor numbers change."""
    lp.manual_seed(0)
    model = lp.models.build(name, (3, 32, 32), 10).train()
    optimizer = lp.optim.SGD(model.parameters(), 0.1, precision="bfp8")
    before = model.state_dict()
    told = summary(model, (3, 32, 32), optimizer)
    assert told.parameters == model.n_parameters()
    if told.parameters < 1e6:
        assert told.nbytes == sum(lp.format("bfp8").encode(p.data).nbytes for p in model.parameters())
    assert all(module.training for module in model.modules())
    assert all(np.array_equal(before[k], v) for k, v in model.state_dict().items())


def test_multiplications_and_shapes_of_a_small_network():
    """A convolution multiplies outputs x window, a linear layer inputs x outputs."""
    model = lp.nn.Sequential(
        lp.nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2), lp.nn.ReLU(), lp.nn.Flatten(), lp.nn.Linear(6 * 4 * 5, 3)
    )
    lp.nn.lower(model, "e4m3")
    told = summary(model, (4, 8, 10))
    assert [row.shape for row in told.rows] == [(6, 4, 5), (6, 4, 5), (120,), (3,)]
    assert [row.multiplications for row in told.rows] == [6 * 4 * 5 * 2 * 9, 0, 0, 360]
    assert [row.activation for row in told.rows] == ["", "e4m3", "", ""]
    assert told.nbytes == 4 * told.parameters
    assert max(map(len, str(told).splitlines())) <= 80 and "<table>" in told._repr_html_()


@pytest.mark.parametrize(
    "options", [{}, {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2, "dilation": (1, 2)}]
)
def test_multiplications_of_other_convolutions(options):
    """As many as there are non-zero products: all ones convolve, without padding, to that count."""
    told = summary(lp.nn.Sequential(lp.nn.ConvTranspose2d(4, 6, 3, **options)), (4, 5, 7))
    assert told.multiplications == 4 * 5 * 7 * 6 // options.get("groups", 1) * 9
    one = lp.nn.Sequential(lp.nn.Conv1d(4, 6, 3, stride=2, groups=2))
    one[0].weight.data, one[0].bias.data = np.ones((6, 2, 3), np.float32), np.zeros(6, np.float32)
    assert summary(one, (4, 9)).multiplications == one(np.ones((1, 4, 9), np.float32)).data.sum() == 6 * 4 * 2 * 3


def test_a_layer_used_twice_counts_its_parameters_once():
    """Its multiplications count twice."""
    layer = lp.nn.Linear(5, 5)
    told = summary(lp.nn.Sequential(layer, layer), (5,))
    assert (told.parameters, told.multiplications) == (30, 50)


@pytest.mark.parametrize("shape", [(0, 8, 8), (1.5,), (2, 8, 8)])
def test_a_shape_that_does_not_fit_is_refused(shape):
    """With a sentence, and the model still trains."""
    model = lp.models.small_cnn()
    with pytest.raises((ValueError, TypeError), match=r"\w+: "):
        summary(model, shape)
    assert model.training


@pytest.mark.parametrize("name", ["preresnet20", "resnet18"])
def test_deep_names_are_whole_on_80_columns(name):
    """Every layer of a deep network can be told from the others, as can every parameter of a step."""
    model = lp.models.build(name, (3, 32, 32), 10)
    text = str(summary(model, (3, 32, 32)))
    assert max(map(len, text.splitlines())) <= 80
    layers = [n for n, m in model.named_modules() if n and not [*m.modules()][1:]]
    assert len(layers) > 20 and {text.split().count(name) for name in layers} == {1}


def test_a_name_that_is_too_long_has_a_line_of_its_own():
    """Nothing of it is cut."""
    assert tables.text(["name", "n"], [["a" * 30, "1"], ["b", "22"]], 20).splitlines() == [
        f"{'name':16}   n",
        "a" * 30,
        f"{'':16}   1",
        f"{'b':16}  22",
    ]
