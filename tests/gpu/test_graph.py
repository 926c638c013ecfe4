"""A step recorded as a CUDA graph is the step."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import backend, models, nn
from lpnet import functions as F
from lpnet.training import GraphedStep

from .conftest import skip_loudly

SHAPES = {"small_cnn": (1, 8, 8), "preresnet20": (3, 16, 16), "vgg16_bn": (3, 32, 32)}
RATES = (0.05, 0.02)


def prepared(name, low, device):
    """Return a network on the device, and its optimizer."""
    lp.manual_seed(0)
    net = (models.small_cnn() if name == "small_cnn" else models.build(name, SHAPES[name], 10)).to(device)
    nn.lower(net, "bfp8" if low else None)
    return net, lp.optim.SGD(net.parameters(), 0.05, 0.9, 5e-4, precision="bfp8" if low else None)


def batches(name, n=5):
    """Return batches, the last of them smaller."""
    rng = np.random.default_rng(0)
    sizes = [8] * (n - 1) + [5]
    return [(rng.standard_normal((k, *SHAPES[name])).astype(np.float32), rng.integers(0, 10, k)) for k in sizes]


def in_a_loop(name, low, device):
    """Return the losses, and what is left, of steps in a loop of one's own."""
    net, optimizer = prepared(name, low, device)
    losses = []
    for optimizer.lr in RATES:
        for x, y in batches(name):
            optimizer.zero_grad()
            loss = F.cross_entropy(net(lp.Tensor(lp.to_device(x, device))), y)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.data))
    return losses, left(net, optimizer)


def graphed(name, low, device):
    """Return the same of steps that are recorded."""
    net, optimizer = prepared(name, low, device)
    step, losses = GraphedStep(net, optimizer), []
    for optimizer.lr in RATES:
        losses += [step(x, y) for x, y in batches(name)]
    return [float(loss) for loss in losses], left(net, optimizer)


def left(net, optimizer):
    """Return weights, buffers and momentum, on the host, and where the random stream is."""
    arrays = {**net.state_dict(), **{f"momentum {i}": s["momentum"] for i, s in enumerate(optimizer.state)}}
    return {name: lp.to_device(a, "cpu") for name, a in arrays.items()}, lp.random.default.site


@pytest.mark.parametrize("low", [False, True])
def test_on_the_cpu_it_is_the_loop(low):
    """Weights, momentum, losses and random numbers, to the bit."""
    (losses, (arrays, site)), (others, (found, at)) = (f("small_cnn", low, "cpu") for f in (in_a_loop, graphed))
    assert losses == others and site == at
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


def test_an_optimizer_that_counts_is_refused():
    """Its count would stand still in a recording."""
    net, _ = prepared("small_cnn", False, "cpu")
    with pytest.raises(ValueError, match="GraphedStep: Adam counts its steps on the host"):
        GraphedStep(net, lp.optim.Adam(net.parameters()))


@pytest.mark.gpu
@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_recorded_steps_do_what_the_loop_does(name, low):
    """Losses, weights and the place in the random stream over two epochs of two rates, up to the order of sums.

    A recorded product is of another handle of cuBLAS, which may add up in another order; a number so changed may be
    rounded to its other neighbour, and what follows go apart. So weights may differ, by little, where losses may.
    """
    if (problem := backend.cuda_problem()) is not None:
        skip_loudly(f"NOTHING RAN ON A GPU: {problem}")
    (losses, (arrays, site)), (others, (found, at)) = (f(name, low, "cuda") for f in (in_a_loop, graphed))
    assert site == at
    np.testing.assert_allclose(others, losses, rtol=0.05 if low else 1e-2)
    for key, array in arrays.items():
        np.testing.assert_allclose(found[key], array, atol=np.abs(array).max() / (8 if low else 256), err_msg=key)
