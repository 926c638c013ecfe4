"""A step recorded as a CUDA graph is the step."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import functions as F
from lpnet import models, nn
from lpnet.training import GraphedStep

SHAPES = {"small_cnn": (1, 8, 8), "preresnet20": (3, 16, 16), "vgg16": (3, 32, 32)}


def prepared(name, low):
    """Return a network on the device, and its optimizer."""
    lp.manual_seed(0)
    net = (models.small_cnn() if name == "small_cnn" else models.build(name, SHAPES[name], 10)).to("cuda")
    nn.lower(net, "bfp8" if low else None)
    return net, lp.optim.SGD(net.parameters(), 0.05, 0.9, 5e-4, precision="bfp8" if low else None)


def batches(name, n=5):
    """Return batches, the last of them smaller."""
    rng = np.random.default_rng(0)
    sizes = [8] * (n - 1) + [5]
    return [(rng.standard_normal((k, *SHAPES[name])).astype(np.float32), rng.integers(0, 10, k)) for k in sizes]


def bits(net, optimizer):
    """Return weights, buffers and momentum, on the host, and where the random stream is."""
    arrays = {**net.state_dict(), **{f"momentum {i}": s["momentum"] for i, s in enumerate(optimizer.state)}}
    return {name: lp.to_device(a, "cpu") for name, a in arrays.items()}, lp.random.default.site


@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_recorded_steps_end_with_the_bits_of_the_loop(cupy, name, low):
    """Weights, running statistics, momentum, losses and random numbers, over two epochs of two rates."""
    net, optimizer = prepared(name, low)
    losses = []
    for lr in (0.05, 0.02):
        optimizer.lr = lr
        for x, y in batches(name):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(lp.Tensor(lp.to_device(x, "cuda"))), y)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.data))
    expected, site = bits(net, optimizer)

    net, optimizer = prepared(name, low)
    step, got = GraphedStep(net, optimizer), []
    for lr in (0.05, 0.02):
        optimizer.lr = lr
        got += [step(x, y) for x, y in batches(name)]
    found, at = bits(net, optimizer)
    assert at == site
    assert [float(loss) for loss in got] == losses
    for key, array in expected.items():
        np.testing.assert_array_equal(found[key], array, err_msg=key)
