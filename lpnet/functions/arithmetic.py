"""Elementwise operations, from simple to composed. Shapes broadcast as in NumPy; the engine undoes it in backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import Array, check_one_device, elementwise, get_array_module
from ..kernels import keeps_digits
from ..tensor import Function, Tensor, as_tensors


class Add(Function):
    # y = a + b
    def forward(self, a: Array, b: Array) -> Array:
        return elementwise(get_array_module(a).add, a, b)

    def backward(self, gy: Array) -> tuple[Array, Array]:
        return gy, gy


def add(a: Any, b: Any) -> Tensor:
    """Return a + b."""
    return Add()(a, b)


class Sub(Function):
    # y = a - b
    def forward(self, a: Array, b: Array) -> Array:
        return a - b

    def backward(self, gy: Array) -> tuple[Array, Array]:
        return gy, -gy


def sub(a: Any, b: Any) -> Tensor:
    """Return a - b."""
    return Sub()(a, b)


class Mul(Function):
    # y = a b
    def forward(self, a: Array, b: Array) -> Array:
        self.a, self.b = a, b
        return a * b

    def backward(self, gy: Array) -> tuple[Array | None, Array | None]:
        return gy * self.b if self.needs[0] else None, gy * self.a if self.needs[1] else None


def mul(a: Any, b: Any) -> Tensor:
    """Return a * b."""
    return Mul()(a, b)


class Div(Function):
    # y = a / b,  dy/db = -y / b
    def forward(self, a: Array, b: Array) -> Array:
        self.a, self.b = a, b
        return a / b

    def backward(self, gy: Array) -> tuple[Array, Array | None]:
        ga = gy / self.b
        return ga, -ga * self.a / self.b if self.needs[1] else None


def div(a: Any, b: Any) -> Tensor:
    """Return a / b."""
    return Div()(a, b)


class Neg(Function):
    # y = -x
    def forward(self, x: Array) -> Array:
        return -x

    def backward(self, gy: Array) -> Array:
        return -gy


def neg(x: Any) -> Tensor:
    """Return -x."""
    return Neg()(x)


class Pow(Function):
    # y = x^n,  dy/dx = n x^(n-1)
    def __init__(self, n: float) -> None:
        self.n = n

    def forward(self, x: Array) -> Array:
        self.x = x
        return x**self.n

    def backward(self, gy: Array) -> Array:
        return gy * (self.n * self.x ** (self.n - 1)) if self.n else get_array_module(gy).zeros_like(gy)


class PowTensor(Function):
    # y = x^n,  dy/dx = n x^(n-1),  dy/dn = y ln x, 0 where x is 0
    def forward(self, x: Array, n: Array) -> Array:
        self.x, self.n = x, n
        self.y = x**n
        return self.y

    def backward(self, gy: Array) -> tuple[Array | None, Array | None]:
        xp, x, n = get_array_module(gy), self.x, self.n
        gx = xp.where(n == 0, 0, gy * n * x ** xp.where(n == 0, 1, n - 1)) if self.needs[0] else None
        gn = gy * self.y * xp.log(xp.where(x == 0, 1, x)) if self.needs[1] else None
        return gx, gn


def power(x: Any, n: Any) -> Tensor:
    """Return x to the power of n, a number or a tensor; a negative x to a power that is no integer is NaN."""
    if isinstance(n, np.integer | np.floating):
        n = n.item()  # which leaves float32 what it is
    if isinstance(n, int | float) and not isinstance(n, bool):
        return Pow(n)(x)
    return PowTensor()(x, n)


class Remainder(Function):
    # y = a - b floor(a / b),  dy/db = -floor(a / b)
    def forward(self, a: Array, b: Array) -> Array:
        self.quotient = get_array_module(a).floor_divide(a, b)
        return get_array_module(a).remainder(a, b)

    def backward(self, gy: Array) -> tuple[Array, Array]:
        return gy, -gy * self.quotient


def remainder(a: Any, b: Any) -> Tensor:
    """Return what is left of a after whole multiples of b, with the sign of b, as Python's %."""
    return Remainder()(a, b)


class FloorDivide(Function):
    # y = floor(a / b), flat wherever it has a slope
    def forward(self, a: Array, b: Array) -> Array:
        return get_array_module(a).floor_divide(a, b)

    def backward(self, gy: Array) -> tuple[Array, Array]:
        zero = get_array_module(gy).zeros_like(gy)
        return zero, zero.copy()


def floor_divide(a: Any, b: Any) -> Tensor:
    """Return the whole multiples of b in a, rounded down, as Python's //; its gradient is 0."""
    return FloorDivide()(a, b)


class Exp(Function):
    # y = e^x,  dy/dx = y
    def forward(self, x: Array) -> Array:
        self.y = get_array_module(x).exp(x)
        return self.y

    def backward(self, gy: Array) -> Array:
        return gy * self.y


def exp(x: Any) -> Tensor:
    """Return e to the power of x."""
    return Exp()(x)


class Log(Function):
    # y = ln x,  dy/dx = 1 / x
    def forward(self, x: Array) -> Array:
        self.x = x
        return get_array_module(x).log(x)

    def backward(self, gy: Array) -> Array:
        return gy / self.x


def log(x: Any) -> Tensor:
    """Return the natural logarithm of x."""
    return Log()(x)


class Log1p(Function):
    # y = ln(1 + x),  dy/dx = 1 / (1 + x)
    def forward(self, x: Array) -> Array:
        self.x = x
        return get_array_module(x).log1p(x)

    def backward(self, gy: Array) -> Array:
        return gy / (1 + self.x)


def log1p(x: Any) -> Tensor:
    """Return ln(1 + x), exact also where x is tiny."""
    return Log1p()(x)


class Expm1(Function):
    # y = e^x - 1,  dy/dx = y + 1
    def forward(self, x: Array) -> Array:
        self.y = get_array_module(x).expm1(x)
        return self.y

    def backward(self, gy: Array) -> Array:
        return gy * (self.y + 1)


def expm1(x: Any) -> Tensor:
    """Return exp(x) - 1, exact also where x is tiny."""
    return Expm1()(x)


class Sin(Function):
    # dy/dx = cos x
    def forward(self, x: Array) -> Array:
        self.x = x
        return get_array_module(x).sin(x)

    def backward(self, gy: Array) -> Array:
        return gy * get_array_module(gy).cos(self.x)


def sin(x: Any) -> Tensor:
    """Return the sine of x, in radians."""
    return Sin()(x)


class Cos(Function):
    # dy/dx = -sin x
    def forward(self, x: Array) -> Array:
        self.x = x
        return get_array_module(x).cos(x)

    def backward(self, gy: Array) -> Array:
        return -gy * get_array_module(gy).sin(self.x)


def cos(x: Any) -> Tensor:
    """Return the cosine of x, in radians."""
    return Cos()(x)


class Sqrt(Function):
    # y = sqrt(x),  dy/dx = 1 / 2y
    def forward(self, x: Array) -> Array:
        self.y = get_array_module(x).sqrt(x)
        return self.y

    def backward(self, gy: Array) -> Array:
        return gy / (2 * self.y)


def sqrt(x: Any) -> Tensor:
    """Return the square root of x."""
    return Sqrt()(x)


class Abs(Function):
    # y = |x|,  dy/dx = sign(x), 0 at 0
    def forward(self, x: Array) -> Array:
        self.x = x
        return abs(x)

    def backward(self, gy: Array) -> Array:
        return gy * get_array_module(gy).sign(self.x)


def absolute(x: Any) -> Tensor:
    """Return |x|; the gradient at 0 is 0."""
    return Abs()(x)


class Where(Function):
    # y = a where condition else b
    rounds = False

    def __init__(self, condition: Array) -> None:
        self.condition = condition

    @keeps_digits
    def forward(self, a: Array, b: Array) -> Array:
        check_one_device("where", self.condition, a, b)
        return get_array_module(a).where(self.condition, a, b)

    @keeps_digits
    def backward(self, gy: Array) -> tuple[Array, Array]:
        xp = get_array_module(gy)
        zero = xp.zeros_like(gy)
        return xp.where(self.condition, gy, zero), xp.where(self.condition, zero, gy)


def where(condition: Any, a: Any, b: Any) -> Tensor:
    """Return `a` where `condition` (an array of truth values) holds, `b` elsewhere."""
    return Where(_mask(condition))(a, b)


class Maximum(Where):
    # y = max(a, b)
    def __init__(self) -> None:
        """The condition is found by `forward`."""

    @keeps_digits
    def forward(self, a: Array, b: Array) -> Array:
        self.condition = (a >= b) | (a != a)  # NaN is the larger, wherever it is
        return get_array_module(a).maximum(a, b)


def maximum(a: Any, b: Any) -> Tensor:
    """Return the larger of a and b, element by element; where they are equal the gradient goes to `a`."""
    return Maximum()(a, b)


class Minimum(Maximum):
    # y = min(a, b)
    @keeps_digits
    def forward(self, a: Array, b: Array) -> Array:
        self.condition = (a <= b) | (a != a)
        return get_array_module(a).minimum(a, b)


def minimum(a: Any, b: Any) -> Tensor:
    """Return the smaller of a and b, element by element; where they are equal the gradient goes to `a`."""
    return Minimum()(a, b)


def _mask(condition: Any) -> Array:
    array = condition.data if isinstance(condition, Tensor) else condition
    return get_array_module(array).asarray(array, dtype=bool)


def compare(operator: Callable[[Any, Any], Any], a: Tensor, other: Any) -> Array:
    """Return the truth values of operator(a, other), an array: no gradient flows through comparisons."""
    if other is None or isinstance(other, str):
        return NotImplemented
    if not isinstance(other, int | float):
        other = as_tensors((a, other))[1].data
        check_one_device(operator.__name__, a.data, other)
    return operator(a.data, other)
