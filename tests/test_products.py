"""Operands of products are rounded along the axis of their product, rotations cancel, sums are those of fractions."""

from dataclasses import replace

import numpy as np
import pytest

import lpnet as lp
from lpnet import functions as F
from lpnet.products import SIGNS, Products

MX = ["mxfp8_e4m3", "mxfp6_e3m2", "mxfp4_e2m1", "mxint8"]


def blocked(name, x, axis):
    """Return x rounded by the format with blocks along an axis, said by moving it to the end."""
    fmt = replace(lp.format(name), axis=-1)
    return np.moveaxis(lp.quantize(np.ascontiguousarray(np.moveaxis(x, axis, -1)), fmt), -1, axis)


def arrays(*shapes):
    """Return Gaussian arrays of these shapes in float64: sums of a few of their products have no last bit to lose."""
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape) for shape in shapes]


def differentiated(function, products, gy, *inputs):
    """Return the result of a function of tensors under these products, and its inputs' gradients for errors gy."""
    tensors = [lp.Parameter(x) for x in inputs]
    with lp.use(lp.Precision(products=products)):
        y = function(*tensors)
        y.backward(gy)
    return [y.data, *(t.grad for t in tensors)]


@pytest.mark.parametrize("name", MX)
def test_a_linear_layer_has_three_products(name):
    """Inputs are blocked along features, for the weight's gradient along samples; so are weights and errors, ragged."""
    x, W, gy = arrays((37, 70), (41, 70), (37, 41))
    y, gx, gW = differentiated(F.linear, name, gy, x, W)
    np.testing.assert_allclose(y, blocked(name, x, 1) @ blocked(name, W, 1).T, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(gx, blocked(name, gy, 1) @ blocked(name, W, 0), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(gW, blocked(name, gy, 0).T @ blocked(name, x, 0), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("stride, padding", [(1, 1), (2, 0)])
@pytest.mark.parametrize("name", MX)
def test_a_convolution_has_three_products(name, stride, padding):
    """They are those of exact convolutions of operands blocked along channels, filters and samples."""
    x, W = arrays((35, 40, 6, 6), (9, 40, 3, 3))
    gy = arrays(F.conv2d(x, W, None, stride, padding).shape)[0]

    def exact(x, W, gy):
        return differentiated(lambda *a: F.conv2d(*a, None, stride, padding), None, gy, x, W)

    found = differentiated(lambda *a: F.conv2d(*a, None, stride, padding), name, gy, x, W)
    expected = [
        exact(blocked(name, x, 1), blocked(name, W, 1), gy)[0],
        exact(x, blocked(name, W, 0), blocked(name, gy, 1))[1],
        exact(blocked(name, x, 0), W, blocked(name, gy, 0))[2],
    ]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_groups_are_side_by_side():
    """A convolution in groups of whole blocks is that of each group by itself."""
    x, W = arrays((3, 64, 5, 5), (6, 32, 3, 3))
    with lp.use(lp.Precision(products="mxfp4_e2m1")):
        both = F.conv2d(x, W, groups=2).data
        each = [F.conv2d(x[:, i : i + 32], W[j : j + 3]).data for i, j in ((0, 0), (32, 3))]
    np.testing.assert_allclose(both, np.concatenate(each, 1), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("function", [F.conv2d, F.conv_transpose2d])
def test_one_sample_has_the_products_of_a_batch_of_one(function):
    """The result and all gradients are those of the batch."""
    x, W = arrays((1, 40, 6, 6), (40, 40, 3, 3))
    (gy,) = arrays(function(x, W).shape)
    batch = differentiated(function, "mxfp4_e2m1", gy, x, W)
    y, gx, gW = differentiated(function, "mxfp4_e2m1", gy[0], x[0], W)
    for a, b in zip((y[None], gx[None], gW), batch, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", MX)
def test_a_transposed_convolution_has_three_products(name):
    """They are those of exact ones: weights (C, O, K, L) sum over C forward, over O for the input's gradient."""
    x, W = arrays((35, 9, 4, 4), (9, 40, 3, 3))
    (gy,) = arrays(F.conv_transpose2d(x, W, None, 2).shape)

    def ran(products, x, W, gy):
        return differentiated(lambda *a: F.conv_transpose2d(*a, None, 2), products, gy, x, W)

    found = ran(name, x, W, gy)
    expected = [
        ran(None, blocked(name, x, 1), blocked(name, W, 0), gy)[0],
        ran(None, x, blocked(name, W, 1), blocked(name, gy, 1))[1],
        ran(None, blocked(name, x, 0), W, blocked(name, gy, 0))[2],
    ]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"dilation": (1, 2), "groups": 2}])
@pytest.mark.parametrize("transposed", [False, True])
def test_sums_see_the_windows_that_a_convolution_sees(options, transposed):
    """An accumulator that rounds nothing gives the numbers of the fast convolution, forward and backward."""
    function = F.conv_transpose2d if transposed else F.conv2d
    groups = options.get("groups", 1)
    x, W, b = arrays((3, 4, 7, 6), (4, 6 // groups, 3, 2) if transposed else (6, 4 // groups, 3, 2), (6,))
    (gy,) = arrays(function(x, W, b, **options).shape)
    summed, fast = (
        differentiated(lambda *a: function(*a, **options), products, gy, x, W, b)
        for products in (Products(accumulate=lp.Accumulator()), None)
    )
    for a, e in zip(summed, fast, strict=True):
        np.testing.assert_allclose(a, e, rtol=1e-12, atol=1e-12)


def hadamard(n):
    """Return Sylvester's matrix with fixed signs, an orthogonal one."""
    H = np.ones((1, 1))
    while len(H) < n:
        H = np.block([[H, H], [H, -H]])
    return np.array((SIGNS * n)[:n])[:, None] * H / np.sqrt(n)


@pytest.mark.parametrize("n", [2, 16, 32])
def test_operands_are_rotated_before_they_are_rounded(n):
    """The product is that of rounded rotated operands; what is left over of an axis is rounded as it is."""
    x, W = arrays((5, 70), (7, 70))
    turn = np.eye(70)
    for i in range(0, 70 // n * n, n):
        turn[i : i + n, i : i + n] = hadamard(n)
    with lp.use(lp.Precision(products=Products.uniform("mxfp4_e2m1", rotate=n))):
        y = F.linear(x, W).data
    expected = blocked("mxfp4_e2m1", x @ turn, 1) @ blocked("mxfp4_e2m1", W @ turn, 1).T
    np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)


def test_promotion_takes_away_the_error_of_a_long_sum():
    """Of 4096 positive terms, 14 bits lose over fifty times what they lose when every 128 are added up in float32."""
    a, b = (abs(x) for x in arrays((4, 4096), (4096, 4)))
    exact = a @ b
    errors = [
        np.abs(sums.matmul(a, b) / exact - 1).mean()
        for sums in (lp.Accumulator(add="e8m13"), lp.Accumulator(add="e8m13", every=128, outer="fp32"))
    ]
    assert 50 * errors[1] < errors[0] < 1e-2, errors


@pytest.mark.parametrize("name, inside", [("mxfp4_e2m1", 0), ("mxfp4_e2m1:ceil", 1), ("mxfp4_e2m1:4/3", 1)])
def test_stochastic_rounding_is_unbiased_where_nothing_saturates(name, inside):
    """By the rules ceil and 4/3 each number lies between its neighbours; by floor alone the largest are beyond both."""
    x = 2.0 ** np.random.default_rng(0).uniform(-1, 1, (999, 32))
    within = (lp.quantize(x, name, "floor") <= x) & (x <= lp.quantize(x, name, "ceil") * (1 + 1e-12))
    assert within.all() == inside


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: lp.Operand("nvfp4", rotate=12), "rotate must be a power of two, got 12"),
        (lambda: lp.Operand("nvfp5"), "nvfp5"),
        (lambda: lp.Operand("nvfp4")(np.ones((3, 3)), 5), "cannot sum over axis 5"),
        (lambda: lp.Products(x=lp.Operand("nvfp4", rotate=16)), "x and W must have the same rotate"),
        (lambda: lp.Accumulator(add="e4m3", multiply="fp16"), "add must not be narrower than multiply"),
        (lambda: lp.Products(x="fp16", accumulate=lp.Accumulator(add="e4m3")), "add must not be narrower than x"),
    ],
)
def test_what_cannot_be_is_one_sentence(make, words):
    """Axes, rotations and sums that no product has are refused where they are said."""
    with pytest.raises(ValueError, match=words) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_a_block_longer_than_the_axis_is_one_block():
    """Five numbers in blocks of 32 share a scale."""
    x, W = arrays((4, 5), (3, 5))
    with lp.use(lp.Precision(products="mxfp4_e2m1")):
        y = F.linear(x, W).data
    np.testing.assert_allclose(y, blocked("mxfp4_e2m1", x, 1) @ blocked("mxfp4_e2m1", W, 1).T, rtol=1e-13)
