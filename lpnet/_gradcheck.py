"""Numerical gradients: the witness that every `backward` is held against."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .precision import use
from .random import Stream, fork_rng
from .tensor import Parameter, Tensor


def gradcheck(
    fn: Callable[..., Tensor], inputs: Sequence[Any], eps: float = 1e-4, rtol: float = 1e-6, atol: float = 1e-9
) -> bool:
    """Compare the gradients of `fn(*inputs)` with numerical ones, in float64 and without rounding.

    Parameters: fn, a function of tensors that returns a tensor of any shape; inputs, float64 arrays or tensors, each of
    which is checked (Parameters that fn holds may be among them: they are used in place); eps, the step of the
    four-point difference (f(x-2h) - 8 f(x-h) + 8 f(x+h) - f(x+2h)) / 12h, in the inputs' units.
    Returns True. Raises TypeError for inputs that are not float64, AssertionError naming the input, the element and
    both values where they differ by more than atol + rtol times the largest gradient of that input.
    """
    tensors = [
        x
        if isinstance(x, Parameter)
        else Tensor(np.array(x if not isinstance(x, Tensor) else x.data), requires_grad=True)
        for x in inputs
    ]
    for i, x in enumerate(tensors):
        if x.dtype != np.float64:
            raise TypeError(f"gradcheck: input {i} must be float64, got {x.dtype}")
        x.grad = None
    y = _run(fn, tensors)
    weights = Stream(0).generator().standard_normal(y.shape)  # any weighting of the outputs has to agree
    y.backward(weights)
    for i, x in enumerate(tensors):
        analytic = np.zeros(x.shape) if x.grad is None else x.grad
        _compare(i, analytic, _numerical(lambda: _run(fn, tensors).data, x, weights, eps), rtol, atol)
    return True


def _run(fn: Callable[..., Tensor], tensors: list[Tensor]) -> Tensor:
    """Return fn's result with the same random bits every time."""
    with use(None), fork_rng():
        return fn(*tensors)


def _numerical(f: Callable[[], Any], x: Tensor, weights: np.ndarray, eps: float) -> np.ndarray:
    """Return the derivative of sum(weights * f()) by every element of x, which is left as it was."""
    gradient, original = np.zeros(x.shape), x.data
    for index in np.ndindex(x.shape):
        for shift, factor in ((-2, 1), (-1, -8), (1, 8), (2, -1)):
            x.data = original.copy()
            x.data[index] += shift * eps
            gradient[index] += factor * float((weights * f()).sum())
    x.data = original
    return gradient / (12 * eps)


def _compare(i: int, analytic: np.ndarray, numerical: np.ndarray, rtol: float, atol: float) -> None:
    if not analytic.size:
        return
    difference = np.abs(analytic - numerical)
    worst = np.unravel_index(np.argmax(np.where(np.isnan(difference), np.inf, difference)), difference.shape)
    if not difference[worst] <= atol + rtol * np.abs(numerical).max():
        raise AssertionError(
            f"gradcheck: input {i}, element {tuple(map(int, worst))}: backward gives "
            f"{analytic[worst]:.9g}, the difference quotient {numerical[worst]:.9g}"
        )
