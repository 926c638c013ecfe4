"""
A number in 8 bits: solutions
=============================
"""

import numpy as np

import lpnet as lp

# %%
# 1. The smallest whole number that e4m3 does not have is 17: it counts in ones up to 16, then in twos.

whole = np.arange(1.0, 100)
missing = whole[lp.format("e4m3").quantize(whole) != whole]
print(f"missing: {missing[:5]}; the gap beyond 16 is {lp.format('e4m3').spacing(np.float64(16))}")

# %%
# 2. Floating point spends nearly half of its 8-bit codes between -1 and 1, both included: 113 in e4m3, 121 in e5m2.
# The fixed point of chapter 02 has 33 numbers there.

for name in ("fixed8.4", "e4m3", "e5m2"):
    x = np.concatenate([-np.geomspace(2.0**-17, 1, 100_001), np.geomspace(2.0**-17, 1, 100_001), [0]])
    print(f"{name:8} has {len(np.unique(lp.format(name).quantize(x)))} numbers from -1 to 1")
