"""The kernels on the CPU: pieces that stay in the processor's cache, on all threads."""

from .conv import conv2d, conv2d_backward
from .norm import batch_norm, batch_norm_backward, moments
from .optimizer import sgd
from .pool import avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward
from .products import carry_digits, matmul
from .rotation import rotate
from .rounding import quantize, random_bits

__all__ = [
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "carry_digits",
    "conv2d",
    "conv2d_backward",
    "matmul",
    "max_pool2d",
    "max_pool2d_backward",
    "moments",
    "quantize",
    "random_bits",
    "rotate",
    "sgd",
]
