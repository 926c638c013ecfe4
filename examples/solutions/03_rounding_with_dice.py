"""
Rounding with dice: solutions
=============================
"""

import numpy as np

import lpnet as lp

lp.manual_seed(0)
fmt = lp.FixedPoint(4, 2)

# %%
# 1. Nearest rounding has half the squared error: gap^2 / 12 against gap^2 / 6. For a single number it is the better
# choice; dice are for numbers that are added up.

x = np.linspace(0.25, 0.5, 1_000_001)
for rounding in ("nearest", "stochastic"):
    error = ((fmt.quantize(x, rounding) - x) ** 2).mean()
    print(f"{rounding:10}: squared error is gap^2 / {0.25**2 / error:.1f}")

# %%
# 2. To nearest all errors are the same, and the sum of 300 is off by 50. With dice they cancel: the error grows with
# the root of the number of summands, to about 3.

x = np.full((200, 1000), 0.3)  # 200 sums
for rounding in ("nearest", "stochastic"):
    off = fmt.quantize(x, rounding).sum(axis=1) - 300
    print(f"{rounding:10}: the sum of 300 is off by {(off**2).mean() ** 0.5:.0f}")
