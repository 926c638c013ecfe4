"""Networks, smallest first. Installed as `lpnet.models`."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..nn import Module
from ..registry import Registry
from ._lenet import lenet, small_cnn
from .linear import linear_regression, logistic_regression, mlp
from .preresnet import preresnet20, preresnet164
from .resnet import resnet18
from .vgg import vgg16, vgg16_bn

Builder = Callable[[tuple[int, int, int], int], Module]  # image shape (C, H, W), number of classes -> network


def _side(name: str, shape: tuple[int, int, int]) -> int:
    if shape[1] != shape[2]:
        raise ValueError(f"{name}: images must be as high as wide, got {shape[1]}x{shape[2]}; preresnet20 takes others")
    return shape[1]


def _is_small(name: str, shape: tuple[int, int, int]) -> bool:
    if _side(name, shape) not in (32, 224):
        raise ValueError(f"{name}: images must be 32x32 or 224x224, got {shape[1]}x{shape[2]}")
    return shape[1] == 32


_MODELS: Registry[Builder] = Registry(
    "model",
    {
        "logistic_regression": lambda shape, num_classes: logistic_regression(math.prod(shape), num_classes),
        "mlp": lambda shape, num_classes: mlp(math.prod(shape), num_classes),
        "small_cnn": lambda shape, num_classes: small_cnn(num_classes, shape[0], _side("small_cnn", shape)),
        "lenet": lambda shape, num_classes: lenet(num_classes, shape[0], _side("lenet", shape)),
        "vgg16": lambda shape, num_classes: vgg16(num_classes, shape[0], _is_small("vgg16", shape)),
        "vgg16_bn": lambda shape, num_classes: vgg16_bn(num_classes, shape[0], _is_small("vgg16_bn", shape)),
        "preresnet20": lambda shape, num_classes: preresnet20(num_classes, shape[0]),
        "preresnet164": lambda shape, num_classes: preresnet164(num_classes, shape[0]),
        "resnet18": lambda shape, num_classes: resnet18(num_classes, shape[0], small_images=shape[1] <= 64),
    },
)


def names() -> list[str]:
    """Return the names of the image classifiers that `build` makes."""
    return _MODELS.names()


def register(name: str, builder: Builder) -> Builder:
    """Let `build`, and with it `lpnet train --model`, know a classifier: a function of (shape, num_classes).

    Returns the function. Raises ValueError for a name that is another's.
    """
    return _MODELS.register(name, builder)


def build(name: str, shape: tuple[int, int, int], num_classes: int) -> Module:
    """Return the classifier `name` for images of shape (C, H, W); raises ValueError with the nearest names."""
    return _MODELS[name](shape, num_classes)


__all__ = [
    "build",
    "lenet",
    "linear_regression",
    "logistic_regression",
    "mlp",
    "names",
    "preresnet20",
    "preresnet164",
    "register",
    "resnet18",
    "small_cnn",
    "vgg16",
    "vgg16_bn",
]
