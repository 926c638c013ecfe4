"""The operations, as functions on tensors. Each is a `Function` class with its lowercase function right under it."""

import sys

from ..operators import Operators
from ._dropout import dropout
from ._linear import linear, matmul
from .activation import gelu, log_softmax, relu, sigmoid, softmax, tanh
from .arithmetic import absolute, add, div, exp, log, maximum, minimum, mul, neg, power, sqrt, sub, where
from .conv import conv2d
from .loss import cross_entropy, l1_loss, mse_loss
from .norm import batch_norm, layer_norm
from .pool import avg_pool2d, max_pool2d
from .reduction import max, mean, min, std, sum, var
from .shape import (
    broadcast_to,
    concatenate,
    expand_dims,
    getitem,
    identity,
    pad,
    reshape,
    squeeze,
    stack,
    transpose,
)

__all__ = [
    "absolute", "add", "avg_pool2d", "batch_norm", "broadcast_to", "concatenate", "conv2d", "cross_entropy", "div",
    "dropout", "exp", "expand_dims", "gelu", "getitem", "identity", "l1_loss", "layer_norm", "linear", "log",
    "log_softmax", "matmul", "max", "max_pool2d", "maximum", "mean", "min", "minimum", "mse_loss", "mul", "neg", "pad",
    "power", "relu", "reshape", "sigmoid", "softmax", "sqrt", "squeeze", "stack", "std", "sub", "sum", "tanh",
    "transpose", "var", "where",
]  # fmt: skip

Operators._F = sys.modules[__name__]  # which Tensor's operators call
