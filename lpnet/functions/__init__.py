"""The operations, as functions on tensors. Each is a `Function` class with its lowercase function right under it."""

import sys

from ..operators import Operators
from ._dropout import dropout
from ._einsum import einsum
from ._linear import linear, matmul
from .activation import elu, gelu, leaky_relu, log_softmax, relu, sigmoid, silu, softmax, softplus, tanh
from .arithmetic import (
    absolute,
    add,
    cos,
    div,
    exp,
    expm1,
    floor_divide,
    log,
    log1p,
    mul,
    neg,
    power,
    remainder,
    sin,
    sqrt,
    sub,
)
from .conv import conv1d, conv2d, conv_transpose2d
from .loss import cross_entropy, l1_loss, mse_loss
from .norm import batch_norm, group_norm, layer_norm
from .pool import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from .reduction import argmax, cumsum, logsumexp, max, mean, min, prod, std, sum, var
from .selection import embedding, maximum, minimum, where
from .shape import (
    broadcast_to,
    concatenate,
    expand_dims,
    getitem,
    identity,
    pad,
    reshape,
    split,
    squeeze,
    stack,
    transpose,
)

__all__ = [
    "absolute",
    "adaptive_avg_pool2d",
    "add",
    "argmax",
    "avg_pool2d",
    "batch_norm",
    "broadcast_to",
    "concatenate",
    "conv1d",
    "conv2d",
    "conv_transpose2d",
    "cos",
    "cross_entropy",
    "cumsum",
    "div",
    "dropout",
    "einsum",
    "elu",
    "embedding",
    "exp",
    "expand_dims",
    "expm1",
    "floor_divide",
    "gelu",
    "getitem",
    "group_norm",
    "identity",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log",
    "log1p",
    "log_softmax",
    "logsumexp",
    "matmul",
    "max",
    "max_pool2d",
    "maximum",
    "mean",
    "min",
    "minimum",
    "mse_loss",
    "mul",
    "neg",
    "pad",
    "power",
    "prod",
    "relu",
    "remainder",
    "reshape",
    "sigmoid",
    "silu",
    "sin",
    "softmax",
    "softplus",
    "split",
    "sqrt",
    "squeeze",
    "stack",
    "std",
    "sub",
    "sum",
    "tanh",
    "transpose",
    "var",
    "where",
]

Operators._F = sys.modules[__name__]  # which Tensor's operators call
