"""Sums of few bits are those of loops in exact fractions: term by term and in chunks, of every product of a layer."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

import lpnet as lp
from lpnet import functions as F

from .formats import twin


def rounded(exp, man):
    """Return a function that rounds a fraction to floating point, to nearest; None rounds nothing."""
    return lambda q: Fraction(twin.floating(q, exp, man, digits=53))


ROUND = {"fp16": rounded(5, 10), "e6m9": rounded(6, 9), "e8m13": rounded(8, 13), "fp32": rounded(8, 23), None: Fraction}
SUMS = [  # add, multiply, every, outer
    ("fp16", None, 1, None),
    ("e8m13", None, 4, "fp32"),
    ("e6m9", "e6m9", 3, "fp16"),
    ("fp16", "e6m9", 1, "fp32"),
    (None, "e6m9", 5, "e6m9"),
    ("e8m13", None, 100, "fp32"),  # one chunk
]


def added(terms, add, multiply, every, outer):
    """Return the sum of fractions: chunks in `add`, added up in `outer`."""
    outer = add if every == 1 and outer is None else outer
    total = Fraction(0)
    for start in range(0, len(terms), every):
        part = Fraction(0)
        for term in terms[start : start + every]:
            part = ROUND[add](part + ROUND[multiply](term))
        total = ROUND[outer](total + part)
    return float(total)


def arrays(*shapes):
    """Return Gaussian numbers of e4m3."""
    rng = np.random.default_rng(0)
    return [lp.quantize(rng.standard_normal(shape), "e4m3") for shape in shapes]


def fractions(*found):
    """Return arrays of fractions."""
    return [np.vectorize(Fraction, otypes=[object])(a) for a in found]


def differentiated(function, sums, x, W, gy):
    """Return the result and the gradients of x and W for errors gy."""
    x, W = lp.Parameter(x), lp.Parameter(W)
    with lp.use(lp.Precision(products=lp.Products(accumulate=lp.Accumulator(*sums)))):
        y = function(x, W)
        y.backward(gy)
    return y.data, x.grad, W.grad


@pytest.mark.parametrize("sums", SUMS, ids=str)
def test_the_sums_of_a_linear_layer(sums):
    """Terms in the order of inputs, of outputs, of samples."""
    x, W, gy = arrays((7, 11), (9, 11), (7, 9))
    found = differentiated(F.linear, sums, x, W, gy)
    x, W, gy = fractions(x, W, gy)
    for y, (a, b) in zip(found, ((x, W.T), (gy, W), (gy.T, x)), strict=True):
        for i, j in np.ndindex(y.shape):
            assert y[i, j] == added(list(a[i] * b[:, j]), *sums), (i, j)


@pytest.mark.parametrize("sums", SUMS, ids=str)
def test_the_sums_of_a_convolution(sums):
    """Terms in the order of the weight in memory, of the weight's gradient in that of samples and places.

    What lies on the border counts as a term that is zero, as does an output that an input has no part in.
    """
    (N, C, H, W_), (O, K), stride, padding, G = (2, 4, 4, 3), (6, 3), 2, 1, 2  # noqa: E741
    x, W = arrays((N, C, H, W_), (O, C // G, K, K))
    conv = lambda x, W: F.conv2d(x, W, stride=stride, padding=padding, groups=G)  # noqa: E731
    (gy,) = arrays(conv(x, W).shape)
    y, gx, gW = differentiated(conv, sums, x, W, gy)
    x, W, gy = fractions(np.pad(x, [(0, 0), (0, 0), (padding,) * 2, (padding,) * 2]), W, gy)
    window = list(itertools.product(range(K), range(K)))

    def error(n, o, h, w):
        """Return the error of the output whose window begins at (h, w), 0 if there is none."""
        (i, left), (j, right) = divmod(h, stride), divmod(w, stride)
        inside = not left and not right and 0 <= i < gy.shape[2] and 0 <= j < gy.shape[3]
        return gy[n, o, i, j] if inside else Fraction(0)

    for n, o, h, w in np.ndindex(y.shape):
        first = o // (O // G) * (C // G)
        terms = [
            W[o, c, i, j] * x[n, first + c, h * stride + i, w * stride + j] for c in range(C // G) for i, j in window
        ]
        assert y[n, o, h, w] == added(terms, *sums)
    for n, c, h, w in np.ndindex(gx.shape):
        group, inner = divmod(c, C // G)
        filters = range(group * (O // G), (group + 1) * (O // G))
        terms = [W[o, inner, i, j] * error(n, o, h + padding - i, w + padding - j) for o in filters for i, j in window]
        assert gx[n, c, h, w] == added(terms, *sums)
    for o, c, i, j in np.ndindex(gW.shape):
        first = o // (O // G) * (C // G)
        places = itertools.product(range(N), *map(range, gy.shape[2:]))
        terms = [gy[n, o, h, w] * x[n, first + c, h * stride + i, w * stride + j] for n, h, w in places]
        assert gW[o, c, i, j] == added(terms, *sums)
