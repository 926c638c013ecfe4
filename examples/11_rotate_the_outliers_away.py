"""
Rotate the outliers away
========================

Turn both operands of a product by the same rotation, and the product stays what it was; but an outlier is spread over
its neighbours, the largest number of its block shrinks, and with it the scale that all of them share. What chapter 05
lost to an outlier comes back.

Question: in a layer with two loud inputs, how many of its numbers become 0 in 4 bits, before and after the rotation?
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import lpnet as lp

plt.style.use("lpnet.slides")

# %%
# 256 samples of 64 inputs, of which two are 20 times as loud as the others. Networks have such channels, large ones
# above all.

rng = np.random.default_rng(0)
quiet, W = rng.standard_normal((256, 64)), rng.standard_normal((64, 64))
x = quiet.copy()
x[:, [5, 40]] *= 20

# %%
# Hadamard's matrix has entries 1 and -1 only, so that a rotation by it takes additions and no products. Twice as large
# it is four copies of itself, one of them negative. Divided by the root of n, its columns have length 1 and stand at
# right angles: H H^T is 1, so (x H) (W H)^T is x W^T. The rotation goes along the sum, and nothing has to be turned
# back. Of a loud number, 20, each of 32 neighbours gets 3.5.


def hadamard(n):
    if n == 1:
        return np.ones((1, 1))
    H = hadamard(n // 2)
    return np.block([[H, H], [H, -H]])


def turn(n):
    return np.kron(np.eye(64 // n), hadamard(n) / np.sqrt(n))  # n neighbours at a time: (64, 64)


print(hadamard(4).astype(int))
print("the product stays:", np.allclose((x @ turn(32)) @ (W @ turn(32)).T, x @ W.T))
print(f"a loud one among 32: {20 * turn(32)[5, 0]:.1f} in each of them")

# %%
# The operands of chapter 09, in blocks of 32. The wider the rotation, the fewer numbers become 0: 66% without it, 5% at
# the end. The error of the product falls by about a third. Where there is no outlier, there is nothing to gain, and
# only time to lose.

rounded = lp.Operand("bfp4:32")


def error(x, n):
    a, b = rounded(x @ turn(n), axis=1), rounded(W @ turn(n), axis=1)
    return (a == 0).mean(), np.linalg.norm(a @ b.T - x @ W.T) / np.linalg.norm(x @ W.T)


print("          |   two loud inputs  |      none\nneighbours | become 0 | error | become 0 | error")
for n in (1, 2, 4, 8, 16, 32):
    print("{:10} | {:8.0%} | {:5.3f} | {:8.0%} | {:5.3f}".format(n, *error(x, n), *error(quiet, n)))

# %%
# `Operand("bfp4:32", rotate=32)` does the same, with signs of its own before H. Why signs: exercise 2.

with lp.use(lp.Precision(products=lp.Products.uniform("bfp4:32", rotate=32))):
    y = lp.functions.linear(x, W).data
print(f"error of the layer: {np.linalg.norm(y - x @ W.T) / np.linalg.norm(x @ W.T):.3f}")

# %%
# What the integers of x are, before and after.

fig, panels = plt.subplots(1, 2, sharey=True)
for ax, n, title, color in zip(panels, (1, 32), ("as they are", "rotated"), ("C7", "C1")):
    a = x @ turn(n)
    integers = rounded(a, axis=1) / lp.BlockFloatingPoint(4, axis=1, block=32).spacing(a)
    numbers, counts = np.unique(integers, return_counts=True)
    ax.bar(numbers, 100 * counts / x.size, color=color, width=0.9)
    ax.text(1, 66, f"{(integers == 0).mean():.0%} are 0", color=color, va="center")
    ax.set(title=title, xticks=[-7, 0, 7], xlabel="integer", ylim=(0, 75))
panels[0].set_ylabel("numbers of x, %")
plt.savefig(f"{sys.argv[1]}/11_rotate_the_outliers_away.png") if len(sys.argv) == 2 else plt.show()

# %%
# To change: the loudness, from 20 to 200. What are the errors now, and why do they not grow?
#
# Two exercises, solved in `solutions/11_rotate_the_outliers_away.py`:
#
# 1. Round to `"nvfp4"`, floating point in blocks of 16. What is left to gain?
# 2. Let all inputs be positive, and none of them loud. Why does H alone make it worse, and what do random signs change?
