"""One table of formats, which the tests of rounding, codes, kernels, names and properties walk: a row added is tested.

It has every preset, every class and every value that an option of a class can be of two kinds: see `test_cases.py`.
"""

from __future__ import annotations

from lpnet import formats
from lpnet.formats import BlockFloatingPoint, BlockScaled, Exponent, FixedPoint, FloatingPoint, Format, Table

PRESETS = [formats.format(name) for name in formats.names()]
FLOATING = [  # of all widths, without exponent or mantissa to speak of, with each option
    *(FloatingPoint(exp, man) for exp, man in ((3, 4), (1, 3), (1, 1), (2, 0), (5, 0), (5, 5), (6, 9), (9, 2), (9, 5))),
    *(FloatingPoint(exp, man) for exp, man in ((8, 0), (5, 12), (8, 10), (11, 4), (2, 20), (8, 22), (8, 30), (11, 52))),
    FloatingPoint(4, 3, specials="nan", saturate=False),
    FloatingPoint(4, 3, saturate=False),
    FloatingPoint(5, 2, saturate=False),
    FloatingPoint(5, 10, saturate=True),
    FloatingPoint(9, 5, saturate=True),
    FloatingPoint(4, 3, subnormals=False),
    FloatingPoint(5, 10, subnormals=False),
    FloatingPoint(3, 2, subnormals=False, specials="none"),
    FloatingPoint(3, 1, specials="nan", subnormals=False),
    FloatingPoint(1, 2, specials="none"),
    FloatingPoint(4, 0, specials="nan", saturate=False),
    FloatingPoint(8, 3, specials="none"),
    FloatingPoint(3, 2, bias=-20),
    FloatingPoint(3, 2, bias=30),
    FloatingPoint(4, 3, bias=11, specials="nan"),
    FloatingPoint(8, 3, bias=150),
    FloatingPoint(4, 3, 8, False, "fnuz"),
    FloatingPoint(4, 3, 11, specials="fnuz"),
    FloatingPoint(1, 6, 1, specials="fnuz"),
    FloatingPoint(3, 2, specials="fnuz", subnormals=False),
    FloatingPoint(5, 2, 16, specials="extended"),
    FloatingPoint(7, 0, 64, False, "extended"),
    *map(formats.format, ("p3109_k8p3se", "p3109_k6p1sf", "p3109_k6p3se")),
]
FIXED = [  # of one bit to 53, with the point far to the left and to the right, with each option
    *(FixedPoint(wl, fl) for wl, fl in ((8, 6), (8, 4), (16, 8), (4, -3), (2, 0), (1, 0), (24, 30), (9, -90))),
    FixedPoint(8, 6, symmetric=True),
    FixedPoint(5, 20, symmetric=True),
    FixedPoint(8, 4, saturate=False),
    FixedPoint(53, 30, symmetric=True),
    FixedPoint(24, 3),
    FixedPoint(6, -100),
    FixedPoint(4, 140),
]
BLOCKS = [
    *(BlockFloatingPoint(wl) for wl in (8, 4, 2, 23, 24)),
    BlockFloatingPoint(8, axis=None),
    BlockFloatingPoint(8, axis=None, exp=3),
    BlockFloatingPoint(53, None, exp=11),
    BlockFloatingPoint(8, axis=1),
    BlockFloatingPoint(9, axis=-1, exp=5),
    BlockFloatingPoint(4, axis=-1, block=16),
    BlockFloatingPoint(3, axis=-1, block=7),
    BlockFloatingPoint(8, axis=0, block=3),
    BlockFloatingPoint(4, block=5, exp=4),
    BlockFloatingPoint(8, symmetric=False),
    BlockFloatingPoint(24, exp=11),
    BlockFloatingPoint(8, exp=11, symmetric=False),
    BlockFloatingPoint(8, -1, (3, 4)),
    *map(formats.format, ("bfp8:16", "bfp8:3x5")),
]
SCALED = [
    BlockScaled(FixedPoint(4, 2), Exponent(4, has_nan=False), 7, axis=0),
    BlockScaled(FixedPoint(4, 2, symmetric=True), FloatingPoint(5, 2), 8, axis=0),
    BlockScaled(FloatingPoint(2, 1, specials="none"), FloatingPoint(5, 2), 5, axis=0),
    BlockScaled(FloatingPoint(3, 2), Exponent(6), 5),
    BlockScaled(FloatingPoint(4, 3, specials="fnuz"), FloatingPoint(5, 2), (4, 8), axis=-1),
    BlockScaled(FloatingPoint(4, 3, specials="fnuz"), Exponent(8), 3, scaling="even"),
    BlockScaled(FixedPoint(4, 2), Exponent(8), (4, 8), axis=-1, scaling="even", factor=1.5),
    BlockScaled(formats.format("nf4"), formats.format("fp16"), 8),
    *map(formats.format, ("nvfp4:16x16", "nvfp4:4/6", "nvfp4:2x8:4/6", "mxfp8_e4m3:ceil", "mxfp8_e4m3:3x5:even")),
    *map(
        formats.format, ("mxfp4_e2m1:4/3", "mxfp4_e2m1:rms", "mxint8:2x2:ceil", "e4m3:128x128", "posit8.1:32", "nf4:16")
    ),
    formats.format("dynamic8:256"),
]
TABLES = [
    Table((-3, -1, 0, 1, 3), "odd"),
    Table((-1, 1), "signs"),
    Table((1, 2, 10), "positive"),
    Table(tuple(i / 7 - 1 for i in range(15)), "sevenths"),
    Table((-1e30, -1, 1e-30, 1, 1.001, 3e38), "wide"),
    *map(formats.format, ("posit6.3", "log5.2")),
]

FORMATS: list[Format] = list(dict.fromkeys([*PRESETS, *FLOATING, *FIXED, *BLOCKS, *SCALED, *TABLES]))
SCALARS = [fmt for fmt in FORMATS if isinstance(fmt, FloatingPoint | FixedPoint)]
