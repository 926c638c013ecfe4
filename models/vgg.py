"""VGG-16 for 32x32 images, as the SWALP paper trains it."""

from __future__ import annotations

from ..nn import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, Module, ReLU, Sequential, init
from ..tensor import Tensor

STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))  # a max-pool after each


class VGG(Module):
    """Thirteen 3x3 convolutions in five stages, then three linear layers with dropout before the first two."""

    def __init__(self, num_classes: int, in_channels: int, batch_norm: bool) -> None:
        self.features = Sequential(*_features(in_channels, batch_norm))
        self.classifier = Sequential(
            Dropout(), Linear(512, 512), ReLU(), Dropout(), Linear(512, 512), ReLU(), Linear(512, num_classes)
        )
        self.flatten = Flatten()

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) for images (N, C, 32, 32)."""
        if tuple(x.shape[2:]) != (32, 32):
            raise ValueError(f"vgg16: images must be 32x32, got shape {tuple(x.shape)}")
        return self.classifier(self.flatten(self.features(x)))


def _features(channels: int, batch_norm: bool) -> list[Module]:
    layers: list[Module] = []
    for stage in STAGES:
        for width in stage:
            conv = Conv2d(channels, width, 3, padding=1)
            conv.weight, conv.bias = init.he_normal(conv.weight.shape), init.zeros(width)
            layers += [conv, BatchNorm2d(width), ReLU()] if batch_norm else [conv, ReLU()]
            channels = width
        layers.append(MaxPool2d(2))
    return layers


def vgg16(num_classes: int = 10, in_channels: int = 3) -> VGG:
    """Return VGG-16 without BatchNorm: 15,245,130 parameters for ten classes.

    Source: Simonyan and Zisserman, ICLR 2015; the classifier of three layers of 512 is that of the SWALP code.
    """
    return VGG(num_classes, in_channels, batch_norm=False)


def vgg16_bn(num_classes: int = 10, in_channels: int = 3) -> VGG:
    """Return VGG-16 with BatchNorm after every convolution: 15,253,578 parameters for ten classes."""
    return VGG(num_classes, in_channels, batch_norm=True)
