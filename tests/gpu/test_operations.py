"""Every operation on the stand-in for CuPy: the numbers of NumPy, nothing that CuPy lacks, no wait for the GPU."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import functions as F
from lpnet.random import Stream

from ..functions.cases import CASES, normal
from ..functions.test_every import run, weights

# Picking by an array of truth values needs to know how many there are.
COUNTING = ("getitem", 8)
every = pytest.mark.parametrize("case", CASES, ids=str)


def to_gpu(cupy, arrays):
    return [cupy.asarray(x) for x in arrays]


def counts(case):
    """Return whether the case picks by a mask."""
    keys = [c for c in CASES if c.name == COUNTING[0]]
    return case is keys[COUNTING[1]]


@pytest.fixture(autouse=True)
def _constants_move(monkeypatch):
    """The cases hold conditions and statistics on the host; move them with the rest, as a user has to."""
    where, batch_norm, to_device_of = F.where, F.batch_norm, lp.backend.to_device_of
    monkeypatch.setattr(F, "where", lambda c, a, b: where(to_device_of(c, a.data), a, b))
    monkeypatch.setattr(
        F, "batch_norm", lambda x, w, b, *given: batch_norm(x, w, b, *(to_device_of(v, x.data) for v in given))
    )


@every
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_of_numpy_and_no_wait(cupy, case, dtype):
    """Results and gradients are those of NumPy, on the device, in its dtype."""
    inputs = [x.astype(dtype) for x in case.inputs]
    y, grads = run(case, inputs)
    device, gy = to_gpu(cupy, inputs), cupy.asarray(weights(y))
    if counts(case):
        got_y, got_grads = run(case, device, gy)
    else:
        with cupy.no_waiting():
            got_y, got_grads = run(case, device, gy)
    tolerance = {"rtol": 1e-4, "atol": 1e-5} if dtype == np.float32 else {"rtol": 1e-10, "atol": 1e-11}
    for got, expected in zip((got_y, *got_grads), (y, *grads), strict=True):
        assert isinstance(got, cupy.ndarray) and got.dtype == expected.dtype
        np.testing.assert_allclose(got.get(), expected, **tolerance)


@every
def test_rounded_operations_do_not_wait(cupy, case):
    """The same under a precision, forward and backward."""
    inputs = to_gpu(cupy, [x.astype(np.float32) for x in case.inputs])
    precision = lp.Precision.uniform("bfp8", stream=Stream(1))
    y = case.call(*map(lp.Tensor, inputs))
    gy = cupy.asarray(weights(y.numpy()))
    with lp.use(precision):
        if counts(case):
            run(case, inputs, gy)
            return
        with cupy.no_waiting():
            run(case, inputs, gy)


GEOMETRIES = [
    ((3, 4, 9, 8), (6, 4, 3, 3), {"padding": 1}),
    ((3, 4, 9, 8), (6, 2, 3, 2), {"padding": (2, 1), "stride": (2, 3), "groups": 2}),
    ((2, 3, 11, 11), (4, 3, 3, 3), {"dilation": (2, 3), "padding": 3}),
    ((2, 4, 6, 6), (8, 1, 5, 5), {"stride": 3, "padding": 2, "groups": 4}),
    ((1, 1, 1, 1), (1, 1, 1, 1), {}),
]


@pytest.mark.parametrize("x_shape, w_shape, geometry", GEOMETRIES)
def test_convolution_of_integers_is_exact(cupy, monkeypatch, x_shape, w_shape, geometry):
    """Where no sum is rounded, the kernels' convolution and its gradients equal NumPy's to the bit, slice by slice."""
    rng = np.random.default_rng(0)
    x, w = (rng.integers(-9, 10, shape).astype(np.float32) for shape in (x_shape, w_shape))
    b = rng.integers(-9, 10, w_shape[0]).astype(np.float32)
    results = []
    for at_a_time in (1 << 28, 1):
        monkeypatch.setattr("lpnet.kernels.cuda.conv.AT_A_TIME", at_a_time)
        for xp in (np, cupy):
            tensors = [lp.Tensor(xp.asarray(a), requires_grad=True) for a in (x, w, b)]
            y = F.conv2d(*tensors, **geometry)
            y.backward(xp.asarray(np.random.default_rng(1).integers(-3, 4, y.shape).astype(np.float32)))
            results.append([lp.to_device(a, "cpu") for a in (y.data, *(t.grad for t in tensors))])
    for other in results[1:]:
        for one, two in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, two, strict=True)


def test_dropout_drops_the_same(cupy):
    """A device drops what the CPU drops."""
    x = normal(7, 9).astype(np.float32)
    on_cpu = F.dropout(x, 0.4, Stream(3)).numpy()
    np.testing.assert_array_equal(F.dropout(cupy.asarray(x), 0.4, Stream(3)).numpy(), on_cpu)


def test_tensors_move_and_their_gradients_come_back(cupy):
    """`to` is part of the graph: the gradient arrives where the leaf is."""
    x = lp.Tensor(np.array([1.0, 2.0], np.float32), requires_grad=True)
    y = x.to("cuda")
    assert y.device == "cuda" and x.device == "cpu" and y.to("cuda") is y
    (y * y).sum().backward()
    assert isinstance(x.grad, np.ndarray) and x.grad.tolist() == [2, 4]
    assert y.to("cpu").numpy().tolist() == [1, 2]


def test_labels_out_of_range_on_a_gpu_make_the_loss_nan(cupy):
    """They are not waited for, yet not overlooked."""
    logits = cupy.asarray(np.zeros((2, 3), np.float32))
    for labels, nan in (([0, 2], False), ([0, 3], True), ([-1, 0], True)):
        loss = F.cross_entropy(logits, cupy.asarray(np.array(labels)))
        assert np.isnan(loss.item()) == nan
    with pytest.raises(ValueError, match=r"labels must be in 0..2"):
        F.cross_entropy(logits, np.array([0, 3]))
