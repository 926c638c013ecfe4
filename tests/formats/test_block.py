"""Block and scaled formats against a scalar twin in exact fractions, on drawn blocks and on the shapes arrays take."""

import dataclasses
import functools
import math
from fractions import Fraction

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
@pytest.mark.parametrize("block", [None, 1, 3, 4, 7, 100, (1, 1), (2, 3), (4, 4), (7, 2), (100, 100)])
def test_axes_and_tiles(axis, block):
    """Every index of the axis is a block; tiles cut that axis, or two, and a ragged last tile is a tile."""
    if axis == 0 and isinstance(block, tuple):
        with pytest.raises(ValueError, match="need an axis before axis 0 of shape"):
            BlockFloatingPoint(8, axis, block).quantize(np.ones((4, 7, 5)))
        return
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
    sizes = dict(zip((axis - 1, axis), block, strict=True)) if isinstance(block, tuple) else {axis: block}
    for place in np.ndindex(*(-(-n // sizes.get(a, 1)) for a, n in enumerate(shape))):
        yield tuple(slice(p * sizes.get(a, 1), (p + 1) * sizes.get(a, 1)) for a, p in enumerate(place))


@pytest.mark.parametrize(
    ("shape", "axis"), [((9,), 0), ((5, 9), 1), ((2, 3, 9), 2), ((2, 9, 3, 3), 1), ((2, 2, 2, 2, 9), 4)]
)
@pytest.mark.parametrize("name", ["bfp4:4", "mxfp4_e2m1", "nvfp4", "nvfp4:2x4", "e4m3:2x4:ceil"])
def test_the_axis_of_the_product(name, shape, axis):
    """A preset's blocks lie along axis 1 of images and kernels, along the last axis of all other arrays."""
    x, fmt = np.random.default_rng(3).standard_normal(shape).astype(np.float32) ** 5, formats.format(name)
    assert fmt.axis == "product"
    assert fmt.quantize(x).tobytes() == dataclasses.replace(fmt, axis=axis).quantize(x).tobytes()
    assert fmt.encode(x).scales.tobytes() == dataclasses.replace(fmt, axis=axis).encode(x).scales.tobytes()


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
@pytest.mark.parametrize("name", [name for name in MX if name != "mxint8"])
@pytest.mark.parametrize("rule", ["ceil", "even", "rms", "floor:4/3", "even:4/3"])
@settings(max_examples=40)
@given(xs=blocks, mode=modes)
def test_rules_of_scales(name, rule, dtype, xs, mode):
    """The scales that nothing saturates, of the rounded maximum, and times 4/3 are the twin's, and so is the rest."""
    emax, options = MX[name]
    x, fmt = np.array(xs, dtype), formats.format(f"{name}:{rule}")
    rule, *factor = rule.split(":")
    one = functools.partial(element, options)
    expected = twin.mx(
        xs,
        one,
        emax,
        mode,
        twin.uniforms(x.size),
        twin.DIGITS[x.dtype],
        rule,
        Fraction(fmt.max),
        2 ** options["man"],
        4 / 3 if factor else 1.0,
    )
    same(rounded(fmt, x, mode), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["nvfp4", "nvfp4:4/6", "nvfp4:2x8", "nvfp4:2x8:4/6"])
@settings(max_examples=60)
@given(xs=blocks, others=blocks, mode=modes)
def test_nvfp4(name, dtype, xs, others, mode):
    """Ragged blocks of one array, flat or of two rows, with one scale for all and one for each, equal the twin."""
    rows = [xs[:16], others[:16], xs[-3:] + others[-3:]]
    width = max(map(len, rows))
    x = np.array([[*row, *[0.0] * (width - len(row))] for row in rows], dtype)
    fmt, us = formats.format(name), np.array(twin.uniforms(x.size), object).reshape(x.shape)
    size = fmt.block if isinstance(fmt.block, tuple) else (1, fmt.block)
    places = list(tiles(x.shape, 1, size)) if x.size else []
    drawn = [us[place].reshape(-1).tolist() for place in places]
    found = twin.nvfp4([x[place].tolist() for place in places], mode, twin.DIGITS[x.dtype], drawn, name.endswith("4/6"))
    expected = np.empty_like(x)
    for place, y in zip(places, found, strict=True):
        expected[place] = y
    same(rounded(fmt, x, mode), expected)


@pytest.mark.parametrize("shape", [(64, 48), (40, 33), (32, 48, 3, 3)])
def test_a_matrix_and_its_transpose_hold_the_same_numbers(shape):
    """Square blocks know no direction: rounded weights are those of the transposed product, too."""
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    for name in ("nvfp4:16x16", "nvfp4:16x16:4/6", "e4m3:128x128", "mxfp4_e2m1:32x32"):
        turned = lp.quantize(np.ascontiguousarray(x.swapaxes(0, 1)), name).swapaxes(0, 1)
        np.testing.assert_array_equal(lp.quantize(x, name), turned)


def gaussian(shape=(2000, 32)):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def log_uniform(blocks=8000):
    """Return blocks whose largest numbers are spread evenly over a logarithmic axis."""
    rng = np.random.default_rng(0)
    return (rng.standard_normal((blocks, 32)) * np.exp2(rng.uniform(0, 8, (blocks, 1)))).astype(np.float32)


@pytest.mark.parametrize(("name", "share"), [("mxfp4_e2m1", 0.42), ("mxfp8_e4m3", 0.19)])
def test_what_saturates(name, share):
    """By floor the largest number of a block is beyond the elements as often as logarithms say; by the others never."""
    x = log_uniform()
    for rule, expected in (("floor", share), ("ceil", 0), ("floor:4/3", 0)):
        fmt = formats.format(f"{name}:{rule}")
        beyond = abs(x) > fmt.expand(fmt.scales(x), x.shape) * np.float32(fmt.max)
        assert beyond.any(1).mean() == pytest.approx(expected, abs=0.02 if expected else 0), rule


@pytest.mark.parametrize(("rule", "unbiased"), [("floor", False), ("ceil", True), ("floor:4/3", True)])
def test_stochastic_rounding_is_unbiased_where_nothing_saturates(rule, unbiased):
    """The mean over all 2^16 random numbers is the number, to their resolution; floor cuts the largest off."""
    block = np.float32([7.3, -0.7, 2.9, 0.1])
    x = np.broadcast_to(block, (2**16, 4))
    lanes = np.repeat(np.arange(2**16, dtype=np.uint16), 4)
    stream = type("All", (random.Stream,), {"draw": lambda self, n: lanes[:n]})(0)
    fmt = formats.format(f"mxfp4_e2m1:{rule}")
    off = abs(fmt.quantize(x, "stochastic", stream).mean(0, np.float64) - block)
    assert (off.max() < 2.0**-13) == unbiased and (off[0] > 1) != unbiased  # the widest gap is 2 to 8


def test_what_the_rules_are_worth():
    """On Gaussian blocks floor shrinks the largest by 6 %, ceil by 2; 4/6 takes 16 % off NVFP4's squared error."""
    x = gaussian()
    top = abs(x).argmax(1)[:, None]

    def shrunk(name):
        y = np.take_along_axis(lp.quantize(x, name) / x, top, 1)
        return float(y.mean()) - 1

    assert shrunk("mxfp4_e2m1") == pytest.approx(-0.063, abs=0.01)
    assert shrunk("mxfp4_e2m1:ceil") == pytest.approx(-0.018, abs=0.01)
    six, four = (((lp.quantize(x, name) - x).astype(np.float64) ** 2).mean() for name in ("nvfp4", "nvfp4:4/6"))
    assert four / six == pytest.approx(0.84, abs=0.03)


@pytest.mark.parametrize("name", ["bfp8", "bfp8:tensor", "bfp4:3", "bfp4:2x3", *MX, "nvfp4", "nvfp4:16x16:4/6"])
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
        (lambda: BlockFloatingPoint(8, axis="product"), "axis"),
        (lambda: BlockFloatingPoint(8, 0, (4, 0)), "block"),
        (lambda: BlockScaled(FixedPoint(8, 6), Exponent(), (4, 4, 4)), "block"),
        (lambda: BlockScaled(FixedPoint(8, 6), FixedPoint(8, 2), 4, scaling="floor"), "scaling"),
        (lambda: BlockScaled(FixedPoint(8, 6), Exponent(), 4, scaling="round"), "scaling"),
        (lambda: BlockScaled(FixedPoint(8, 6), Exponent(), 4, factor=0), "factor"),
        (lambda: BlockScaled(FixedPoint(8, 6), FixedPoint(8, 2), 4, tensor=True, factor=2), "factor"),
        (lambda: BlockFloatingPoint(8, symmetric=2), "symmetric"),
        (lambda: Exponent(8, has_nan=None), "has_nan"),
        (lambda: BlockScaled(FixedPoint(8, 6), Exponent(), 32, tensor=1), "tensor"),
    ],
)
def test_arguments_out_of_range(make, argument):
    """An argument that makes no format is an error that names the class and the argument."""
    with pytest.raises(ValueError, match=rf"(BlockFloatingPoint|BlockScaled|Exponent): {argument}[ ,]"):
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
