"""
The update that vanished: solutions
===================================
"""

import numpy as np

import lpnet as lp

lp.manual_seed(0)
bf16 = lp.format("bf16")

# %%
# 1. Below 1/32. There the gap is 2^-13, and half of it is less than 0.0001. Weights of a trained network are often
# that small, their updates smaller still.

for exponent in range(0, -8, -1):
    w = np.float64(2.0**exponent) * 0.75  # within the power of two below
    print(f"below 1/{2**-exponent:<3}: 0.0001 is {'noticed' if bf16.quantize(w + 1e-4) > w else 'lost'}")

# %%
# 2. With the root of the number of steps: four times the steps, twice the spread. Each step moves a copy by a whole
# gap or not at all, independently of all others.

w, spread = np.ones(10_000), {}
for step in range(1, 1001):
    w = bf16.quantize(w + 1e-4, "stochastic")
    spread[step] = w.std()
print(f"spread after 1000 steps over that after 250: {spread[1000] / spread[250]:.1f}")
