"""States of torchvision's networks load: their names and shapes, written down here from its definitions."""

import numpy as np
import pytest

import lpnet as lp


def convolution(name, o, c, k, bias=False):
    return {f"{name}.weight": (o, c, k, k)} | ({f"{name}.bias": (o,)} if bias else {})


def batch_norm(name, c):
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (c,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def linear(name, o, i):
    return {f"{name}.weight": (o, i), f"{name}.bias": (o,)}


def resnet18():
    """torchvision.models.resnet18: [2, 2, 2, 2] basic blocks, a projection where a stage begins, but for the first."""
    shapes = convolution("conv1", 64, 3, 7) | batch_norm("bn1", 64)
    before = 64
    for stage, width in enumerate((64, 128, 256, 512), 1):
        for block in range(2):
            name = f"layer{stage}.{block}"
            shapes |= convolution(f"{name}.conv1", width, before, 3) | batch_norm(f"{name}.bn1", width)
            shapes |= convolution(f"{name}.conv2", width, width, 3) | batch_norm(f"{name}.bn2", width)
            if before != width:
                shapes |= convolution(f"{name}.downsample.0", width, before, 1)
                shapes |= batch_norm(f"{name}.downsample.1", width)
            before = width
    return shapes | linear("fc", 1000, 512)


def vgg16(normed):
    """torchvision.models.vgg16 and vgg16_bn: configuration D, in `features`, and three layers in `classifier`."""
    shapes, before, i = {}, 3, 0
    for width in (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"):
        if width == "M":
            i += 1
            continue
        shapes |= convolution(f"features.{i}", width, before, 3, bias=True)
        if normed:
            shapes |= batch_norm(f"features.{i + 1}", width)
        before, i = width, i + (3 if normed else 2)
    for place, o, i in ((0, 4096, 512 * 7 * 7), (3, 4096, 4096), (6, 1000, 4096)):
        shapes |= linear(f"classifier.{place}", o, i)
    return shapes


CASES = {  # the state's shapes, our network, its published number of parameters
    "resnet18": (resnet18(), lambda: lp.models.resnet18(), 11_689_512),
    "vgg16": (vgg16(False), lambda: lp.models.vgg16(1000, small_images=False), 138_357_544),
    "vgg16_bn": (vgg16(True), lambda: lp.models.vgg16_bn(1000, small_images=False), 138_365_992),
}


def filled(shapes):
    """Return a state of these shapes: every array of another number, but as torch has them."""
    return {
        name: np.full(shape, i, np.int64 if name.endswith("tracked") else np.float32)
        for i, (name, shape) in enumerate(shapes.items())
    }


@pytest.fixture
def light(monkeypatch):
    """Initial values are not looked at here, and 138 million random numbers take seconds."""
    monkeypatch.setattr(lp.nn.init, "uniform", lambda shape, bound: lp.Parameter(np.zeros(shape, np.float32)))


@pytest.mark.parametrize("name", CASES)
def test_a_state_of_torchvision_loads(name, light):
    """Every array of it arrives where it belongs, and the fixture has the published number of parameters."""
    shapes, make, parameters = CASES[name]
    trained = [shape for key, shape in shapes.items() if key.rpartition(".")[2] in ("weight", "bias")]
    assert sum(int(np.prod(shape)) for shape in trained) == parameters
    model, state = make(), filled(shapes)
    model.load_state_dict(state)
    for key, tensor in model._named_state().items():
        assert (tensor.data == state[key]).all(), key


def test_vgg_wants_images_of_its_size(light):
    """A sentence says which."""
    with pytest.raises(ValueError, match="must be 224x224"):
        lp.models.vgg16(small_images=False)(np.zeros((1, 3, 32, 32), np.float32))
