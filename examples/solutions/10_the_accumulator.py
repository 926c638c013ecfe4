"""
The accumulator: solutions
==========================
"""

import numpy as np

import lpnet as lp

lp.manual_seed(0)
rng = np.random.default_rng(0)

# %%
# 1. It does, at about 1.4 times the walk's error, as dice have twice the variance of nearest rounding. A term below
# half a gap has its chance, and errors have no favourite direction.

fmt, terms = lp.format("e8m13"), np.prod(abs(rng.standard_normal((2, 64, 16_384))), axis=0)
one = np.zeros(64)
for n in range(1, 16_384 + 1):
    one = fmt.quantize(one + terms[:, n - 1], "stochastic")
    if n in (1024, 4096, 16_384):
        error = np.sqrt(((one / terms[:, :n].sum(axis=1) - 1) ** 2).mean())
        print(f"{n:5} terms | error / walk: {error / (2.0**-13 * np.sqrt(0.54 * n / 36)):.1f}")

# %%
# 2. The root of 4096, 64: then both sums, of a piece and of the pieces, are as short as they can be. Chunks of 64 are
# what IBM's 8-bit training adds up in.

a, b = abs(rng.standard_normal((2, 64, 4096)))
exact, errors = (a * b).sum(axis=1), {}
for every in (1, 4, 16, 64, 256, 1024, 4096):
    sums = lp.Accumulator(add="e6m9", every=every, outer="e6m9")
    found = sums.matmul(a[:, None, :], b[:, :, None])[:, 0, 0]
    errors[every] = np.sqrt(((found / exact - 1) ** 2).mean())
    print(f"every {every:4} | error {errors[every]:.4f}")
print("the best:", min(errors, key=errors.get))
