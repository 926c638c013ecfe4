"""A plain scalar twin of lpnet.formats, written from its definitions with Python's exact fractions. Slow on purpose."""

import functools
import math
from fractions import Fraction

import numpy as np

HALF = Fraction(1, 2)
TINY = Fraction(2) ** -149  # the smallest and the largest float32
HUGE = (2 - Fraction(2) ** -23) * 2**127


def whole(n, mode, u=None):
    """Round a fraction to an integer; `u` is the uniform number of a stochastic rounding."""
    low = math.floor(n)
    part = n - low
    return {
        "nearest": low + (part > HALF or (part == HALF and low % 2 == 1)),
        "nearest_away": low + (part > HALF or (part == HALF and n > 0)),
        "nearest_up": low + (part >= HALF),
        "toward_zero": math.trunc(n),
        "floor": low,
        "ceil": math.ceil(n),
        "stochastic": low + (u is not None and u < part),
    }[mode]


def exponent(x):
    """Return floor(log2 |x|) of a number other than 0."""
    x = abs(Fraction(x))
    e = x.numerator.bit_length() - x.denominator.bit_length()
    return e if Fraction(2) ** e <= x else e - 1


def decode(code, exp, man, bias, specials, subnormals=True):
    """Return the number, a float, that a code of a floating-point format means."""
    sign = -1.0 if code >> (exp + man) else 1.0
    field, mantissa = code >> man & (2**exp - 1), code & (2**man - 1)
    if specials == "ieee" and field == 2**exp - 1:
        return sign * math.inf if mantissa == 0 else math.nan
    if specials == "nan" and field == 2**exp - 1 and mantissa == 2**man - 1:
        return math.nan
    if field == 0:
        return sign * mantissa * 2.0 ** (1 - bias - man) * subnormals
    return sign * (2**man + mantissa) * 2.0**-man * 2.0 ** (field - bias)


@functools.cache
def largest(exp, man, bias, specials):
    """Return the largest number: that of the highest code which is one."""
    codes = range(2 ** (exp + man) - 1, -1, -1)
    return next(v for c in codes if math.isfinite(v := decode(c, exp, man, bias, specials)))


def floating(x, mode, exp, man, bias, saturate, specials, subnormals=True, u=None):
    """Round the float or fraction x to a floating-point format."""
    top = largest(exp, man, bias, specials)
    beyond = top if saturate or specials == "none" else math.inf if specials == "ieee" else math.nan
    if math.isnan(x) or x == 0:
        return float(x)
    if math.isinf(x):
        return math.copysign(beyond, x)
    emin = 1 - bias
    gap = Fraction(2) ** (max(exponent(x), emin) - man)
    if not subnormals and abs(x) < Fraction(2) ** emin:
        gap = Fraction(2) ** emin
    y = whole(Fraction(x) / gap, mode, u) * gap
    if abs(y) > top:
        inward = mode == "toward_zero" or mode == ("floor" if x > 0 else "ceil")
        return math.copysign(top if inward else beyond, x)
    return math.copysign(float(y), x)


def fixed(x, mode, wl, fl, symmetric=False, u=None):
    """Round the float or fraction x to a saturating fixed-point format."""
    low, high = -(2 ** (wl - 1)) + symmetric, 2 ** (wl - 1) - 1
    if math.isnan(x):
        return x
    if math.isinf(x):
        return (high if x > 0 else low) * 2.0**-fl
    n = min(max(whole(Fraction(x) * Fraction(2) ** fl, mode, u), low), high)
    return float(n / Fraction(2) ** fl)


def bfp(block, mode, wl, exp=8, symmetric=True, us=None):
    """Round one block, a list of floats, to block floating point."""
    if not all(map(math.isfinite, block)):
        return [math.nan] * len(block)
    top = max(map(abs, block))
    if top == 0:
        return [0.0] * len(block)
    e = min(max(exponent(top), -(2 ** (exp - 1))), 2 ** (exp - 1) - 1)
    us = us or [None] * len(block)
    return [fixed(x, mode, wl, wl - 2 - e, symmetric, u) for x, u in zip(block, us, strict=True)]


def mx(block, mode, element, emax, signed_zero, us=None):
    """Round one block as OCP MX does. `element(n, mode, u=)` rounds to the elements, whose exponents end at emax."""
    if not all(map(math.isfinite, block)):
        return [math.nan] * len(block)
    top = max(map(abs, block))
    scale = Fraction(2) ** (min(max(exponent(top) - emax, -127), 127) if top else -127)
    us = us or [None] * len(block)
    y = [float(Fraction(element(Fraction(x) / scale, mode, u=u)) * scale) for x, u in zip(block, us, strict=True)]
    return [v if v else math.copysign(0.0, x) if signed_zero else 0.0 for v, x in zip(y, block, strict=True)]


def nvfp4(blocks, mode, dtype):
    """Round a list of blocks, all of one array, to NVFP4; `dtype` (np.float32 or np.float64) rounds a fraction once."""

    def to(kind, fraction):
        return Fraction(float(kind(float(fraction))))

    tops = [max(map(abs, b)) if all(map(math.isfinite, b)) else math.nan for b in blocks]
    highest = max((v for v in tops if not math.isnan(v)), default=0)
    s_t = to(np.float32, min(max(Fraction(highest) / (448 * 6), TINY), HUGE))
    result = []
    for block, top in zip(blocks, tops, strict=True):
        if math.isnan(top):
            result.append([math.nan] * len(block))
            continue
        s_b = Fraction(floating(float(Fraction(top) / (6 * s_t)), "nearest", 4, 3, 7, True, "nan"))
        s = to(dtype, s_b * s_t)
        y = [to(dtype, Fraction(e2m1(to(dtype, Fraction(x) / s), mode)) * s) if s else 0 for x in block]
        result.append([math.copysign(float(v), x) for v, x in zip(y, block, strict=True)])
    return result


def e2m1(x, mode, u=None):
    """Round to the smallest element of them all."""
    return floating(x, mode, 2, 1, 1, True, "none", u=u)
