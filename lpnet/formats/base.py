"""What a number format is: the gap of its grid around each number, and where the grid ends."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..backend import Array, get_array_module, to_device
from ..random import Stream
from ..registry import Registry
from ..rounding import Stochastic, round
from .codes import Encoded, pack, unpack


class Format:
    """A number format. A new one gives `spacing` and `clip`, or overrides `quantize`.

    To be encoded it also gives `bits`, `to_codes` and `from_codes`. What it does not say of `min`, `max` and `smallest`
    is found by rounding the ends of float64; `bits` is then None, `name` is its text.
    """

    def __getattr__(self, name: str) -> Any:
        """Return what the format does not say of itself; class attributes would be defaults of dataclasses' fields."""
        if name not in DEFAULTS:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return DEFAULTS[name](self)

    def spacing(self, x: Array) -> Array:
        """Return the gap between neighbouring numbers of the format around each element: a power of two.

        The result broadcasts to x.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no spacing")

    def clip(self, y: Array, s: Array) -> Array:
        """Return `y`, numbers on the grid of spacing `s`, with those beyond its ends replaced."""
        raise NotImplementedError(f"{type(self).__name__} defines no clip")

    def inside(self, x: Array) -> Array:
        """Return where x lies between the ends: elsewhere it is clipped, or becomes infinite."""
        return (x >= self.min) & (x <= self.max)

    def rows_independent(self, x: Array) -> int:
        """Return how many neighbouring x[i] may be rounded without the others: `rule` gets large arrays in such pieces.

        True, or 1, if each may be by itself; False, or 0, if all belong together.
        """
        return 0

    def along(self, axis: int) -> Format:
        """Return the format of an operand whose product sums over `axis`: itself, where it has no blocks.

        The axis, 0 or 1 from the front, -2 or -1 from the end, is one of a matrix's two.
        """
        return self

    def quantize(self, x: Array, rounding: str | Stochastic = "nearest", stream: Stream | None = None) -> Array:
        """Return `x` rounded to the format: same shape, same dtype (float32 or float64).

        It has the bits of `rule`, by the kernels where they serve the format. Raises TypeError for arrays of another
        dtype, ValueError for an unknown rounding.
        """
        return self._fast(x, rounding, stream)

    def rule(self, x: Array, rounding: str | Stochastic = "nearest", stream: Stream | None = None) -> Array:
        """Return what `quantize` does, in the few lines that define it."""
        xp, x = get_array_module(x), float_array(x, self)
        with quiet():
            s = self.spacing(x)
            y = xp.asarray(round(divide(x, s, rounding), rounding, stream))  # 0-d arrays come back as scalars
            y *= s
            y = xp.asarray(self.clip(y, s))
            y = xp.copysign(y, x, out=y) if self.signed_zero else xp.add(y, 0.0, out=y)  # -0.0 + 0.0 is +0.0
        return y

    _fast = rule  # see `accelerate`

    def to_codes(self, y: np.ndarray) -> np.ndarray:
        """Return the codes, integers of `bits` bits, of numbers of the format; ValueError for one that has none."""
        raise NotImplementedError(f"{self} cannot be encoded: {type(self).__name__} defines no to_codes")

    def from_codes(self, codes: np.ndarray, dtype: np.dtype) -> np.ndarray:
        """Return the numbers that codes (uint64) stand for."""
        raise NotImplementedError(f"{self} cannot be decoded: {type(self).__name__} defines no from_codes")

    def fields(self) -> tuple[tuple[str, int], ...]:
        """Return the names and widths of the parts of a code, from the highest bit down."""
        return (("code", self.bits),) if self.bits is not None else ()

    def code_bits(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return how many bits an array of `shape` takes encoded: those of its numbers and those of the scales."""
        return math.prod(shape) * self.bits, 0

    def encode(self, x: Array) -> Encoded:
        """Return `x`, rounded to nearest, in packed codes: `fmt.encode(x).decode()` equals `fmt.quantize(x)`.

        Codes live in host memory. Raises NotImplementedError for a format without codes, ValueError for a number
        without a code (NaN where the format has none, what lies beyond the ends where it does not saturate).
        """
        y = self.quantize(to_device(float_array(x, self), "cpu"))
        codes = self.to_codes(y)
        if self.bits is None:
            raise NotImplementedError(f"{self} cannot be encoded: {type(self).__name__} defines no bits")
        codes = pack(codes, self.bits)
        return Encoded(self, y.shape, y.dtype, codes, np.empty(0, np.uint8))

    def decode(self, encoded: Encoded) -> np.ndarray:
        """Return the numbers of an array that `encode` encoded."""
        codes = unpack(encoded.codes, self.bits, encoded.size)
        return self.from_codes(codes, encoded.dtype).reshape(encoded.shape)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return False
        mine, its = vars(self), vars(other)
        return mine.keys() == its.keys() and all(np.array_equal(mine[k], its[k]) for k in mine)

    def __hash__(self) -> int:
        return hash(type(self))

    def __str__(self) -> str:
        return next((name for name, fmt in REGISTERED.items() if fmt == self), Format.__repr__(self))

    def __repr__(self) -> str:
        told = (f"{name}={value!r}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"{type(self).__name__}({', '.join(told)})"

    def _repr_html_(self) -> str:
        from .show import as_html  # which asks for formats by name, and so for all files that come after this one

        return as_html(self)


def accelerate(function: Callable[..., Array]) -> Callable[..., Array]:
    """Have `Format.quantize` done by a function of (fmt, x, rounding, stream); the kernels come after the formats."""
    Format._fast = function
    return function


def ruled(fmt: Format) -> Callable[..., Array]:
    """Return what rounds to a format without kernels: its rule, or the `quantize` of a user's class that has one."""
    return fmt.rule if type(fmt).quantize is Format.quantize else fmt.quantize


REGISTERED: Registry[Format] = Registry("format")  # users' formats by name


def _end(fmt: Format, x: float, rounding: str, otherwise: float) -> float:
    """Return what a format makes of one float64, or `otherwise` where it makes no number of it."""
    try:
        with quiet():
            y = float(fmt.quantize(np.array([x]), rounding)[0])
    except (ArithmeticError, TypeError, ValueError, NotImplementedError):
        return otherwise
    return y if np.isfinite(y) else otherwise


_LARGEST = float(np.finfo(np.float64).max)
DEFAULTS: dict[str, Callable[[Format], Any]] = {
    "bits": lambda fmt: None,
    "max": lambda fmt: _end(fmt, _LARGEST, "toward_zero", _LARGEST),
    "min": lambda fmt: _end(fmt, -_LARGEST, "toward_zero", -_LARGEST),
    "smallest": lambda fmt: _end(fmt, 2.0**-1074, "ceil", 0.0),
    "name": str,
    "axis": lambda fmt: None,  # which one is cut into blocks
    "block": lambda fmt: None,  # how many neighbours along the axis share a scale
    "specials": lambda fmt: "",
    "signed_zero": lambda fmt: False,  # whether -0.0 is a number of the format; where not, zeros are +0.0
    "has_nan": lambda fmt: False,  # whether a code stands for NaN
    "idempotent": lambda fmt: True,  # whether rounded numbers stay put; not where rounding can change a block's scale
    "mirrored": lambda fmt: True,  # whether -v is a number of the format where v is, but for a lowest one
    "saturate": lambda fmt: math.isfinite(_end(fmt, _LARGEST, "nearest", math.inf)),
}


def float_array(x: Array, owner: Any) -> Array:
    """Return `x` as an array of float32 or float64 (a Python number as float32); TypeError for other arrays."""
    xp = get_array_module(x)
    if isinstance(x, int | float) and not isinstance(x, bool | np.generic):
        with quiet():
            return np.asarray(np.float64(x).astype(np.float32))
    array = xp.asarray(x)
    if array.dtype not in (np.float32, np.float64):
        raise TypeError(f"{owner}: x must be float32 or float64, got {array.dtype}")
    return array


def divide(x: Array, s: Array, rounding: str | Stochastic) -> Array:
    """Return x / s. Modes that round a tiny number away from zero still see that it is not zero."""
    n = x / s
    if rounding in ("floor", "ceil"):
        xp = get_array_module(x)
        n = xp.where((n == 0) & (x != 0), xp.copysign(n.dtype.type(tiny(n.dtype)), x), n)
    return n


def quiet() -> contextlib.AbstractContextManager[Any]:
    """Infinities and NaN are among the values that formats define: NumPy need not warn of them."""
    return np.errstate(all="ignore")


def pow2floor(x: Array) -> Array:
    """Return 2^floor(log2 |x|) from the bits of x; 0 for zeros and subnormals, infinity for infinities and NaN."""
    bits, mask = (np.uint32, 0x7F800000) if x.dtype == np.float32 else (np.uint64, 0x7FF0000000000000)
    return (x.view(bits) & bits(mask)).view(x.dtype)


def exact_pow2floor(x: Array) -> Array:
    """Return 2^floor(log2 |x|) of subnormal numbers, too, at twenty times the cost; 1/2 for 0, infinities and NaN."""
    xp = get_array_module(x)
    return xp.ldexp(xp.ones_like(x), xp.frexp(x)[1] - 1)  # frexp gives m 2^e with m in [1/2, 1)


def tiny(dtype: np.dtype) -> float:
    """Return the smallest number of a dtype. All its numbers are multiples: no grid need be finer."""
    return 2.0**-149 if dtype.itemsize == 4 else 2.0**-1074


def bound(value: float, dtype: np.dtype) -> float:
    """Return `value` rounded toward zero to the dtype."""
    with quiet():
        near = dtype.type(value)
        return float(near if abs(float(near)) <= abs(value) else np.nextafter(near, dtype.type(0)))
