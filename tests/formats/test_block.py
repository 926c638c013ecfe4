"""Block and scaled formats against a scalar twin in exact fractions, on drawn blocks and on the shapes arrays take."""

import functools
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import lpnet as lp
from lpnet import formats, random
from lpnet.formats import BlockFloatingPoint, BlockScaled, Exponent, FixedPoint

from . import twin

DTYPES = [np.float32, np.float64]


def number(largest):
    """Draw a float32 of at most 2^largest, many of them just below a power of two."""
    signs, exponents = st.sampled_from([1, -1]), st.integers(-149, largest - 1)
    below = st.builds(lambda sign, e: sign * (2 - 2.0**-23) * 2.0**e, signs, exponents)
    ties = st.builds(lambda n, e: n * 2.0**e, st.integers(-511, 511), st.integers(-140, largest - 10))
    return st.floats(-(2.0**largest), 2.0**largest, width=32) | below.map(lambda v: float(np.float32(v))) | ties


blocks = st.one_of(
    st.lists(number(120), max_size=24),
    st.lists(number(2), max_size=24).flatmap(lambda xs: st.permutations([*xs, 2.0**100])),  # one huge element
    st.lists(number(-126), max_size=24),  # a subnormal maximum
    st.lists(st.sampled_from([0.0, -0.0]), max_size=5),
    st.lists(number(3) | st.sampled_from([math.nan, math.inf, -math.inf]), max_size=8),
    st.lists(st.floats(width=32), max_size=8),
)
modes = st.sampled_from(twin.MODES)


def same(y, expected):
    """Compare bit for bit, any NaN with any NaN."""
    expected = np.array(expected, y.dtype).reshape(y.shape)
    np.testing.assert_array_equal(y, expected)
    finite = ~np.isnan(y)
    np.testing.assert_array_equal(np.signbit(y[finite]), np.signbit(expected[finite]))


def rounded(fmt, x, mode):
    return fmt.quantize(x, mode, random.Stream(0))


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=150)
@given(
    xs=blocks,
    mode=modes,
    wl=st.sampled_from([2, 3, 4, 8, 16, 26, 53]),
    exp=st.sampled_from([8, 8, 4, 2, 11]),
    symmetric=st.booleans(),
)
@example(xs=[-3.4028234663852886e38, 1.0], mode="nearest", wl=8, exp=8, symmetric=False)  # -2^128 is no float32
def test_block_floating_point(dtype, xs, mode, wl, exp, symmetric):
    """A whole array as one block equals the twin in every mode."""
    x = np.array(xs, dtype)
    y = rounded(BlockFloatingPoint(wl, None, exp=exp, symmetric=symmetric), x, mode)
    digits = twin.DIGITS[x.dtype]
    same(y, twin.block(xs, wl, exp, symmetric, mode, twin.uniforms(x.size), digits))


@pytest.mark.parametrize("axis", [0, 1, -1, 2])
@pytest.mark.parametrize("block", [None, 1, 3, 4, 7, 100])
def test_axes_and_tiles(axis, block):
    """Every index of the axis is a block; tiles cut that axis, and a ragged last tile is a tile."""
    x = np.random.default_rng(3).standard_normal((4, 7, 5)).astype(np.float32) ** 5
    y = BlockFloatingPoint(8, axis, block).quantize(x)
    expected = np.empty_like(x)
    for block_of in tiles(x.shape, axis % 3, block):
        expected[block_of] = np.reshape(twin.block(x[block_of].reshape(-1).tolist(), 8), x[block_of].shape)
    same(y, expected)


def tiles(shape, axis, block):
    """Yield the index of every block: a slice of the axis alone, or k neighbours on it at one place of the others."""
    if block is None:
        for i in range(shape[axis]):
            yield tuple(slice(i, i + 1) if a == axis else slice(None) for a in range(len(shape)))
        return
    for place in np.ndindex(*(1 if a == axis else n for a, n in enumerate(shape))):
        for i in range(0, shape[axis], block):
            yield tuple(slice(i, i + block) if a == axis else slice(p, p + 1) for a, p in enumerate(place))


MX = {  # name: (emax of the elements, the twin's element)
    "mxfp8_e4m3": (8, {"exp": 4, "man": 3, "specials": "nan", "saturate": True}),
    "mxfp8_e5m2": (15, {"exp": 5, "man": 2, "saturate": True}),
    "mxfp6_e3m2": (4, {"exp": 3, "man": 2, "specials": "none"}),
    "mxfp6_e2m3": (2, {"exp": 2, "man": 3, "specials": "none"}),
    "mxfp4_e2m1": (2, {"exp": 2, "man": 1, "specials": "none"}),
    "mxint8": (0, None),
}


def element(options, x, mode, u, digits):
    if options is None:
        return twin.fixed(x, 8, 6, True, True, mode, u, digits)
    return twin.floating(x, **options, mode=mode, u=u, digits=digits)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MX)
@settings(max_examples=60)
@given(xs=blocks, mode=modes)
def test_mx(name, dtype, xs, mode):
    """An OCP MX block equals the twin in every mode; NaN or infinity anywhere makes it NaN."""
    emax, options = MX[name]
    x = np.array(xs, dtype)
    y = rounded(formats.format(name), x, mode)
    one = functools.partial(element, options)
    same(y, twin.mx(xs, one, emax, mode, twin.uniforms(x.size), twin.DIGITS[x.dtype]))


@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=100)
@given(xs=blocks, others=blocks, mode=st.sampled_from(twin.MODES[:-1]))
def test_nvfp4(dtype, xs, others, mode):
    """Three ragged blocks of one array, with one scale for all and one for each, equal the twin."""
    rows = [xs[:16], others[:16], xs[-3:] + others[-3:]]
    width = max(map(len, rows))
    rows = [[*row, *[0.0] * (width - len(row))] for row in rows]
    x = np.array(rows, dtype)
    same(rounded(formats.format("nvfp4"), x, mode), twin.nvfp4(rows, mode, twin.DIGITS[x.dtype]))


@pytest.mark.parametrize("name", ["bfp8", "bfp8:tensor", "bfp4:3", *MX, "nvfp4"])
def test_shapes(name):
    """Empty and 0-d arrays, views and ragged tiles keep their shape, and views round as their copies do."""
    fmt, rng = formats.format(name), np.random.default_rng(0)
    for shape in ((), (0,), (3, 0), (0, 4), (1,), (33,), (2, 3, 37)):
        x = rng.standard_normal(shape).astype(np.float32)
        y = fmt.quantize(x)
        assert (y.shape, y.dtype, type(y)) == (shape, x.dtype, np.ndarray)
    for view in (x.T, x[:, ::2], x[..., ::-1], np.broadcast_to(x[0], (4, 3, 37)), x.astype(np.float64)[1:]):
        for mode in ("nearest", "stochastic"):
            y, copy = rounded(fmt, view, mode), rounded(fmt, np.ascontiguousarray(view), mode)
            assert y.tobytes() == copy.tobytes()


def test_two_dimensions_are_needed_for_an_axis():
    """Below two dimensions the array is one block, whatever the axis; with tiles it is not."""
    x = np.float32([1, 100, 0.01])
    assert (BlockFloatingPoint(8, axis=1).quantize(x) == BlockFloatingPoint(8, axis=None).quantize(x)).all()
    assert (BlockFloatingPoint(8, axis=0, block=1).quantize(x) != BlockFloatingPoint(8).quantize(x)).any()


def test_blocks_of_nan():
    """A NaN or an infinity takes its own block with it, and no other."""
    x = np.ones((3, 16), np.float32)
    x[0, 3], x[2, 5] = np.nan, -np.inf
    for name in ("bfp8", "bfp8:16", "mxint8", "mxfp4_e2m1", "nvfp4"):
        y = lp.quantize(x, name)
        assert np.isnan(y[[0, 2]]).all() and (y[1] == 1).all(), name


@pytest.mark.parametrize("name", ["bfp8", "bfp5:4", "bfp3:tensor", *MX])
def test_a_second_rounding_changes_nothing(name):
    """What is on the grid stays there in every mode: the block's exponent is that of the rounded block, too."""
    x = np.random.default_rng(1).standard_normal((40, 64)).astype(np.float32) ** 7
    fmt = formats.format(name)
    y = fmt.quantize(x, "stochastic")
    for mode in twin.MODES:
        assert fmt.quantize(y, mode).tobytes() == y.tobytes(), mode


@pytest.mark.parametrize(
    ("make", "argument"),
    [
        (lambda: BlockFloatingPoint(1), "wl"),
        (lambda: BlockFloatingPoint(54), "wl"),
        (lambda: BlockFloatingPoint(8.5), "wl"),
        (lambda: BlockFloatingPoint(8, exp=1), "exp"),
        (lambda: BlockFloatingPoint(8, exp=12), "exp"),
        (lambda: BlockFloatingPoint(8, axis=0.5), "axis"),
        (lambda: BlockFloatingPoint(8, block=0), "block"),
        (lambda: BlockFloatingPoint(8, axis=None, block=4), "block"),
        (lambda: BlockScaled("e2m1", Exponent(), 32), "element"),
        (lambda: BlockScaled(FixedPoint(8, 6), 3, 32), "scale"),
        (lambda: BlockScaled(FixedPoint(8, 6), Exponent(), 0), "block"),
        (lambda: BlockScaled(FixedPoint(8, 6), Exponent(), 32, axis="last"), "axis"),
        (lambda: Exponent(1), "bits"),
        (lambda: BlockFloatingPoint(8, symmetric=2), "symmetric"),
        (lambda: Exponent(8, has_nan=None), "has_nan"),
        (lambda: BlockScaled(FixedPoint(8, 6), Exponent(), 32, tensor=1), "tensor"),
    ],
)
def test_arguments_out_of_range(make, argument):
    """An argument that makes no format is an error that names the class and the argument."""
    with pytest.raises(ValueError, match=rf"(BlockFloatingPoint|BlockScaled|Exponent): {argument} "):
        make()


@pytest.mark.parametrize(
    "fmt",
    [BlockFloatingPoint(8, axis=2), formats.format("mxint8").__class__(FixedPoint(8, 6), Exponent(), 32, axis=3)],
    ids=str,
)
def test_an_axis_the_array_does_not_have(fmt):
    """An axis out of range for the array is an error that names the format, the axis and the shape."""
    with pytest.raises(ValueError, match=r"axis \d is out of range for an array of shape \(2, 3\)"):
        fmt.quantize(np.zeros((2, 3), np.float32))
