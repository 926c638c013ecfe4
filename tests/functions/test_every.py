"""What holds for every operation: exact gradients, rounding in one place, independence of layout and dtype."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import functions as F
from lpnet.random import Stream

from .cases import CASES, Case

# Values move or are selected, or are the loss: forward leaves them as they are.
UNROUNDED = {
    "concatenate",
    "cross_entropy",
    "embedding",
    "expand_dims",
    "getitem",
    "l1_loss",
    "max",
    "max_pool2d",
    "maximum",
    "min",
    "minimum",
    "mse_loss",
    "pad",
    "relu",
    "reshape",
    "split",
    "squeeze",
    "stack",
    "transpose",
    "where",
}
BROADCASTING = {"maximum", "minimum", "where"}  # a stretched input gets the sum of several gradients, which is rounded
every = pytest.mark.parametrize("case", CASES, ids=str)
every_single = pytest.mark.parametrize("case", [c for c in CASES if c.single], ids=str)


def activation(x):
    """Round to multiples of 1/16, within [-1, 1]."""
    return np.clip(np.rint(x * 16) / 16, -1, 1)


def error(x):
    """Round to multiples of 1/64."""
    return np.rint(x * 64) / 64


def run(case: Case, inputs, gy=None):
    """Return the result and, weighted by `gy`, the gradient of every input."""
    tensors = [lp.Tensor(x, requires_grad=True) for x in inputs]
    y = case.call(*tensors)
    y.backward(weights(y) if gy is None else gy)
    return y.data, [x.grad for x in tensors]


def weights(y):
    """Return an error for the result `y`: multiples of 1/8, so that rounding it again would show nothing."""
    n = np.random.default_rng(9).integers(-8, 9, y.shape)
    return (n / 8).astype(y.dtype)


def test_every_operation_has_a_case():
    """A new operation without a gradient check fails here."""
    assert {case.name for case in CASES} == set(F.__all__) - {"argmax"}  # which has no gradient


@every
def test_gradients_agree_with_difference_quotients(case):
    """backward is the derivative of forward, to a relative error of 1e-6."""
    assert lp.gradcheck(case.call, case.inputs)


def functions():
    """Return plain functions for activations and errors."""
    return activation, error


def stochastic():
    """Return stochastic quantizers for activations and errors, at the start of their streams."""
    return lp.Quantizer("bfp4", "stochastic", Stream(5)), lp.Quantizer("e5m2", "stochastic", Stream(6))


@every_single
@pytest.mark.parametrize("quantizers", [functions, stochastic])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_straight_through(case, quantizers, dtype):
    """Under a precision, forward gives Q_A(exact) and backward Q_E(exact gradient), bit for bit."""
    inputs = [x.astype(dtype) for x in case.inputs]
    y, grads = run(case, inputs)
    with lp.use(lp.Precision(**dict(zip(("activation", "error"), quantizers(), strict=True)))):
        low_y, low_grads = run(case, inputs)
    q_activation, q_error = quantizers()
    rounds = case.name not in UNROUNDED
    np.testing.assert_array_equal(low_y, q_activation(y) if rounds else y, strict=True)
    for x, low, exact in zip(inputs, low_grads, grads, strict=True):
        added = case.sums or case.name in ("max", "min") or (case.name in BROADCASTING and x.shape != y.shape)
        np.testing.assert_array_equal(low, q_error(exact) if rounds or added else exact, strict=True)


@every_single
def test_parameters_get_exact_gradients(case):
    """The gradient that reaches a Parameter is not rounded: the optimizer does it, once."""
    exact = run(case, case.inputs)[1]
    params = [lp.Parameter(x) for x in case.inputs]
    with lp.use(lp.Precision(activation=activation, error=error)):
        y = case.call(*params)
    y.backward(weights(y))
    for p, grad in zip(params, exact, strict=True):
        np.testing.assert_array_equal(p.grad, grad)


@every
def test_float32_in_float32_out(case):
    """float32 inputs give float32 results and gradients, which agree with those of float64."""
    y, grads = run(case, case.inputs)
    y32, grads32 = run(case, [x.astype(np.float32) for x in case.inputs])
    assert {a.dtype for a in (y32, *grads32)} == {np.dtype(np.float32)}
    for narrow, wide in zip((y32, *grads32), (y, *grads), strict=True):
        np.testing.assert_allclose(narrow, wide, rtol=2e-4, atol=2e-5)


def strided(x):
    """Return the same numbers in memory that is neither contiguous nor in order."""
    if x.ndim == 0:
        return x
    wide = np.full((*x.shape[::-1], 2), np.nan)
    wide[..., 0] = x.T
    return wide[..., 0].T


@every
def test_memory_layout_changes_nothing(case):
    """Strided, transposed inputs give what contiguous ones give."""
    a, b = run(case, case.inputs), run(case, [strided(x) for x in case.inputs])
    for one, other in zip((a[0], *a[1]), (b[0], *b[1]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13)


@every
def test_inputs_are_left_alone(case):
    """Neither forward nor backward writes to an input or to the incoming error, and gradients share no memory."""
    inputs = [x.copy() for x in case.inputs]
    gy = weights(case.call(*map(lp.Tensor, inputs)))
    kept = gy.copy()
    _, grads = run(case, inputs, gy)
    for x, original in zip((*inputs, gy), (*case.inputs, kept), strict=True):
        np.testing.assert_array_equal(x, original)
    for i, grad in enumerate(grads):
        assert isinstance(grad, np.ndarray) and grad.flags.writeable
        assert not any(np.shares_memory(grad, other) for other in (gy, *grads[:i]))


@every
def test_same_bits_again(case):
    """The same call gives the same bits."""
    a, b = run(case, case.inputs), run(case, case.inputs)
    for one, other in zip((a[0], *a[1]), (b[0], *b[1]), strict=True):
        assert one.tobytes() == other.tobytes()


@every
def test_quantizers_get_arrays(case):
    """A user's function may rely on getting an array of the tensor's dtype, also where the result is one number."""
    seen = []

    def record(x):
        seen.append(x)
        return x

    with lp.use(lp.Precision(activation=record, error=record)):
        run(case, [x.astype(np.float32) for x in case.inputs])
    assert all(isinstance(x, np.ndarray) and x.dtype == np.float32 for x in seen)
