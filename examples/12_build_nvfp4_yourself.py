"""
Build NVFP4 yourself
====================

NVFP4 trains with products of 4-bit numbers, and it is made of parts that earlier chapters had: small blocks with fine
scales, nearest rounding forward, dice for errors, square blocks for weights, a rotation, ends in float. To see what a
part is worth, take it out and train.

Question: which parts does a small network need, and which may it do without?
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import lpnet as lp

plt.style.use("lpnet.slides")
nn = lp.nn

# %%
# Chapter 05: numbers of e2m1 in blocks of 16, whose scales are numbers of e4m3. Chapter 09: W in squares of 16 by 16,
# so that back and forward it is the same. Chapter 03: dice for the errors, which add up over many steps. Chapter 11:
# x and the errors are rotated for the gradient of the weight. That is the whole of `lp.recipes.nvfp4`.


def products(format="nvfp4", W="nvfp4:16x16", x="nearest", gy="stochastic", rotate=16):
    x, W, back = lp.Operand(format, x), lp.Operand(W), lp.Operand(format, gy)
    gy_weight, x_weight = lp.Operand(format, gy, rotate), lp.Operand(format, "nearest", rotate)
    return lp.Products(x, W, back, W, gy_weight, x_weight)


print("the same as the recipe:", products() == lp.recipes.nvfp4().products)

# %%
# A network of four layers is to learn what another one, with other weights, computes. Its weights are in float, as in
# chapter 04's accumulator; only operands of its products have 4 bits. We measure what is left of the targets' variance.
# Ends in float means that the first and the last layer are not lowered. (Adam is an optimizer that makes all weights
# step about alike.)


def network():
    layers = [layer for _ in range(3) for layer in (nn.Linear(64, 64), nn.Tanh())]
    return nn.Sequential(*layers, nn.Linear(64, 64))


lp.manual_seed(99)
teacher = network()
test = np.random.default_rng(99).standard_normal((1024, 64)).astype(np.float32)
goal = teacher(test).data


def left(products, exact, seed, steps=120):
    lp.manual_seed(seed)
    model, rng = network(), np.random.default_rng(seed)
    if products is not None:
        lp.nn.lower(model, lp.Precision(products=products), exact=exact)
    optimizer = lp.optim.Adam(model.parameters(), lr=0.01)
    for step in range(steps):
        optimizer.lr = 0.01 * (1 - step / steps)
        x = rng.standard_normal((128, 64)).astype(np.float32)
        lp.functions.mse_loss(model(x), teacher(x).data).backward()
        optimizer.step()
        optimizer.zero_grad()
    return lp.functions.mse_loss(model(test), goal).item() / goal.var()


# %%
# The recipe, and the recipe without one of its parts, each from two seeds.

ends = ("first", "last")  # layers that stay in float
variants = {
    "float": (None, ()),
    "NVFP4": (products(), ends),
    "blocks of 32, 2^k": (products("mxfp4_e2m1", "mxfp4_e2m1:32x32"), ends),
    "dice for x": (products(x="stochastic"), ends),
    "all in 4 bits": (products(), ()),
    "no dice for gy": (products(gy="nearest"), ends),
    "W in rows": (products(W="nvfp4"), ends),
    "not rotated": (products(rotate=None), ends),
}
found = {name: [left(*variant, seed) for seed in range(2)] for name, variant in variants.items()}
more = {name: 100 * (np.array(errors) - found["float"]) for name, errors in found.items()}
print(f"float leaves {np.mean(found['float']):.1%} of the variance; in 4 bits there is more")
for name, seeds in more.items():
    print(f"{name:17} | {seeds.mean():5.2f}% more |", *(f"{seed:5.2f}" for seed in seeds))

# %%
# The answer: it needs its ends in float, without which the price of 4 bits is nearly three times as high, then nearest
# rounding forward, where nobody averages the noise of dice, then fine scales. Taking dice for errors, square blocks or
# the rotation away changes nothing that two seeds can show. They are against errors that add up over a long training,
# and against outliers, of which this one has none. A part has no worth of its own: measure it where it is to work.

fig, ax = plt.subplots()
names = list(variants)[1:]
for i, name in enumerate(names):
    ax.barh(-i, more[name].mean(), color="C1" if i == 0 else "C6")
    ax.plot(more[name], [-i, -i], "ko", ms=6)
ax.axvline(more["NVFP4"].mean(), color="C0", ls="--")
ax.set_yticks(-np.arange(len(names)), names)
ax.set_xlabel("loss above float's, % of the variance")
plt.savefig(f"{sys.argv[1]}/12_build_nvfp4_yourself.png") if len(sys.argv) == 2 else plt.show()

# %%
# To change: take everything out at once, `products(W="nvfp4", gy="nearest", rotate=None)`.
#
# Two exercises, solved in `solutions/12_build_nvfp4_yourself.py`:
#
# 1. What are dice for errors good for? Round the same errors 256 times, to nearest and with dice: how far is the mean
#    of the gradients from the exact one?
# 2. Train the last 30 of 120 steps in float, an option of the recipe. What is left of its price?
