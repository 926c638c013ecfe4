"""Tensor's operators and methods: each is the operation that NumPy has under that name."""

import inspect
import operator

import numpy as np
import pytest

import lpnet as lp
from lpnet.operators import Operators

from .cases import distinct, positive

CALLS = {  # method -> how to use it; the same text runs on arrays
    "__add__": lambda x: x + 2,
    "__radd__": lambda x: 2 + x,
    "__sub__": lambda x: x - 2,
    "__rsub__": lambda x: 2 - x,
    "__mul__": lambda x: x * 3,
    "__rmul__": lambda x: 3 * x,
    "__truediv__": lambda x: x / 4,
    "__rtruediv__": lambda x: 4 / x,
    "__matmul__": lambda x: x @ x,
    "__rmatmul__": lambda x: np.eye(3)[:2] @ x,
    "__pow__": lambda x: x**3,
    "__neg__": operator.neg,
    "__pos__": operator.pos,
    "__abs__": abs,
    "__getitem__": lambda x: x[1:, None, 0],
    "sum": lambda x: x.sum(axis=0),
    "mean": lambda x: x.mean(axis=(0, 1), keepdims=True),
    "var": lambda x: x.var(axis=1),
    "std": lambda x: x.std(),
    "max": lambda x: x.max(axis=-1),
    "min": lambda x: x.min(axis=0, keepdims=True),
    "__rpow__": lambda x: 2.0**x,
    "__mod__": lambda x: x % 0.3,
    "__rmod__": lambda x: 5 % x,
    "__floordiv__": lambda x: x // 0.3,
    "__rfloordiv__": lambda x: 5 // x,
    "prod": lambda x: x.prod(axis=0),
    "cumsum": lambda x: x.cumsum(axis=1),
    "dot": lambda x: x.dot(x),
    "squeeze": lambda x: x.squeeze(),
    "reshape": lambda x: x.reshape(1, -1),
    "transpose": lambda x: x.transpose(1, 0),
    "swapaxes": lambda x: x.swapaxes(0, -1),
    "flatten": lambda x: x.flatten(),
    "ravel": lambda x: x.ravel(),
    "clip": lambda x: x.clip(0.75, 1.25),
    "T": lambda x: x.T,
}
COMPARISONS = {
    "__lt__": operator.lt,
    "__le__": operator.le,
    "__gt__": operator.gt,
    "__ge__": operator.ge,
    "__eq__": operator.eq,
    "__ne__": operator.ne,
}


def test_every_method_is_tested():
    """A new method that gives a tensor or an array without a test fails here."""
    functions = {name: getattr(member, "fget", member) for name, member in vars(Operators).items()}
    made = {
        name
        for name, function in functions.items()
        if inspect.isfunction(function) and function.__annotations__["return"] in ("Tensor", "Array")
    }
    made -= {"to", "argmax"}  # which have their tests under tests/gpu, and with the reductions
    assert made == set(CALLS) | set(COMPARISONS)


@pytest.mark.parametrize("name", CALLS)
def test_methods_are_numpys(name):
    """The same expression on a tensor and on its array gives the same numbers, and exact gradients."""
    x = positive(3, 3)
    np.testing.assert_allclose(CALLS[name](lp.Tensor(x)).data, CALLS[name](x), rtol=1e-15, strict=True)
    assert lp.gradcheck(CALLS[name], [x])


@pytest.mark.parametrize("other", [0.1, distinct(3), lp.Tensor(distinct(3)), [0.1, 0.0, -0.1]])
@pytest.mark.parametrize("name", COMPARISONS)
def test_comparisons_give_arrays_of_truth_values(name, other):
    """Comparisons are NumPy's, with the tensor on either side."""
    x, compare = distinct(2, 3), COMPARISONS[name]
    plain = other.data if isinstance(other, lp.Tensor) else np.asarray(other)
    np.testing.assert_array_equal(compare(lp.Tensor(x), other), compare(x, plain), strict=True)
    np.testing.assert_array_equal(compare(other, lp.Tensor(x)), compare(plain, x), strict=True)


def test_a_tensor_is_hashed_by_identity_and_is_true_as_its_number_is():
    """Tensors are keys by identity; `if` asks for their one number; None is no number to compare with."""
    x = lp.Tensor(positive(2))
    assert {x: 1}[x] == 1 and not lp.Tensor([0.0]) and (x == None) is False  # noqa: E711
    with pytest.raises(ValueError, match="more than one element"):
        bool(x)


def test_shapes_may_come_as_one_sequence():
    """reshape and transpose take lengths or axes one by one or as a tuple."""
    x = lp.Tensor(positive(2, 3))
    assert x.reshape((3, 2)).shape == x.reshape(3, 2).shape == x.transpose((1, 0)).shape == x.transpose().shape
