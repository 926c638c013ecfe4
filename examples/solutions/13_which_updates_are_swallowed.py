"""
Which updates are swallowed: solutions
======================================
"""

import numpy as np

import lpnet as lp
from lpnet import functions as F

train, _ = lp.data.load("digits")
x, y = next(iter(lp.data.DataLoader(train, 128, shuffle=True)))


def watched(precision, lr=0.05):
    lp.manual_seed(0)
    model = lp.models.small_cnn()
    lp.nn.lower(model, precision)
    optimizer = lp.optim.SGD(model.parameters(), lr, 0.9, precision=precision)
    with lp.watch(model, optimizer) as step:
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return step.update("4.weight")


# %%
# 1. None, or next to none: its grid is 512 times as fine, and it is the accumulator that takes the steps. The weights
# that the network sees are still in three bits, and change when enough has come together.

q = lp.Quantizer("bfp3", "nearest")
roles = dict.fromkeys(("weight", "activation", "error", "gradient", "momentum"), q)
for name, precision in ("no accumulator", lp.Precision(**roles)), (
    "an accumulator",
    lp.Precision(**roles, accumulator=lp.Quantizer("bfp12", "nearest")),
):
    update = watched(precision)
    print(f"{name:14} | swallowed {100 * update.swallowed / update.wanted.size:.1f} %")
print("finer by", 2 ** (12 - 3))

# %%
# 2. The rate at which the median is half a gap: the update is the rate times the gradient, as the first step has
# no momentum to speak of.

ratios = watched(lp.Precision(**roles)).ratios
lr = 0.05 * 0.5 / np.median(ratios)
moved = [np.mean(watched(lp.Precision(**roles), rate).ratios >= 0.5) for rate in (0.05, lr)]
for name, rate, share in zip(("the old rate", "the new rate"), (0.05, lr), moved):
    print(f"{name} | {100 * share:.0f} % over half a gap at {rate:.2f}")
