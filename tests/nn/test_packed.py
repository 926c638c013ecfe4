"""lower(..., packed=True): what backward keeps lies in codes, and no bit of training changes."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import nn
from lpnet.kernels.packing import Packed, pack

FORMATS = ("bfp8", "bfp8:tensor", "fixed8.6", "bfp16", "e4m3", "e5m2")


def network():
    """Return a network of every kind of layer that keeps an input which was rounded."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, padding="same"),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(128, 16),
        nn.Tanh(),
        nn.Linear(16, 4),
    )


def trained(precision, packed):
    """Return the parameters after three steps, and whether something was kept in codes."""
    lp.manual_seed(1)
    model, rng = network(), np.random.default_rng(0)
    nn.lower(model, precision, packed=packed)
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        y = model(lp.Tensor(rng.standard_normal((6, 3, 16, 16), np.float32)))
        kept = held(y.node)
        lp.functions.cross_entropy(y, rng.integers(0, 4, 6)).backward()
        optimizer.step()
    return {name: a.tobytes() for name, a in model.state_dict().items()}, kept


def held(node):
    """Return how many arrays in codes the functions behind a result keep."""
    count = 0
    while node.creator is not None:
        count += sum(isinstance(value, Packed) for value in vars(node.creator).values())
        node = node.creator.inputs[0]
    return count


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
def test_training_has_the_same_bits(fmt, rounding):
    """Weights after some steps are those without packing, and something was packed."""
    precision = lp.Precision.uniform(fmt, rounding)
    plain, packed = trained(precision, False), trained(precision, True)
    assert plain[0] == packed[0] and packed[1] >= 4 > plain[1] == 0


def test_products_have_the_same_bits():
    """Operands are made from what was unpacked."""
    precision = lp.Precision(activation="bfp8", error="bfp8", products="mxfp8_e4m3")
    assert trained(precision, False)[0] == trained(precision, True)[0]


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_packing_loses_no_bit_or_is_not_done(fmt, dtype):
    """Rounded numbers come back as they were; of others, of -0.0 and of NaN, nothing is packed wrongly."""
    x = np.random.default_rng(0).standard_normal((5, 3, 4, 4)).astype(dtype)
    rounded = lp.quantize(x, fmt)
    for array in (
        rounded,
        rounded[:1],
        np.zeros_like(x),
        -np.zeros_like(x),
        x,
        np.where(x > 1, dtype(np.nan), rounded),
    ):
        packed = pack(lp.format(fmt), array)
        assert packed is None or packed.unpack().tobytes() == array.tobytes()
    assert pack(lp.format(fmt), x) is None


@pytest.mark.parametrize("precision", [lp.Precision(), "mxfp8_e4m3", "bfp24", np.sign])
def test_what_has_no_short_codes_is_refused(precision):
    """The sentence says what would do; no mark changes."""
    model = network()
    nn.lower(model, "bfp4")
    with pytest.raises(ValueError, match="packed=True takes"):
        nn.lower(model, precision, packed=True)
    assert model[2].precision == lp.Precision.uniform("bfp4") and not model[2].packed
