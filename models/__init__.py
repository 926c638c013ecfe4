"""Networks, smallest first. Installed as `lpnet.models`."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable

from ..nn import Module
from .lenet import lenet, small_cnn
from .linear import linear_regression, logistic_regression, mlp
from .preresnet import preresnet20, preresnet164
from .resnet import resnet18
from .vgg import vgg16, vgg16_bn

_FOR: dict[str, Callable[[tuple[int, int, int], int], Module]] = {  # image shape (C, H, W) and classes -> network
    "logistic_regression": lambda shape, classes: logistic_regression(math.prod(shape), classes),
    "mlp": lambda shape, classes: mlp(math.prod(shape), classes),
    "small_cnn": lambda shape, classes: small_cnn(classes, shape[0], shape[1]),
    "lenet": lambda shape, classes: lenet(classes, shape[0], shape[1]),
    "vgg16": lambda shape, classes: vgg16(classes, shape[0], shape[1] <= 64),
    "vgg16_bn": lambda shape, classes: vgg16_bn(classes, shape[0], shape[1] <= 64),
    "preresnet20": lambda shape, classes: preresnet20(classes, shape[0]),
    "preresnet164": lambda shape, classes: preresnet164(classes, shape[0]),
    "resnet18": lambda shape, classes: resnet18(classes, shape[0], small_images=shape[1] <= 64),
}


def names() -> list[str]:
    """Return the names of the image classifiers that `build` makes."""
    return list(_FOR)


def build(name: str, shape: tuple[int, int, int], classes: int) -> Module:
    """Return the classifier `name` for images of shape (C, H, W); raises ValueError with the nearest names."""
    if name not in _FOR:
        near = ", ".join(difflib.get_close_matches(name, _FOR)) or ", ".join(_FOR)
        raise ValueError(f"unknown model {name!r}; the nearest are {near}")
    return _FOR[name](shape, classes)


__all__ = [
    "build", "lenet", "linear_regression", "logistic_regression", "mlp", "names", "preresnet20", "preresnet164",
    "resnet18", "small_cnn", "vgg16", "vgg16_bn",
]  # fmt: skip
