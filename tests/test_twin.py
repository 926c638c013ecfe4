"""The kernels of convolution and normalization against their readable twins, for any geometry."""

import itertools

import numpy as np
import pytest

from lpnet.kernels import cuda, kernel, numpy, twin
from lpnet.kernels.geometry import ConvGeometry

SIZES = [  # size, window, channels in and out, groups
    ((7, 6), (3, 2), 4, 6, 2),
    ((5, 5), (1, 1), 3, 4, 1),
    ((9, 4), (2, 3), 6, 6, 6),
    ((8, 8), (3, 3), 16, 40, 1),
    ((5, 5), (5, 5), 2, 3, 1),
    ((2, 2), (2, 2), 64, 16, 2),
]
STEPS = list(itertools.product([(1, 1), (2, 1), (2, 3)], [(0, 0), (1, 1), (2, 1)], [(1, 1), (2, 2)]))
SHAPES = [(4, 3), (8, 5, 2, 4), (2, 1, 16), (64, 16, 8, 8)]  # (N, C, ...), a power of two of numbers in each channel


def convolutions():
    """Yield the geometries that fit."""
    for (size, window, inputs, filters, groups), (stride, padding, dilation) in itertools.product(SIZES, STEPS):
        channels = {"channels": inputs, "filters": filters, "groups": groups}
        geometry = ConvGeometry(size, window, stride, padding, dilation, **channels)
        if min(geometry.out) > 0:
            yield geometry


def conv2d(rng, geometry):
    """Return what `conv2d` takes."""
    shapes = (5, geometry.channels, *geometry.size), geometry.weight_shape, geometry.filters
    return geometry, *map(rng, shapes)


def conv2d_backward(rng, geometry):
    """Return what `conv2d_backward` takes."""
    _, x, W, _ = conv2d(rng, geometry)
    return geometry, rng((5, geometry.filters, *geometry.out)), x, W, True


def moments(rng, shape):
    """Return what `moments` takes."""
    return (rng(shape),)


def batch_norm(rng, shape):
    """Return what `batch_norm` takes; the root of each integer's variance is exact."""
    c = shape[1:2]
    return rng(shape), rng(c), 4 ** rng(c), rng(c), rng(c), 0.0


def batch_norm_backward(rng, shape, constant=False):
    """Return what `batch_norm_backward` takes."""
    c = shape[1:2]
    return rng(shape), rng(shape), rng(c), 2 ** rng(c), rng(c), constant, True


CASES = {
    "conv2d": [(conv2d, geometry) for geometry in convolutions()],
    "conv2d_backward": [(conv2d_backward, geometry) for geometry in convolutions()],
    "moments": [(moments, shape) for shape in SHAPES],
    "batch_norm": [(batch_norm, shape) for shape in SHAPES],
    "batch_norm_backward": [(batch_norm_backward, shape, constant) for shape in SHAPES for constant in (False, True)],
}


def integers(seed=0):
    """Return a function that draws small integers of float64: no sum or product of them is rounded."""
    rng = np.random.default_rng(seed)
    return lambda shape: rng.integers(-4, 5, shape).astype(np.float64)


def reals(seed=0):
    """Return a function that draws numbers of float32."""
    rng = np.random.default_rng(seed)
    return lambda shape: rng.standard_normal(shape).astype(np.float32)


def both(name, draw, case, xp=np):
    """Yield what a kernel and its twin return, array by array."""
    make, *about = case
    arguments = make(draw, *about)
    moved = [xp.asarray(a) if isinstance(a, np.ndarray) else a for a in arguments]
    got, expected = kernel(name, xp)(*moved), getattr(twin, name)(*arguments)
    pairs = zip(got, expected, strict=True) if isinstance(expected, tuple) else [(got, expected)]
    yield from ((one if xp is np else one.get(), other) for one, other in pairs)


def test_both_devices_have_every_kernel():
    """A kernel that one of the two lacked would be missed only on the day that somebody asks for it."""
    assert sorted(numpy.__all__) == sorted(cuda.__all__)
    assert {name for name in numpy.__all__ if hasattr(twin, name)} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_integers_are_exact(name):
    """Where nothing is rounded, the order of the sums cannot show: kernel and twin are equal."""
    for case in CASES[name]:
        for got, expected in both(name, integers(), case):
            np.testing.assert_array_equal(got, expected, err_msg=str(case), strict=True)


@pytest.mark.parametrize("name", CASES)
def test_reals_are_close(name):
    """In float32 they differ by rounding alone."""
    for case in CASES[name]:
        for got, expected in both(name, reals(), case):
            scale = float(np.abs(expected).max())
            np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5 * scale, err_msg=str(case), strict=True)


@pytest.mark.parametrize("asked", list(itertools.product([False, True], repeat=3)))
def test_only_what_is_asked_for_is_returned(asked):
    """Each gradient of a convolution takes one operand, and comes without the others as it comes with them."""
    needs_x, needs_W, needs_b = asked
    for geometry in convolutions():
        _, gy, x, W, _ = conv2d_backward(integers(), geometry)
        whole = twin.conv2d_backward(geometry, gy, x, W, True)
        operands = x if needs_W else None, W if needs_x else None, needs_b
        for function in (kernel("conv2d_backward", np), twin.conv2d_backward):
            for need, got, expected in zip(asked, function(geometry, gy, *operands), whole, strict=True):
                assert np.array_equal(got, expected) if need else got is None
