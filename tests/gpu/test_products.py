"""Operands and sums of products on the stand-in for CuPy: NumPy's bits, and no wait."""

import numpy as np
import pytest

import lpnet as lp

from ..test_products_alike import KINDS, PRODUCTS
from .test_quantize import same


def numbers(shape, seed):
    """Return multiples of 1/8 from 1/2 to 1 of both signs: the float32 sums of their products are exact."""
    rng = np.random.default_rng(seed)
    return (rng.integers(4, 9, shape) / 8 * rng.choice([-1, 1], shape)).astype(np.float32)


def differentiated(function, products, *arrays):
    """Return the result of a product and both gradients."""
    lp.manual_seed(0)
    x, W, gy = arrays
    tensors = lp.Parameter(x), lp.Parameter(W)
    with lp.use(lp.Precision(products=products)):
        y = function(*tensors)
        y.backward(gy)
    return [y.data, *(t.grad for t in tensors)]


# NVFP4 and 4/3 have scales that are no powers of two: their sums are not exact, and each device has its own order.
SAME = {name: products for name, products in PRODUCTS.items() if "nvfp4" not in name and "4/3" not in name}
SAME["mxint8"] = lp.Products.uniform("mxint8", "nearest_away")
SAME["mxfp4, rotated"] = lp.Products.uniform("mxfp4_e2m1", "stochastic", rotate=4)


@pytest.mark.parametrize("products", SAME)
@pytest.mark.parametrize("kind", KINDS)
def test_products_have_numpys_bits(cupy, kind, products):
    """The result and both gradients of each kind of product, with the same random numbers."""
    function, _, shapes = KINDS[kind]
    x, W = (numbers(shape, i) for i, shape in enumerate(shapes))
    gy = numbers(function(x, W).shape, 2)
    expected = differentiated(function, SAME[products], x, W, gy)
    with cupy.no_waiting():
        found = differentiated(function, SAME[products], *(cupy.asarray(a) for a in (x, W, gy)))
    for got, one in zip(found, expected, strict=True):
        assert isinstance(got, cupy.ndarray) and one.any()
        same(got.get(), one)


@pytest.mark.parametrize("name", ["x", "W", "gy_input", "W_input", "gy_weight", "x_weight"])
@pytest.mark.parametrize("products", PRODUCTS)
def test_operands_have_numpys_bits(cupy, products, name):
    """Rotated and blocked along each axis of matrices and images."""
    x = np.random.default_rng(0).standard_normal((18, 35, 3, 5), np.float32)
    for array, axes in ((x, (0, 1)), (x.reshape(18, -1), (0, 1, -1, -2))):
        for axis in axes:
            lp.manual_seed(0)
            expected = PRODUCTS[products].operand(name, array, axis)
            lp.manual_seed(0)
            device = cupy.asarray(array)
            with cupy.no_waiting():
                got = PRODUCTS[products].operand(name, device, axis)
            same(got.get(), expected)
