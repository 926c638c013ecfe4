"""The 4-bit design of arXiv 2603.13931: fifteen levels a tensor, gradients straight through, bounded masters."""

from dataclasses import replace

import numpy as np
import pytest

import lpnet as lp
from lpnet.nn import Conv2d, Linear, lower
from lpnet.reproduce.experiment import Context
from lpnet.reproduce.four_bits import DIGITS, KINDS, LEVELS, SoftClip
from lpnet.reproduce.images import Trainer


def rounded(w):
    """Return w as the paper writes it."""
    scale = abs(w).max() / 7
    return np.clip(np.round(w / scale), -7, 7) * scale


def test_a_tensor_has_fifteen_levels_scaled_by_its_largest_weight():
    w = np.random.default_rng(0).uniform(-1, 1, (40, 30)).astype(np.float32)
    assert len(np.unique(LEVELS(w))) == 15
    np.testing.assert_allclose(LEVELS(w), rounded(w), rtol=1e-6)


@pytest.mark.parametrize("layer, shape", [(lambda: Linear(6, 4), (5, 6)), (lambda: Conv2d(2, 3, 1), (5, 2, 1, 1))])
def test_products_have_rounded_weights_and_gradients_pass_straight_through(layer, shape):
    """The result and the input's gradient are those of the rounded weight, the weight's those of the exact input."""
    lp.manual_seed(0)
    layer = layer()
    lower(layer, KINDS["masters"], layers=[type(layer)])
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    W = layer.weight.data.reshape(len(layer.weight.data), -1)
    inputs = lp.Tensor(x, requires_grad=True)
    y = layer(inputs)
    flat, gy = x.reshape(len(x), -1), np.ones((len(x), len(W)))
    np.testing.assert_allclose(y.data.reshape(len(x), -1), flat @ rounded(W).T + layer.bias.data, rtol=1e-4, atol=1e-5)
    y.sum().backward()
    np.testing.assert_allclose(inputs.grad.reshape(len(x), -1), gy @ rounded(W), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(layer.weight.grad.reshape(W.shape), gy.T @ flat, rtol=1e-4, atol=1e-5)


def test_the_soft_clip_bounds_weights_and_leaves_biases():
    w = np.array([[-100.0, -3.0, 1e-3, 0.0, 100.0]])
    clipped = SoftClip(3.0)(w)
    assert abs(clipped).max() <= 3 and clipped[0, 2] == pytest.approx(1e-3, rel=1e-6) and clipped[0, 3] == 0
    assert np.array_equal(SoftClip(3.0)(w[0]), w[0])


def test_masters_are_trained_in_float_and_weights_on_their_grid(tmp_path):
    """After an epoch masters have more than 15 values, weights without masters are where their format has numbers."""
    for kind in ("masters", "weights"):
        run = Trainer(replace(DIGITS, epochs=1, start=1, images=100, precision=KINDS[kind]), 0, Context(tmp_path))
        errors = run.run()["first"]
        w = max((p.data for p in run.model.parameters()), key=np.size)
        on_grid = np.array_equal(lp.quantize(w, "bfp4", "nearest"), w)
        assert on_grid == (kind == "weights") and 0 <= errors["as trained"] < 100
