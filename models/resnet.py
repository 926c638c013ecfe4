"""ResNet-18, with the stem for ImageNet's images or one for small images. Names are torchvision's."""

from __future__ import annotations

from ..nn import BatchNorm2d, Linear, MaxPool2d, Module, ReLU, Sequential
from ..tensor import Tensor
from .preresnet import conv


class BasicBlock(Module):
    """relu(x + two 3x3 convolutions of x), each followed by BatchNorm; a 1x1 one fits x where the shape changes."""

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        self.conv1, self.bn1, self.relu1 = conv(in_channels, channels, 3, stride), BatchNorm2d(channels), ReLU()
        self.conv2, self.bn2, self.relu2 = conv(channels, channels, 3), BatchNorm2d(channels), ReLU()
        fits = (in_channels, stride) == (channels, 1)
        self.downsample = None if fits else Sequential(conv(in_channels, channels, 1, stride), BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return the rectified sum of the two paths."""
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(y + (x if self.downsample is None else self.downsample(x)))


class ResNet18(Module):
    """A stem, four stages of two blocks at 64 to 512 channels, and a linear classifier of the mean over the image."""

    def __init__(self, num_classes: int, in_channels: int, small_images: bool) -> None:
        self.conv1 = conv(in_channels, 64, 3) if small_images else conv(in_channels, 64, 7, stride=2)
        self.bn1, self.relu = BatchNorm2d(64), ReLU()
        self.maxpool = None if small_images else MaxPool2d(3, stride=2, padding=1)
        self.layer1 = Sequential(BasicBlock(64, 64, 1), BasicBlock(64, 64, 1))
        self.layer2 = Sequential(BasicBlock(64, 128, 2), BasicBlock(128, 128, 1))
        self.layer3 = Sequential(BasicBlock(128, 256, 2), BasicBlock(256, 256, 1))
        self.layer4 = Sequential(BasicBlock(256, 512, 2), BasicBlock(512, 512, 1))
        self.fc = Linear(512, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) for images (N, C, H, W)."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = x if self.maxpool is None else self.maxpool(x)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean(axis=(2, 3)))


def resnet18(num_classes: int = 1000, in_channels: int = 3, small_images: bool = False) -> ResNet18:
    """Return ResNet-18: 11,689,512 parameters for 1000 classes.

    small_images replaces the 7x7 stem of stride 2 and its max-pool by one 3x3 convolution, for 32x32 images:
    11,173,962 parameters for ten classes. Source: He et al., "Deep residual learning", CVPR 2016.
    """
    return ResNet18(num_classes, in_channels, small_images)
