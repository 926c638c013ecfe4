"""NVFP4 operands of products, blocks of 1x16 and 16x16 and rotated ones, are those of a twin in exact fractions."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

import lpnet as lp
from lpnet import functions as F
from lpnet.formats.codes import unpack

from .formats import twin

ELEMENTS = (0, 0.5, 1, 1.5, 2, 3, 4, 6)  # of e2m1, in the order of their codes
TE_SIGNS = (1, 1, 1, -1, 1, -1, -1, -1, -1, -1, -1, 1, -1, 1, -1, -1)  # TransformerEngine's for its weight gradients


class Twin:
    """The NVFP4 operand of an array for a product over an axis: numbers and codes, found a number at a time."""

    def __init__(self, x, axis, square=False, rotate=False, mode="nearest", site=0):
        self.digits = twin.DIGITS[x.dtype]
        x = self._rotated(x, axis) if rotate else x
        u = np.empty(x.shape, object)
        u.flat[:] = twin.uniforms(x.size, site=site)
        places = tiles(x.shape, (0, 1) if square else (axis,))
        blocks = [[[float(x[p]) for p in block]] for block in places]
        self.whole, self.scales = twin.nvfp4_scales(blocks, self.digits)
        found = twin.nvfp4(blocks, mode, self.digits, [[u[p] for p in block] for block in places])
        self.numbers, self.codes = np.empty(x.shape), np.empty(x.shape, int)
        for block, (row,), s in zip(places, found, self.scales, strict=True):
            for p, y in zip(block, row, strict=True):
                self.numbers[p], self.codes[p] = y, self._code(y, s)

    def _code(self, y, s):
        """Return sign and place of the element nearest to y / scale."""
        n = abs(Fraction(y) / (s * self.whole)) if s else 0
        nearest = min(range(8), key=lambda i: abs(ELEMENTS[i] - n))
        return nearest + 8 * (math.copysign(1, y) < 0)

    def _rotated(self, x, axis):
        """Return whole runs of 16 along the axis times diag(signs) H / 4, by sums and differences, each rounded."""
        y = x.copy()
        for block in tiles(x.shape, (axis,)):
            if len(block) == 16:
                run = [Fraction(float(x[p])) * s for p, s in zip(block, TE_SIGNS, strict=True)]
                for step in 1, 2, 4, 8:
                    run = [Fraction(twin.to_float(v, self.digits)) for v in butterfly(run, step)]
                for p, v in zip(block, run, strict=True):
                    y[p] = twin.to_float(v / 4, self.digits)
        return y


def butterfly(v, step):
    """Return v[i] + v[i + step] where i has not the bit `step`, else v[i - step] - v[i]."""
    return [v[i ^ step] - v[i] if i & step else v[i] + v[i ^ step] for i in range(len(v))]


def tiles(shape, axes):
    """Return the places of every block of 16 along these axes, both lists in C order; others are apart."""
    runs = [[range(i, min(i + 16, n)) for i in range(0, n, 16)] for n in shape]
    cut = [runs[a] if a in axes else [[i] for i in range(n)] for a, n in enumerate(shape)]
    return [list(itertools.product(*block)) for block in itertools.product(*cut)]


def array(shape, dtype, seed=0):
    """Return Gaussian numbers with rows of many sizes, some of them zeros."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape) * np.exp2(rng.integers(-6, 6, (shape[0], *[1] * (len(shape) - 1))))
    return np.where(rng.random(shape) < 0.1, 0, x).astype(dtype)


FORMS = {
    "1x16": ("nvfp4", {}),
    "16x16": ("nvfp4:16x16", {"square": True}),
    "rotated": ("nvfp4", {"rotate": True}),
}
PLACES = [((5, 35), 1), ((35, 5), 0), ((3, 18, 2, 2), 1), ((18, 3, 2, 2), 0), ((33, 20), 0), ((18, 33), 1)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mode", ["nearest", "stochastic"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape, axis", PLACES)
def test_operands_are_those_of_fractions(shape, axis, form, mode, dtype):
    """Ragged blocks along features, samples, channels and filters: every bit of the numbers, signs of zeros, too."""
    x = array(shape, dtype)
    name, options = FORMS[form]
    lp.manual_seed(0)
    found = lp.Operand(name, mode, rotate=16 if form == "rotated" else None)(x, axis)
    expected = Twin(x, axis, mode=mode, **options).numbers
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape, axis", PLACES)
def test_codes_and_scales_are_those_of_fractions(shape, axis, form):
    """Elements as sign and place in e2m1, scales as codes of e4m3 in C order of the blocks, the array's as float32."""
    x = array(shape, np.float32)
    name, options = FORMS[form]
    operand, wanted = lp.Operand(name, rotate=16 if form == "rotated" else None), Twin(x, axis, **options)
    encoded = operand.format.along(axis).encode(operand.rotated(x, axis))
    np.testing.assert_array_equal(unpack(encoded.codes, 4, x.size), wanted.codes.ravel())
    assert encoded.scales[:4].view("<f4").item() == wanted.whole
    e4m3 = [twin.decode(code, 4, 3, specials="nan") for code in range(127)]
    assert [e4m3[code] for code in encoded.scales[4:]] == wanted.scales


RECIPE = lp.Products(  # NVIDIA's: arXiv 2509.25149
    x="nvfp4",
    W="nvfp4:16x16",
    gy_input=lp.Operand("nvfp4", "stochastic"),
    W_input="nvfp4:16x16",
    gy_weight=lp.Operand("nvfp4", "stochastic", rotate=16),
    x_weight=lp.Operand("nvfp4", rotate=16),
)


def operands(x, W, gy):
    """Return the twins of the six operands in fractions, in the order in which stochastic ones draw."""
    made = (
        Twin(x, 1),
        Twin(W, 1, square=True),
        Twin(gy, 1, mode="stochastic", site=0),
        Twin(W, 0, square=True),
        Twin(gy, 0, rotate=True, mode="stochastic", site=1),
        Twin(x, 0, rotate=True),
    )
    return [np.vectorize(Fraction, otypes=[object])(t.numbers) for t in made]


def differentiated(function, x, W, gy):
    """Return result and gradients under the recipe."""
    x, W = lp.Parameter(x), lp.Parameter(W)
    lp.manual_seed(0)
    with lp.use(lp.Precision(products=RECIPE)):
        y = function(x, W)
        y.backward(gy)
    return y.data, x.grad, W.grad


def test_a_linear_layer_multiplies_the_twins_operands():
    """All three products, in fractions; W is the same forward and for the gradient of x."""
    x, W, gy = (array(shape, np.float64, i) for i, shape in enumerate([(18, 35), (20, 35), (18, 20)]))
    found = differentiated(F.linear, x, W, gy)
    qx, qW, egy, Wi, wgy, wx = operands(x, W, gy)
    np.testing.assert_array_equal(qW, Wi)
    for a, b in zip(found, (qx @ qW.T, egy @ Wi, wgy.T @ wx), strict=True):
        np.testing.assert_allclose(a, b.astype(float), rtol=1e-12, atol=1e-12)


def test_a_convolution_multiplies_the_twins_operands():
    """All three products of windows of 2x2 at a stride of 1, in fractions."""
    x, W, gy = (array(s, np.float64, i) for i, s in enumerate([(17, 18, 3, 2), (19, 18, 2, 2), (17, 19, 2, 1)]))
    found = differentiated(F.conv2d, x, W, gy)
    qx, qW, egy, Wi, wgy, wx = operands(x, W, gy)
    y, gx, gW = np.zeros(gy.shape, object), np.zeros(x.shape, object), np.zeros(W.shape, object)
    for h, i, j in itertools.product(range(2), range(2), range(2)):
        y[:, :, h, 0] += qx[:, :, h + i, j] @ qW[:, :, i, j].T
        gx[:, :, h + i, j] += egy[:, :, h, 0] @ Wi[:, :, i, j]
        gW[:, :, i, j] += wgy[:, :, h, 0].T @ wx[:, :, h + i, j]
    for a, b in zip(found, (y, gx, gW), strict=True):
        np.testing.assert_allclose(a, b.astype(float), rtol=1e-12, atol=1e-12)
