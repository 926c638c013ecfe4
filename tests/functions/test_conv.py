"""conv2d and its mirror against the loops of their definitions, for any geometry that hypothesis draws."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import lpnet as lp
from lpnet import functions as F
from lpnet.kernels.numpy import conv, patches

from . import windows
from .cases import normal

SMALL = st.integers(1, 3)


@st.composite
def convolutions(draw):
    """Draw x, W, b and a geometry that fits: strides, paddings, dilations, groups up to depthwise, any window."""
    groups, kernel = draw(SMALL), (draw(SMALL), draw(SMALL))
    per_in, per_out = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    geometry = {
        "stride": draw(windows.pairs(1, 3)),
        "padding": draw(windows.pairs(0, 2)),
        "dilation": draw(windows.pairs(1, 2)),
        "groups": groups,
    }
    x = normal(draw(st.integers(1, 2)), groups * per_in, draw(st.integers(1, 5)), draw(st.integers(1, 5)))
    both = [windows.both(geometry[k]) for k in ("stride", "padding", "dilation")]
    assume(min(windows.out_shape(x.shape[2:], kernel, *both)) > 0)
    return x, normal(groups * per_out, per_in, *kernel, seed=1), normal(groups * per_out), geometry


@given(convolutions())
def test_forward_is_the_definition(drawn):
    """Every output is the sum over channels and window of weight times input."""
    x, W, b, geometry = drawn
    y = F.conv2d(*map(lp.Tensor, (x, W, b)), **geometry)
    np.testing.assert_allclose(y.data, windows.conv2d(x, W, b, **geometry), rtol=1e-10, atol=1e-13, strict=True)


@settings(max_examples=15)
@given(convolutions())
def test_gradients(drawn):
    """Input, weight and bias get exact gradients for any geometry."""
    *inputs, geometry = drawn
    assert lp.gradcheck(lambda x, W, b: F.conv2d(x, W, b, **geometry), inputs)


@pytest.mark.parametrize("flat", [0, 1000])
@pytest.mark.parametrize("numbers", [1, 200, 1 << 19])
@pytest.mark.parametrize("size", [2, 5])
def test_the_batch_is_cut_without_a_trace(size, numbers, flat, monkeypatch):
    """One, some or all samples at a time, side by side or not, in one product or in several: the numbers agree."""
    inputs = normal(6, 16, size, size), normal(32, 8, 3, 3), normal(32)
    monkeypatch.setattr(conv, "AT_A_TIME", numbers)
    monkeypatch.setattr(patches, "FLAT", flat)
    x, W, b = (lp.Tensor(v, requires_grad=True) for v in inputs)
    y = F.conv2d(x, W, b, padding=1, groups=2)
    np.testing.assert_allclose(y.data, windows.conv2d(*inputs, padding=1, groups=2), rtol=1e-10, atol=1e-12)
    y.backward(gy := normal(*y.shape, seed=2))
    # The output is linear in each input alone: its product with gy is that of the input with its gradient.
    linear = (y.data - inputs[2][:, None, None]) * gy
    for tensor in (x, W):
        np.testing.assert_allclose((tensor.data * tensor.grad).sum(), linear.sum(), rtol=1e-9)
    np.testing.assert_allclose(b.grad, gy.sum(axis=(0, 2, 3)), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("frozen", [(0,), (1,), (2,), (0, 1), (1, 2)])
def test_only_what_is_asked_for_gets_a_gradient(frozen):
    """Inputs that need no gradient get none, and the others' do not change."""
    arrays = normal(2, 2, 4, 4), normal(3, 2, 3, 3), normal(3)
    every = [lp.Tensor(a, requires_grad=True) for a in arrays]
    some = [lp.Tensor(a, requires_grad=i not in frozen) for i, a in enumerate(arrays)]
    F.conv2d(*every).sum().backward()
    F.conv2d(*some).sum().backward()
    for i, (a, b) in enumerate(zip(every, some, strict=True)):
        assert b.grad is None if i in frozen else np.array_equal(a.grad, b.grad)


def test_an_empty_batch_gives_an_empty_result():
    """No samples in, none out."""
    assert F.conv2d(lp.Tensor(np.empty((0, 2, 4, 4))), lp.Tensor(normal(3, 2, 3, 3))).shape == (0, 3, 2, 2)


@pytest.mark.parametrize(
    ("x", "W", "b", "geometry", "words"),
    [
        ((1, 3, 4, 4), (2, 16, 3, 3), 2, {}, "conv2d: input has 3 channels, the weight expects 16"),
        ((4, 4), (2, 3, 3, 3), 2, {}, r"conv2d: expected input \(N, C, H, W\) or \(C, H, W\)"),
        ((1, 3, 4, 4), (2, 3, 3, 3), 2, {"padding": "full"}, "padding must be one of same, valid"),
        ((1, 3, 4, 4), (2, 3, 3, 3), 2, {"padding": "same", "stride": 2}, "needs a stride of 1"),
        ((1, 3, 4, 4), (2, 3, 3), 2, {}, r"got \(1, 3, 4, 4\), \(2, 3, 3\)"),
        ((1, 3, 2, 2), (2, 3, 3, 3), 2, {}, r"window of \(3, 3\) does not fit into an input of \(2, 2\)"),
        ((1, 3, 4, 4), (2, 3, 3, 3), 3, {}, r"bias of shape \(3,\)"),
        ((1, 3, 4, 4), (4, 1, 3, 3), 4, {"groups": 2}, "groups=2 must divide 3 channels into 4"),
        ((1, 3, 4, 4), (4, 1, 3, 3), 4, {"groups": 0}, "conv2d: groups must be an integer of at least 1"),
        ((1, 3, 4, 4), (2, 3, 3, 3), 2, {"stride": 0}, "conv2d: stride must be an integer of at least 1"),
        ((1, 3, 4, 4), (2, 3, 3, 3), 2, {"stride": (1, 1, 1)}, "or two of them"),
        ((1, 3, 4, 4), (2, 3, 3, 3), 2, {"padding": -1}, "conv2d: padding must be an integer of at least 0"),
        ((1, 3, 4, 4), (2, 3, 3, 3), 2, {"padding": 0.5}, "conv2d: padding"),
        ((1, 3, 4, 4), (2, 3, 3, 3), 2, {"dilation": 0}, "conv2d: dilation"),
        ((1, 3, 4, 4), (2, 3, 3, 3), 2, {"stride": np.float64(2.5)}, "conv2d: stride"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(x, W, b, geometry, words):
    """The error names the argument, what came and what would do."""
    with pytest.raises(ValueError, match=words):
        F.conv2d(*(lp.Tensor(normal(*s)) for s in (x, W, (b,))), **geometry)


@st.composite
def mirrored(draw):
    """Draw x, W, b and the geometry of a transposed convolution that leaves something."""
    groups, kernel, stride = draw(SMALL), (draw(SMALL), draw(SMALL)), draw(windows.pairs(1, 3))
    per_in, per_out = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    geometry = {
        "stride": stride,
        "padding": draw(windows.pairs(0, 2)),
        "dilation": draw(windows.pairs(1, 2)),
        "output_padding": tuple(draw(st.integers(0, s - 1)) for s in windows.both(stride)),
        "groups": groups,
    }
    x = normal(draw(st.integers(0, 2)), groups * per_in, draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    steps = (windows.both(geometry[k]) for k in ("stride", "padding", "dilation", "output_padding"))
    fields = zip(x.shape[2:], kernel, *steps, strict=True)
    assume(min((n - 1) * s - 2 * p + d * (k - 1) + 1 + e for n, k, s, p, d, e in fields) > 0)
    return x, normal(groups * per_in, per_out, *kernel, seed=1), normal(groups * per_out), geometry


@given(mirrored())
def test_the_mirror_is_the_definition(drawn):
    """Every input, times the weight, is added to the places of its window."""
    x, W, b, geometry = drawn
    y = F.conv_transpose2d(*map(lp.Tensor, (x, W, b)), **geometry)
    expected = windows.conv_transpose2d(x, W, b, **geometry)
    np.testing.assert_allclose(y.data, expected, rtol=1e-10, atol=1e-12, strict=True)


@settings(max_examples=15)
@given(mirrored())
def test_gradients_of_the_mirror(drawn):
    """Input, weight and bias get exact gradients for any geometry."""
    *inputs, geometry = drawn
    assert lp.gradcheck(lambda x, W, b: F.conv_transpose2d(x, W, b, **geometry), inputs)


@pytest.mark.parametrize(
    ("x", "W", "geometry", "words"),
    [
        ((1, 3, 4, 4), (4, 2, 3, 3), {}, "conv_transpose2d: input has 3 channels, the weight expects 4"),
        ((1, 3, 4, 4), (3, 1, 3), {}, r"\(C, H, W\) and weight \(C, O, K, K\)"),
        ((1, 3, 4, 4), (3, 1, 3, 3), {"groups": 2}, "groups=2 must divide 3 channels"),
        ((1, 3, 4, 4), (3, 2, 3, 3), {}, r"bias of shape \(1,\) does not fit"),
        ((1, 3, 4, 4), (3, 1, 3, 3), {"output_padding": 1}, r"output_padding \(1, 1\) must be less than the stride"),
        ((1, 3, 1, 1), (3, 1, 3, 3), {"padding": 2}, r"padding of \(2, 2\) leaves nothing of an input of \(1, 1\)"),
    ],
)
def test_shapes_that_do_not_fit_the_mirror_are_refused(x, W, geometry, words):
    """The error names the argument, what came and what would do."""
    with pytest.raises(ValueError, match=words):
        F.conv_transpose2d(*(lp.Tensor(normal(*s)) for s in (x, W, (1,))), **geometry)


@given(kernel=windows.pairs(1, 4), dilation=windows.pairs(1, 2), size=st.tuples(st.integers(1, 5), st.integers(1, 5)))
def test_same_padding_gives_images_of_the_inputs_size(kernel, dilation, size):
    """padding="same" is a border of zeros, half on each side, the odd one behind."""
    x, W = normal(1, 2, *size), normal(3, 2, *windows.both(kernel), seed=1)
    zeros = [d * (k - 1) for d, k in zip(windows.both(dilation), W.shape[2:], strict=True)]
    wide = np.pad(x, [(0, 0), (0, 0), *((n // 2, n - n // 2) for n in zeros)])
    witness = windows.conv2d(wide, W, np.zeros(3), dilation=dilation)
    y = F.conv2d(lp.Tensor(x), W, padding="same", dilation=dilation).data
    assert y.shape[2:] == size
    np.testing.assert_allclose(y, witness, rtol=1e-11, atol=1e-12)


@given(st.integers(1, 3), st.integers(1, 2), st.integers(0, 2), st.integers(1, 2), st.integers(5, 8))
def test_one_axis_is_an_image_of_one_row(kernel, stride, padding, dilation, n):
    """conv1d of (N, C, L) is the definition on (N, C, 1, L)."""
    x, W, b = normal(2, 4, n), normal(6, 2, kernel, seed=1), normal(6, seed=2)
    y = F.conv1d(lp.Tensor(x), W, b, stride, padding, dilation, groups=2).data
    witness = windows.conv2d(x[:, :, None], W[:, :, None], b, (1, stride), (0, padding), (1, dilation), 2)
    np.testing.assert_allclose(y, witness[:, :, 0], rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("op", [F.conv2d, F.conv_transpose2d])
def test_one_image_is_a_batch_of_one(op):
    """(C, H, W) gives what (1, C, H, W) does, without the first axis."""
    x, W = normal(2, 4, 4), normal(2, 2, 3, 3)
    assert np.array_equal(op(lp.Tensor(x), W).data, op(lp.Tensor(x[None]), W).data[0])


def test_conv1d_takes_its_options_in_tuples():
    """Of one number, as PyTorch's."""
    x, W = lp.Tensor(normal(2, 3, 8)), lp.Tensor(normal(4, 3, 3))
    np.testing.assert_array_equal(F.conv1d(x, W, None, (2,), (1,), (2,)).data, F.conv1d(x, W, None, 2, 1, 2).data)
