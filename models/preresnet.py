"""Residual networks that normalize and rectify before each convolution, for 32x32 images."""

from __future__ import annotations

from ..nn import BatchNorm2d, Conv2d, Flatten, Linear, Module, ReLU, Sequential, init
from ..tensor import Tensor


def conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> Conv2d:
    """Return a convolution without bias that keeps the size of its input, up to the stride."""
    layer = Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)
    layer.weight = init.he_normal(layer.weight.shape)
    return layer


class Block(Module):
    """x + convolutions of x, each behind BatchNorm and ReLU; a 1x1 convolution fits x where the shape changes.

    `kernels` and `widths` describe the convolutions; the first 3x3 one takes the stride.
    """

    def __init__(self, in_channels: int, kernels: tuple[int, ...], widths: tuple[int, ...], stride: int) -> None:
        steps, channels, strided = [], in_channels, kernels.index(3)
        for i, (kernel, width) in enumerate(zip(kernels, widths, strict=True)):
            steps += [BatchNorm2d(channels), ReLU(), conv(channels, width, kernel, stride if i == strided else 1)]
            channels = width
        self.body = Sequential(*steps)
        self.shortcut = conv(in_channels, channels, 1, stride) if (in_channels, stride) != (channels, 1) else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the two paths."""
        return self.body(x) + (x if self.shortcut is None else self.shortcut(x))


class PreResNet(Module):
    """Three stages of `blocks` blocks at 16, 32 and 64 channels (four times that behind bottlenecks)."""

    def __init__(self, blocks: int, bottleneck: bool, num_classes: int, in_channels: int) -> None:
        self.conv = conv(in_channels, 16, 3)
        channels, stages = 16, []
        for base, first_stride in ((16, 1), (32, 2), (64, 2)):
            kernels, widths = ((1, 3, 1), (base, base, 4 * base)) if bottleneck else ((3, 3), (base, base))
            for i in range(blocks):
                stages.append(Block(channels, kernels, widths, first_stride if i == 0 else 1))
                channels = widths[-1]
        self.blocks = Sequential(*stages)
        self.norm, self.relu = BatchNorm2d(channels), ReLU()
        self.flatten, self.classifier = Flatten(), Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, num_classes) for images (N, C, H, W), H and W multiples of 4."""
        x = self.relu(self.norm(self.blocks(self.conv(x))))
        return self.classifier(self.flatten(x.mean(axis=(2, 3))))


def preresnet20(num_classes: int = 10, in_channels: int = 3) -> PreResNet:
    """Return PreResNet-20: three blocks of two 3x3 convolutions a stage, 0.27 million parameters.

    Source: He et al., "Identity mappings in deep residual networks", ECCV 2016.
    """
    return PreResNet(3, False, num_classes, in_channels)


def preresnet164(num_classes: int = 10, in_channels: int = 3) -> PreResNet:
    """Return PreResNet-164: eighteen bottleneck blocks a stage, 1.7 million parameters.

    Source: He et al., "Identity mappings in deep residual networks", ECCV 2016, and the SWALP code.
    """
    return PreResNet(18, True, num_classes, in_channels)
