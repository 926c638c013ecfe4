"""The networks: the published numbers of parameters, and gradients that reach every one of them."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import functions as F
from lpnet import models

PUBLISHED = [  # network, parameters
    (models.lenet, {}, 431_080),  # Caffe's LeNet
    (models.vgg16, {}, 15_245_130),  # the SWALP code's
    (models.vgg16_bn, {}, 15_253_578),
    (models.resnet18, {}, 11_689_512),  # torchvision's
    (models.resnet18, {"num_classes": 10, "small_images": True}, 11_173_962),
]
ROUNDED = [(models.preresnet20, 0.27), (models.preresnet164, 1.7)]  # He et al., 2016: millions
IMAGES = {  # of every classifier, as small as it takes them
    "logistic_regression": (1, 8, 8),
    "mlp": (1, 8, 8),
    "small_cnn": (1, 8, 8),
    "lenet": (1, 20, 20),
    "vgg16": (3, 32, 32),
    "vgg16_bn": (3, 32, 32),
    "preresnet20": (3, 8, 8),
    "preresnet164": (3, 8, 8),
    "resnet18": (3, 16, 16),
}


def test_every_network_has_a_case():
    """A new network without a row fails here; all that are public but the regression can be built by name."""
    assert list(IMAGES) == models.names()
    assert set(models.__all__) - set(IMAGES) == {"build", "names", "register", "linear_regression"}


def test_a_users_network_is_built_by_name(monkeypatch):
    """What is registered is listed and built; a name is not given twice."""
    monkeypatch.setattr(models, "_MODELS", type(models._MODELS)("model", models._MODELS))

    def tiny(shape, num_classes):
        return models.mlp(shape[1] * shape[2], num_classes, hidden=())

    assert models.register("tiny", tiny) is tiny and models.names()[-1] == "tiny"
    assert models.build("tiny", (1, 3, 3), 4)(images((1, 3, 3))).shape == (2, 4)
    with pytest.raises(ValueError, match="register: 'mlp' is the name of"):
        models.register("mlp", tiny)


@pytest.mark.parametrize(("network", "arguments", "count"), PUBLISHED)
def test_parameters_as_published(network, arguments, count):
    """The number of trainable numbers is the published one, to the unit."""
    assert network(**arguments).n_parameters() == count


@pytest.mark.parametrize(("network", "millions"), ROUNDED)
def test_parameters_as_published_in_millions(network, millions):
    """The number of trainable numbers rounds to the published one."""
    digits = len(str(millions).partition(".")[2])
    assert round(network().n_parameters() / 1e6, digits) == millions


@pytest.mark.parametrize("depth", [20, 164])
def test_depth_is_the_name(depth):
    """PreResNet-n has n layers with weights, the shortcuts' projections aside."""
    net = getattr(models, f"preresnet{depth}")()
    weights = [name for name, p in net.named_parameters() if p.ndim > 1 and "shortcut" not in name]
    assert len(weights) == depth


def images(shape, n=2):
    """Return a batch of random images."""
    return lp.Tensor(np.random.default_rng(0).standard_normal((n, *shape)).astype(np.float32))


@pytest.mark.parametrize("name", IMAGES)
def test_gradients_reach_every_parameter(name):
    """One pass over two images gives logits of the right shape and every parameter a finite gradient, not all 0."""
    shape = IMAGES[name]
    net = models.build(name, shape, 5)
    logits = net(images(shape))
    F.cross_entropy(logits, [1, 4]).backward()
    assert logits.shape == (2, 5) and logits.dtype == np.float32
    for parameter_name, p in net.named_parameters():
        assert p.grad.shape == p.shape and np.isfinite(p.grad).all(), parameter_name
        assert p.grad.any() or "bias" in parameter_name, parameter_name


def test_linear_regression():
    """y = x W^T + b on flattened inputs."""
    net = models.linear_regression(6, 2)
    x = images((2, 3))
    expected = x.data.reshape(2, 6) @ net[1].weight.data.T + net[1].bias.data
    np.testing.assert_allclose(net(x).data, expected, rtol=1e-5)


def test_the_stem_for_large_images():
    """ResNet-18's ImageNet stem makes a 64x64 image 32 times smaller by the last stage."""
    net, sides = models.resnet18(num_classes=3), []
    net.layer4.forward, inside = lambda x: sides.append(x.shape[2:]) or inside(x), net.layer4.forward
    assert net.eval()(images((3, 64, 64), 1)).shape == (1, 3)
    assert sides == [(4, 4)]  # layer4 halves it once more


@pytest.mark.parametrize("name", ["preresnet20", "resnet18"])
def test_same_seed_same_network(name):
    """The default stream's seed decides the initial weights, to the bit."""

    def state(seed):
        lp.manual_seed(seed)
        return b"".join(a.tobytes() for a in models.build(name, (3, 8, 8), 10).state_dict().values())

    assert state(1) == state(1) != state(2)


def test_unknown_names_get_the_nearest():
    """The error lists what was probably meant."""
    with pytest.raises(ValueError, match="unknown model 'lenett', did you mean lenet"):
        models.build("lenett", (1, 28, 28), 10)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: models.lenet(size=12),
            "lenet: images must be at least 16x16, got 12x12; small_cnn takes smaller ones",
        ),
        (lambda: models.vgg16()(images((3, 16, 16))), r"vgg16: images must be 32x32, got shape \(2, 3, 16, 16\)"),
        (lambda: models.preresnet20()(images((1, 8, 8))), "input has 1 channels, the weight expects 3"),
    ],
)
def test_images_that_do_not_fit_are_refused(call, words):
    """The error names what came and what would do."""
    with pytest.raises(ValueError, match=words):
        call()
