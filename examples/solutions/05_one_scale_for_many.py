"""
One scale for many: solutions
=============================
"""

import numpy as np

import lpnet as lp

x = np.random.default_rng(0).standard_normal((64, 64))

# %%
# 1. From 8 on, where the gap jumps to 2: all numbers below half of that, 1, become 0, which are two thirds of them.
# An outlier need not be large.

for size in (4, 6, 7.9, 8, 16, 100):
    x[44, 40] = size
    lost = (lp.BlockFloatingPoint(4, axis=None).quantize(x) == 0).mean()
    print(f"outlier {size:5}: {lost:4.0%} lost")

# %%
# 2. Blocks of 32: a smaller block would fit better, but its scale, of 8 bits, takes more than 4.25 bits a number
# allow.

for block in (4, 8, 16, 32, 64, 256, 1024):
    rows = x.reshape(-1, block)  # (64, 64) -> (4096 / block, block)
    error = np.sqrt(((lp.BlockFloatingPoint(4, axis=0).quantize(rows) - rows) ** 2).mean())
    print(f"block of {block:4}: {4 + 8 / block:.3f} bits a number, error {error:.3f}")
