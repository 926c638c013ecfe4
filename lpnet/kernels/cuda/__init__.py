"""The kernels on the GPU: CUDA sources (*.cu), what launches them, and cuBLAS."""

from .conv import conv2d, conv2d_backward
from .digits import carry_digits
from .norm import batch_norm, batch_norm_backward, moments
from .optimizer import sgd
from .pool import avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward
from .rotation import rotate
from .rounding import quantize, random_bits
from .tensorcores import matmul

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
