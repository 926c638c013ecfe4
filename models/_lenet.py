"""Small convolutional networks for digits and clothes."""

from __future__ import annotations

from ..nn import BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential


def lenet(num_classes: int = 10, in_channels: int = 1, size: int = 28) -> Sequential:
    """Return LeNet for images (N, in_channels, size, size), in the version with ReLU that Caffe made known.

    431,080 parameters for 28x28 grey images. Raises ValueError below 16x16. Source: LeCun et al., "Gradient-based
    learning applied to document recognition", 1998; Jia et al., "Caffe", 2014.
    """
    if size < 16:
        raise ValueError(f"lenet: images must be at least 16x16, got {size}x{size}; small_cnn takes smaller ones")
    side = ((size - 4) // 2 - 4) // 2
    return Sequential(
        Conv2d(in_channels, 20, 5),
        ReLU(),
        MaxPool2d(2),
        Conv2d(20, 50, 5),
        ReLU(),
        MaxPool2d(2),
        Flatten(),
        Linear(50 * side * side, 500),
        ReLU(),
        Linear(500, num_classes),
    )


def small_cnn(num_classes: int = 10, in_channels: int = 1, size: int = 8, width: int = 16) -> Sequential:
    """Return two convolutions with BatchNorm and a linear classifier, for images as small as 8x8.

    Raises ValueError below 2x2.
    """
    if size < 2:
        raise ValueError(f"small_cnn: images must be at least 2x2, got {size}x{size}; mlp takes tables of numbers, too")
    return Sequential(
        Conv2d(in_channels, width, 3, padding=1, bias=False),
        BatchNorm2d(width),
        ReLU(),
        MaxPool2d(2),
        Conv2d(width, 2 * width, 3, padding=1, bias=False),
        BatchNorm2d(2 * width),
        ReLU(),
        Flatten(),
        Linear(2 * width * (size // 2) ** 2, num_classes),
    )
