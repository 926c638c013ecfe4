"""Every kind of product has the same bits for any number of threads and after a checkpoint."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import functions as F
from lpnet import nn

PRODUCTS = {
    "mxfp8, stochastic": lp.Products.uniform("mxfp8_e4m3", "stochastic"),
    "mxfp4, 4/3": lp.Products.uniform("mxfp4_e2m1:4/3", "stochastic", rotate=32),
    "nvfp4": lp.recipes.nvfp4().products,
    "in chunks": lp.Products.uniform("e4m3", accumulate=lp.Accumulator(add="e6m9", every=8)),
    "stochastic sums": lp.Products.uniform("e5m2", accumulate=lp.Accumulator(lp.Quantizer("e6m9"), "fp16")),
}
KINDS = {  # with shapes of which large arrays are cut into pieces, and of which sums take a moment
    "matmul": (F.matmul, [(4, 90, 500), (500, 370)], [(2, 3, 18), (18, 5)]),
    "linear": (F.linear, [(900, 350), (200, 350)], [(20, 18), (5, 18)]),
    "conv1d": (lambda x, W: F.conv1d(x, W, padding=1), [(64, 48, 200), (32, 48, 3)], [(17, 4, 5), (6, 4, 3)]),
    "conv2d": (
        lambda x, W: F.conv2d(x, W, stride=2, padding=1, groups=2),
        [(64, 48, 24, 24), (32, 24, 3, 3)],
        [(17, 4, 5, 4), (6, 2, 3, 3)],
    ),
    "conv_transpose2d": (
        lambda x, W: F.conv_transpose2d(x, W, stride=2),
        [(64, 48, 12, 12), (48, 20, 2, 2)],
        [(17, 4, 3, 2), (4, 5, 2, 2)],
    ),
}


def arrays(*shapes):
    """Return Gaussian float32 arrays."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape, np.float32) for shape in shapes]


def differentiated(function, products, x, W):
    """Return the result of a product and both gradients, for errors that are the result itself, from one seed."""
    lp.manual_seed(0)
    tensors = lp.Parameter(x), lp.Parameter(W)
    with lp.use(lp.Precision(products=products)):
        y = function(*tensors)
        y.backward(y.data)
    return [y.data, *(t.grad for t in tensors)]


@pytest.fixture
def threads():
    """Put the number of threads back."""
    before = lp.get_num_threads()
    yield
    lp.set_num_threads(before)


@pytest.mark.parametrize("products", PRODUCTS)
@pytest.mark.parametrize("kind", KINDS)
def test_threads_change_no_bit(threads, kind, products):
    """One, two and three threads: the result and both gradients."""
    function, large, small = KINDS[kind]
    inputs = arrays(*(large if PRODUCTS[products].accumulate is None else small))
    found = []
    for n in 1, 2, 3:
        lp.set_num_threads(n)
        found.append(differentiated(function, PRODUCTS[products], *inputs))
    for one, *others in zip(*found, strict=True):
        assert np.isfinite(one).all() and one.any()
        for other in others:
            np.testing.assert_array_equal(one, other)


def trained(folder, products, epochs, resume=False):
    """Train a small network whose layers have such products, or go on; return what is left of it."""
    lp.manual_seed(5)
    x, labels = arrays((48, 3, 6, 6))[0], np.arange(48) % 3
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    nn.lower(model, lp.Precision(products=products), [nn.Conv2d, nn.Linear])
    optimizer = lp.optim.SGD(model.parameters(), 0.05, 0.9)
    loader = lp.data.DataLoader((x, labels), 16, shuffle=True)
    swalp = lp.optim.SWALP(model, optimizer, 1, 1)
    lp.fit(model, loader, epochs=epochs, optimizer=optimizer, swalp=swalp, out=folder, resume=resume, progress=False)
    return [(folder / name).read_bytes() for name in ("model.npz", "averaged.npz", "checkpoint.npz")]


@pytest.mark.parametrize("products", PRODUCTS)
def test_a_resumed_training_ends_with_the_same_bytes(tmp_path, monkeypatch, products):
    """Weights, average and checkpoint of three epochs, and of one that was resumed for two more."""
    monkeypatch.setattr("lpnet.picture.try_save", lambda *_: True)
    whole = trained(tmp_path / "whole", PRODUCTS[products], 3)
    trained(tmp_path / "parts", PRODUCTS[products], 1)
    lp.random.default.draw(1)  # the stream is where the checkpoint says
    assert trained(tmp_path / "parts", PRODUCTS[products], 3, resume=True) == whole


class Dither:
    """An operand of the user's, with a state: each call shifts the grid of 1/16 by another amount."""

    calls = 0

    def __call__(self, x, axis):
        self.calls += 1
        shift = self.calls % 7 / 100
        return np.round(x * 16 + shift) / 16


def test_streams_and_states_of_products_are_in_the_checkpoint(tmp_path, monkeypatch):
    """A stream that sums draw from, and the state of a function that makes operands, go on where they were."""
    monkeypatch.setattr("lpnet.picture.try_save", lambda *_: True)

    def products():
        sums = lp.Accumulator(lp.Quantizer("e6m9", stream=lp.random.Stream(3)), every=4)
        return lp.Products(gy_weight=Dither(), accumulate=sums)

    whole = trained(tmp_path / "whole", products(), 3)
    trained(tmp_path / "parts", products(), 1)
    assert trained(tmp_path / "parts", products(), 3, resume=True) == whole


@pytest.mark.parametrize("other", [None, lp.Products("e4m3"), lp.Products("e5m2", accumulate=lp.Accumulator(every=4))])
def test_a_run_does_not_go_on_with_other_products(tmp_path, monkeypatch, other):
    """One sentence names both; the checkpoint stays as it was."""
    monkeypatch.setattr("lpnet.picture.try_save", lambda *_: True)
    before = trained(tmp_path, lp.Products("e5m2", accumulate=lp.Accumulator(every=8)), 1)
    with pytest.raises(ValueError, match="products"):
        trained(tmp_path, other, 2, resume=True)
    assert (tmp_path / "checkpoint.npz").read_bytes() == before[2]
