"""ml_dtypes and NumPy's float16 as witnesses of rounding to nearest, and patterns of float32 to try."""

import ml_dtypes
import numpy as np

from lpnet import formats

# name: (the format without saturation, the witness's type)
WITNESSES = {
    "e4m3": (formats.FloatingPoint(4, 3, specials="nan", saturate=False), ml_dtypes.float8_e4m3fn),
    "e5m2": (formats.FloatingPoint(5, 2, saturate=False), ml_dtypes.float8_e5m2),
    "bf16": (formats.format("bf16"), ml_dtypes.bfloat16),
    "fp16": (formats.format("fp16"), np.float16),
    "e3m2": (formats.format("e3m2"), ml_dtypes.float6_e3m2fn),
    "e2m3": (formats.format("e2m3"), ml_dtypes.float6_e2m3fn),
    "e2m1": (formats.format("e2m1"), ml_dtypes.float4_e2m1fn),
    "e4m3fnuz": (formats.FloatingPoint(4, 3, 8, False, "fnuz"), ml_dtypes.float8_e4m3fnuz),
    "e5m2fnuz": (formats.FloatingPoint(5, 2, 16, False, "fnuz"), ml_dtypes.float8_e5m2fnuz),
    "e4m3b11fnuz": (formats.FloatingPoint(4, 3, 11, False, "fnuz"), ml_dtypes.float8_e4m3b11fnuz),
    "e3m4 IEEE": (formats.FloatingPoint(3, 4, saturate=False), ml_dtypes.float8_e3m4),
    "e4m3 IEEE": (formats.FloatingPoint(4, 3, saturate=False), ml_dtypes.float8_e4m3),
}


def differences(name, x):
    """Return how many of the float32 numbers x the format rounds otherwise than its witness: in bits, but any NaN.

    Where the format can saturate, the saturating one is compared too: with the witness's result clipped to the maximum.
    """
    fmt, dtype = WITNESSES[name]
    if not fmt.has_nan:
        x = np.where(np.isnan(x), np.float32(0), x)
    with np.errstate(all="ignore"):
        expected = x.astype(dtype).astype(np.float32)
    wrong = unequal(fmt.quantize(x), expected)
    if fmt.has_nan:
        lost = np.isinf(expected) | (np.isnan(expected) & ~np.isnan(x))
        expected = np.where(lost, np.copysign(np.float32(fmt.max), x), expected)
        saturating = formats.FloatingPoint(fmt.exp, fmt.man, fmt.bias, True, fmt.specials)
        wrong += unequal(saturating.quantize(x), expected)
    return wrong


def unequal(y, expected):
    """Return how many numbers differ, the sign of zero included; NaN equals NaN."""
    return np.count_nonzero((y.view(np.uint32) != expected.view(np.uint32)) & ~(np.isnan(y) & np.isnan(expected)))


def stratified(seed, low_halves=160):
    """Yield float32 patterns: every upper half of 16 bits with the same number of lower halves, 10 million in all."""
    rng = np.random.default_rng(seed)
    edges = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)  # ties, and what lies beside them
    upper = np.arange(2**16, dtype=np.uint32) << 16
    for start in range(0, low_halves, 16):
        lower = rng.integers(0, 2**16, (2**16, 16), dtype=np.uint32)
        if start == 0:
            lower[:, : len(edges)] = edges
        yield (upper[:, None] | lower).reshape(-1).view(np.float32)
