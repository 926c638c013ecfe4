"""
The noise ball: solutions
=========================
"""

import numpy as np

import lpnet as lp

steep, turn = np.array([1, 0.5]), np.array([[0.8, -0.6], [0.6, 0.8]])
A = turn * steep @ turn.T
best, noise, lr = np.array([0.075, -0.05]), 0.2, 0.02


def train(fmt, rounding, round_mean=lambda mean: mean, copies=400, warm_up=500, steps=5000):
    lp.manual_seed(0)
    rng, w, mean = np.random.default_rng(0), np.zeros((copies, 2)), 0
    for t in range(1 - warm_up, steps + 1):
        gradient = (w - best) @ A + noise * rng.standard_normal(w.shape)
        w = fmt.quantize(w - lr * gradient, rounding)
        if t > 0:
            mean = round_mean(mean + (w - mean) / t)
    return 1000 * ((mean - best) ** 2).sum(-1).mean()


fmt = lp.format("fixed6.5")
print(f"squared distance of the average, in thousandths: {train(fmt, 'stochastic'):.2f}")

# %%
# 1. To nearest the average ends at 6.93, hardly nearer than the start at 8.1: a step of less than half a gap is
# swallowed, so few weights ever move. Where nothing moves, there is nothing to average.

print(f"to nearest: {train(fmt, 'nearest'):.2f}; the start: {1000 * (best**2).sum():.1f}")

# %%
# 2. In the 6 bits of the weights it stalls at 1.86, eight times as far as in full precision: soon the steps of the
# mean, (w - mean) / t, are far below a gap, and rounding them adds more noise than averaging takes away. 12 bits will
# do.

for bits in (6, 8, 12):
    wide = lp.format(f"fixed{bits}.{bits - 1}")
    found = train(fmt, "stochastic", lambda mean, wide=wide: wide.quantize(mean, "stochastic"))
    print(f"average in {bits} bits: {found:.2f}")
