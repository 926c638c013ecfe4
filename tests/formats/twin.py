"""A second implementation of the formats, one number at a time in exact fractions, for the tests to compare with.

Written from the contract alone, as slowly and plainly as it reads; it shares no code with `lpnet`. Numbers go in and
out as Python floats (every float32 is one); `digits` is 24 for float32 data and 53 for float64.
"""

import functools
import math
from fractions import Fraction

import numpy as np

MODES = ("nearest", "nearest_away", "nearest_up", "toward_zero", "floor", "ceil", "stochastic")
DIGITS = {np.dtype(np.float32): 24, np.dtype(np.float64): 53}
LOWEST = {24: -149, 53: -1074}  # exponent of the smallest number above zero
HIGHEST = {24: 127, 53: 1023}


def power(e):
    """Return 2^e."""
    return Fraction(2) ** e


def floor_log2(q):
    """Return the e with 2^e <= |q| < 2^(e+1)."""
    q = abs(q)
    e = q.numerator.bit_length() - q.denominator.bit_length()
    return e if power(e) <= q else e - 1


def half_even(q):
    """Return the integer nearest to a fraction, ties to even."""
    return round(q)  # what Python's round does for fractions


def to_float(q, digits):
    """Return the float32 or float64 nearest to a fraction, ties to even (as a Python float)."""
    if q == 0:
        return 0.0
    gap = max(floor_log2(q) - (digits - 1), LOWEST[digits])
    y = half_even(q / power(gap)) * power(gap)
    return math.copysign(math.inf, y) if abs(y) >= power(HIGHEST[digits] + 1) else float(y)


def toward_zero_float(q, digits):
    """Return the float32 or float64 next to a fraction on the side of zero, as a fraction."""
    if q == 0:
        return Fraction(0)
    q = max(-top_float(digits), min(q, top_float(digits)))
    gap = max(floor_log2(q) - (digits - 1), LOWEST[digits])
    return math.trunc(q / power(gap)) * power(gap)


def top_float(digits):
    """Return the largest finite float."""
    return (2 - power(1 - digits)) * power(HIGHEST[digits])


def integer(n, mode, u, digits):
    """Return the fraction n rounded to an integer; u is the uniform random number that stochastic rounding drew."""
    low = math.floor(n)
    f = n - low
    if mode == "stochastic":
        return low + (u < Fraction(to_float(f, digits)))
    if mode in ("floor", "ceil", "toward_zero"):
        return {"floor": math.floor, "ceil": math.ceil, "toward_zero": math.trunc}[mode](n)
    if f != Fraction(1, 2):
        return low + (f > Fraction(1, 2))
    return {"nearest": low + low % 2, "nearest_up": low + 1, "nearest_away": low + (n > 0)}[mode]


def uniforms(count, seed=0, site=0, bits=16):
    """Return u of `count` elements: the highest `bits` bits of 16-bit lanes of Philox4x64-10, 8-bit ones up to 8."""
    width = 8 if bits <= 8 else 16
    words = np.random.Philox(key=[seed, 0], counter=[0, site, 0, 0]).random_raw(count * width // 64 + 1)
    lanes = [int(w) >> shift & (2**width - 1) for w in words for shift in range(0, 64, width)][:count]
    return [Fraction(2 * (lane >> (width - bits)) + 1, 2 ** (bits + 1)) for lane in lanes]


def fixed(x, wl, fl, symmetric=False, saturate=True, mode="nearest", u=None, digits=24):
    """Return x in fixed point."""
    if math.isnan(x) or (math.isinf(x) and not saturate):
        return x
    top = (2 ** (wl - 1) - 1) * power(-fl)
    low = -top if symmetric else -(2 ** (wl - 1)) * power(-fl)
    top, low = toward_zero_float(top, digits), toward_zero_float(low, digits)
    if math.isinf(x):
        return float(top if x > 0 else low)
    q = Fraction(x)
    if not saturate and q and floor_log2(q) - (digits - 1) >= -fl:
        return x + 0.0  # the gap of x itself is coarser: it stays
    y = integer(q / power(-fl), mode, u, digits) * power(-fl)
    return float(max(low, min(y, top)) if saturate else y)


UNSIGNED = ("fnuz", "extended")  # whose zero has no sign


def floating(
    x, exp, man, bias=None, specials="ieee", saturate=False, subnormals=True, mode="nearest", u=None, digits=24
):
    """Return x in floating point; zeros keep the sign of x. ValueError for a NaN where the format has none."""
    bias = 2 ** (exp - 1) - 1 if bias is None else bias
    if math.isnan(x):
        if specials == "none":
            raise ValueError("NaN")
        return x
    top = largest(exp, man, bias, specials)
    if floor_log2(top) > HIGHEST[digits]:  # numbers that the float type has not
        top = (2 - power(-man)) * power(HIGHEST[digits])
    own = power(floor_log2(top) - digits + 1)
    top = math.floor(top / own) * own
    beyond = {"nan": math.nan, "fnuz": math.nan, "none": float(top)}.get(specials, math.inf)
    beyond = float(top) if saturate else beyond
    if math.isinf(x):
        return math.copysign(beyond, x)
    q, emin = Fraction(x), 1 - bias
    unsigned = specials in UNSIGNED
    if q == 0:
        return 0.0 if unsigned else float(x)
    e = floor_log2(q)
    gap = power(max(e, emin) - man) if subnormals or e >= emin else power(emin)
    y = q if gap < power(LOWEST[digits]) else integer(q / gap, mode, u, digits) * gap
    if abs(y) > top:
        inward = mode == "toward_zero" or (mode == "floor" and q > 0) or (mode == "ceil" and q < 0)
        y = float(top) if inward else beyond
        return math.copysign(y, q)
    return math.copysign(float(y), 1 if unsigned and y == 0 else q)


def decode(code, exp, man, bias=None, specials="ieee", subnormals=True):
    """Return the number, a float, that a code of a floating-point format means."""
    bias = 2 ** (exp - 1) - 1 if bias is None else bias
    sign = -1.0 if code >> (exp + man) else 1.0
    field, mantissa = code >> man & (2**exp - 1), code & (2**man - 1)
    last = field == 2**exp - 1
    if specials in UNSIGNED:
        if code == 2 ** (exp + man):
            return math.nan
        if specials == "extended" and last and mantissa == 2**man - 1:
            return sign * math.inf
    if last and specials == "ieee":
        return sign * math.inf if mantissa == 0 else math.nan
    if last and specials == "nan" and mantissa == 2**man - 1:
        return math.nan
    if field == 0:
        return sign * mantissa * 2.0 ** (1 - bias - man) * subnormals + (0.0 if specials in UNSIGNED else -0.0)
    return sign * (2**man + mantissa) * 2.0**-man * 2.0 ** (field - bias)


@functools.cache
def largest(exp, man, bias, specials):
    """Return the largest number: that of the highest code which is a finite one."""
    codes = 2 ** (exp + man)  # of one sign
    beyond = {"ieee": 2**man, "nan": 1, "extended": 1}.get(specials, 0)
    return Fraction(decode(codes - beyond - 1, exp, man, bias, specials))


def block(xs, wl, exp=8, symmetric=True, mode="nearest", us=None, digits=24):
    """Return the numbers of one block in block floating point."""
    if not all(map(math.isfinite, xs)):
        return [math.nan] * len(xs)
    largest = max((abs(Fraction(x)) for x in xs), default=Fraction(0))
    if largest == 0:
        return [0.0] * len(xs)
    e = min(max(floor_log2(largest), -(2 ** (exp - 1))), 2 ** (exp - 1) - 1)
    gap, top = power(e - (wl - 2)), 2 ** (wl - 1) - 1
    low = -top if symmetric or -(top + 1) * gap < -top_float(digits) else -(top + 1)
    high = toward_zero_float(top * gap, digits)
    low = toward_zero_float(low * gap, digits)
    out = []
    for x, u in zip(xs, us or [None] * len(xs), strict=True):
        q = Fraction(x)
        y = q if gap < power(LOWEST[digits]) else integer(q / gap, mode, u, digits) * gap
        out.append(float(max(low, min(y, high))))
    return out


def power_scale(xs, emax, rule, top, mantissas):
    """Return the scale, a power of two, of a block of these numbers; `top` is the largest element."""
    amax = max((abs(Fraction(x)) for x in xs), default=Fraction(0))
    if amax == 0:
        return power(-127)
    if rule == "ceil":
        e = floor_log2(amax / top)
        e += power(e) < amax / top
    elif rule == "even":  # amax rounded half up to so many mantissas of a power of two
        gap = power(floor_log2(amax)) / mantissas
        e = floor_log2(math.floor(amax / gap + Fraction(1, 2)) * gap) - emax
    elif rule == "rms":  # 2^e <= 2.92247856 rms / top, both sides squared
        square = sum(Fraction(x) ** 2 for x in xs) / len(xs) * (Fraction(292247856, 10**8) / top) ** 2
        e = floor_log2(square) // 2
    else:
        e = floor_log2(amax) - emax
    return power(min(max(e, -127), 127))


def mx(xs, element, emax, mode="nearest", us=None, digits=24, rule="floor", top=None, mantissas=None, factor=1.0):
    """Return one block of an OCP MX format; `element(x, mode, u, digits)` rounds a fraction to an element."""
    if not all(map(math.isfinite, xs)):
        return [math.nan] * len(xs)
    block = power_scale(xs, emax, rule, top, mantissas)
    s, factor = Fraction(to_float(block * Fraction(factor), digits)), Fraction(to_float(Fraction(factor), digits))
    us = us or [None] * len(xs)
    return [_scaled(x, s, block, factor, element, mode, u, digits) for x, u in zip(xs, us, strict=True)]


def nvfp4(blocks, mode="nearest", digits=24, us=None, over=False):
    """Return the blocks of one array in NVFP4; every product and quotient is rounded once to the data's float type.

    A block is a list of rows. With `over` each is scaled so that its largest becomes 6 or 4, by the squared error.
    """
    s_t, scales = nvfp4_scales(blocks, digits, over)
    return [
        [[math.nan] * len(row) for row in rows] if s is None else _nv_block(rows, s, s_t, mode, u, digits)
        for rows, s, u in zip(blocks, scales, us or [None] * len(blocks), strict=True)
    ]


def nvfp4_scales(blocks, digits=24, over=False):
    """Return the scale of the array and those of its blocks, as fractions; None for a block of NaN."""
    flat = [[x for row in b for x in row] for b in blocks]
    finite = [max(map(abs, b), default=0.0) if all(map(math.isfinite, b)) else math.nan for b in flat]
    highest = max((Fraction(v) for v in finite if not math.isnan(v)), default=Fraction(0))
    s_t = Fraction(to_float(max(highest / ((256 if over else 448) * 6), power(-149)), 24))
    return s_t, [_nv_scale(rows, amax, s_t, digits, over) for rows, amax in zip(blocks, finite, strict=True)]


def _nv_scale(rows, amax, s_t, digits, over):
    if math.isnan(amax):
        return None
    six = _e4m3(Fraction(amax) / 6 / s_t)
    if not over:
        return six
    four = _e4m3(Fraction(amax) / 4 / s_t)
    errors = [_squares(rows, _nv_block(rows, s, s_t, "nearest", None, digits), digits) for s in (six, four)]
    return four if errors[1] < errors[0] else six


def _e4m3(q):
    return Fraction(floating(min(q, Fraction(448)), 4, 3, specials="nan", saturate=True))


def _squares(rows, rounded, digits):
    """Return the squared error, added up along rows first, each step rounded to the data's float type."""
    sums = []
    for row, others in zip(rows, rounded, strict=True):
        errors = [Fraction(to_float(Fraction(y) - Fraction(x), digits)) for x, y in zip(row, others, strict=True)]
        sums.append(_sum([to_float(e * e, digits) for e in errors], digits))
    return _sum(sums, digits)


def _sum(terms, digits):
    total = terms[0]
    for term in terms[1:]:
        total = math.inf if math.inf in (total, term) else to_float(Fraction(total) + Fraction(term), digits)
    return total


def e2m1(x, mode, u, digits):
    """Return a fraction rounded to an e2m1 element."""
    return floating(x, 2, 1, specials="none", mode=mode, u=u, digits=digits)


def _nv_block(rows, s_b, s_t, mode, us, digits):
    s, out, drawn = Fraction(to_float(s_b * s_t, digits)), [], iter(us or [])
    for row in rows:
        out.append([_scaled(x, s, s_b, s_t, e2m1, mode, next(drawn, None), digits) for x in row])
    return out


def _scaled(x, s, block, whole, element, mode, u, digits):
    n = Fraction(x) / s if s and x else Fraction(0)
    n = Fraction(to_float(n, digits)) or n  # a quotient below all floats still is not zero
    y = element(n if n else math.copysign(0.0, x), mode, u, digits)
    product = to_float(Fraction(y) * block, digits)
    product = product if math.isinf(product) else to_float(Fraction(product) * whole, digits)
    return math.copysign(product, y)
