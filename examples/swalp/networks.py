"""The networks of the experiments: the paper's, and small ones of the same kind for images of 8x8 to 28x28."""

from __future__ import annotations

from ..models import build
from ..models.preresnet import Block, conv
from ..nn import BatchNorm1d, BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential, init
from ..tensor import Tensor


class SmallPreResNet(Module):
    """PreResNet-8: one block of two 3x3 convolutions a stage, at 8, 16 and 32 channels, half of the usual ones."""

    def __init__(self, classes: int, in_channels: int) -> None:
        self.conv = conv(in_channels, 8, 3)
        stages = ((8, 8, 1), (8, 16, 2), (16, 32, 2))  # channels before and after, stride
        self.blocks = Sequential(*(Block(a, (3, 3), (b, b), stride) for a, b, stride in stages))
        self.norm, self.relu, self.classifier = BatchNorm2d(32), ReLU(), Linear(32, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) for images (N, C, H, W)."""
        return self.classifier(self.relu(self.norm(self.blocks(self.conv(x)))).mean(axis=(2, 3)))


def small_vgg(classes: int, in_channels: int, size: int) -> Sequential:
    """Return a VGG of three 3x3 convolutions and two linear layers: biases, a dropout before each, no BatchNorm."""
    layers: list[Module] = []
    for a, b, pool in ((in_channels, 16, True), (16, 32, False), (32, 32, True)):
        layer = Conv2d(a, b, 3, padding=1)
        layer.weight, layer.bias = init.he_normal(layer.weight.shape), init.zeros(b)
        layers += [layer, ReLU(), *([MaxPool2d(2)] if pool else [])]
    features = 32 * (size // 4) ** 2
    return Sequential(*layers, Flatten(), Dropout(), Linear(features, 64), ReLU(), Dropout(), Linear(64, classes))


def small_vgg_bn(classes: int, in_channels: int, size: int) -> Sequential:
    """Return the same of 16, 32 and 32 channels with BatchNorm, and without biases and dropout."""
    layers: list[Module] = []
    for a, b, pool in ((in_channels, 16, True), (16, 32, False), (32, 32, True)):
        layers += [conv(a, b, 3), BatchNorm2d(b), ReLU(), *([MaxPool2d(2)] if pool else [])]
    features = 32 * (size // 4) ** 2
    return Sequential(*layers, Flatten(), Linear(features, 64), ReLU(), Linear(64, classes))


def small_vgg8(classes: int, in_channels: int, size: int) -> Sequential:
    """Return a VGG of three stages of two 3x3 convolutions, 8, 16 and 32 channels, with BatchNorm and one dropout."""
    layers: list[Module] = []
    for a, b in ((in_channels, 8), (8, 16), (16, 32)):
        for channels in (a, b):
            layers += [Conv2d(channels, b, 3, padding=1), BatchNorm2d(b), ReLU()]
        layers.append(MaxPool2d(2))
    head = (Flatten(), Linear(32 * (size // 8) ** 2, 64), BatchNorm1d(64), ReLU(), Dropout(), Linear(64, classes))
    return Sequential(*layers, *head)


def network(name: str, shape: tuple[int, int, int], classes: int) -> Module:
    """Return the network of that name for images (C, H, W): one of this file's or of `lpnet.models`."""
    if name == "small-preresnet":
        return SmallPreResNet(classes, shape[0])
    if name == "small-vgg":
        return small_vgg(classes, shape[0], shape[1])
    if name == "small-vgg-bn":
        return small_vgg_bn(classes, shape[0], shape[1])
    if name == "small-vgg8":
        return small_vgg8(classes, shape[0], shape[1])
    return build(name, shape, classes)
