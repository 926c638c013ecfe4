"""The checker itself: it accepts what is right, and names what is wrong."""

import numpy as np
import pytest

import lpnet as lp
from lpnet import functions as F


class Wrong(lp.Function):
    """x^2 whose gradient is off by `factor` at one element."""

    def __init__(self, factor):
        self.factor = factor

    def forward(self, x):
        self.x = x
        return x * x

    def backward(self, gy):
        gx = 2 * gy * self.x
        gx[1, 0] *= self.factor
        return gx


X = np.array([[0.5, -1.0], [2.0, 0.25]])


@pytest.mark.parametrize("factor", [1 + 1e-5, 0.9, -1.0, np.nan])
def test_a_wrong_gradient_is_named(factor):
    """An error of 1e-5 is found, and the message gives input, element and both values."""
    with pytest.raises(AssertionError, match=r"input 1, element \(1, 0\): backward gives .*, the difference quotient"):
        lp.gradcheck(lambda a, b: a + Wrong(factor)(b), [X, X])


def test_a_right_gradient_passes():
    """The same operation without the fault passes, for arrays, tensors and lists, and so does an unused input."""
    assert lp.gradcheck(lambda a, b, c: a + Wrong(1.0)(b), [X.tolist(), lp.Tensor(X), X])


def test_inputs_are_left_as_they_were():
    """Neither the numbers nor the user's own tensors' gradients are touched; parameters get their data back."""
    array, tensor, p = X.copy(), lp.Tensor(X, requires_grad=True), lp.Parameter(X)
    lp.gradcheck(lambda a, b, w: a * b * w, [array, tensor, p])
    for data in (array, tensor.data, p.data):
        np.testing.assert_array_equal(data, X)
    assert tensor.grad is None


def test_a_modules_parameters_can_be_checked():
    """Parameters that the function holds are moved in place."""
    layer = lp.nn.Linear(2, 3).astype(np.float64)
    assert lp.gradcheck(lambda x, *_: F.tanh(layer(x)), [X, *layer.parameters()])


def test_rounding_and_randomness_are_held_still():
    """Within a low precision the check is still exact, and each evaluation sees the same random bits."""
    before = lp.random.default.state_dict()
    with lp.use("bfp4"):
        assert lp.gradcheck(lambda x: F.dropout(x * x, 0.5), [X])
    assert lp.random.default.state_dict() == before


def test_float32_is_refused():
    """Difference quotients need float64."""
    with pytest.raises(TypeError, match="gradcheck: input 1 must be float64, got float32"):
        lp.gradcheck(F.add, [X, X.astype(np.float32)])
