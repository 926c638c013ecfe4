"""
Rounding with dice
==================

Rounding to nearest always errs the same way; stochastic rounding throws a die and errs both ways, so that on average it
does not err at all. The price is noise, and good dice: a die with too few faces is biased again.

Question: how many roundings must one average until the mean is within a hundredth of the gap?
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import lpnet as lp

plt.style.use("lpnet.slides")
lp.manual_seed(0)

# %%
# The format has quarters. 0.3 lies between 0.25 and 0.5, a fifth of the way up. To nearest it becomes 0.25, every
# time. Stochastically it goes up with a probability of a fifth, p, so that the mean is 0.25 + 0.2 * 0.25, which is
# 0.3 again.

fmt, x = lp.FixedPoint(4, 2), 0.3
gap, p = fmt.smallest, 0.2
print("to nearest:", fmt.quantize(x))

thousand = fmt.quantize(np.full(1000, x), "stochastic")
up = int((thousand == 0.5).sum())
print(f"stochastically: {1000 - up} times 0.25, {up} times 0.5; the mean is {thousand.mean():.3f}")

# %%
# A million throws come as near as theory says: the variance of one rounding is gap^2 p (1 - p), a deviation of 0.1,
# and that of the mean of n is n times smaller. For a hundredth of the gap, 0.0025, it takes 1600 of them.

million = fmt.quantize(np.full(1_000_000, x), "stochastic")
deviation = gap * (p * (1 - p)) ** 0.5
print(f"mean {million.mean():.4f}, deviation {million.std():.4f}; theory {x:.4f}, {deviation:.4f}")
print(f"roundings for a mean within {gap / 100}: {(deviation / (gap / 100)) ** 2:.0f}")

# %%
# Random bits cost time and chips, so few are used. With k bits a die has 2^k faces, and 0.3 goes up with the multiple
# of 1/2^k next to p: never with 1 bit, too often with 2. With 8 bits the bias is below a hundredth of the gap. lpnet
# throws 16 bits if not told otherwise.

print("bits | goes up | bias, in gaps")
for k in (1, 2, 4, 8, 16):
    odds = lp.explain(x, fmt, lp.Stochastic(bits=k)).probability
    print(f"{k:4} | {odds:7.5f} | {odds - p:+.5f}")

# %%
# The picture is a balance: a thousand roundings of x, each a ball of equal weight, on the two numbers that they fell
# on. It rests on their mean.

fig, ax = plt.subplots()
for number, count in (0.25, 1000 - up), (0.5, up):
    i = np.arange(count)
    ax.plot(number + (i % 20 - 9.5) * 0.0035, 0.35 + i // 20 * 0.19, "C1o", ms=4.2)
    ax.text(number, 0.35 + count // 20 * 0.19 + 0.5, f"{count} times {number:g}", ha="center", color="C1")
ax.plot([0.19, 0.56], [0, 0], "k", lw=4)
ax.plot(thousand.mean(), -0.6, "^", color="C2", ms=26)
ax.text(thousand.mean(), -1.9, f"mean {thousand.mean():.3f}", ha="center", color="C2")
ax.set(xlim=(0.18, 0.57), ylim=(-2.4, 9.5))
ax.axis("off")
plt.savefig(f"{sys.argv[1]}/03_rounding_with_dice.png") if len(sys.argv) == 2 else plt.show()

# %%
# To change: x. At which x is the noise largest, and where is there none?
#
# Two exercises, solved in `solutions/03_rounding_with_dice.py`:
#
# 1. Round numbers that lie evenly between 0.25 and 0.5, to nearest and with dice. Whose squared error is smaller, and
#    how much?
# 2. Add up 1000 times 0.3, rounding every summand. How far off is the sum, to nearest and with dice?
