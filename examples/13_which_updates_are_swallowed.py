"""
Which updates are swallowed
===========================

Of what a step of training in three bits wants to change, most never arrives. `lp.watch` looks at one step and says of
every parameter how many of its numbers moved, how many were swallowed, and how many jumped too far.

Question: which weights of a network in bfp3 stand still, and why those?
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import lpnet as lp
from lpnet import functions as F

plt.style.use("lpnet.slides")
train, _ = lp.data.load("digits")
x, y = next(iter(lp.data.DataLoader(train, 128, shuffle=True)))


def watched(fmt, rounding="nearest"):
    """Return what the first step of a small CNN did, all numbers rounded to the format."""
    lp.manual_seed(0)
    model, precision = lp.models.small_cnn(), lp.Precision.uniform(fmt, rounding)
    lp.nn.lower(model, precision)
    optimizer = lp.optim.SGD(model.parameters(), 0.05, 0.9, precision=precision)
    with lp.watch(model, optimizer) as step:
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return step


# %%
# A row for each parameter. `upd/gap` is the median of what a number should move by, in gaps of the grid around it; the
# small bars are its histogram, a power of two each. Below half a gap, rounding to nearest swallows the update. Biases
# of BatchNorm start at zero, where the grid is as fine as the update: they move. Weights are surrounded by wide gaps.

step = watched("bfp3")
print(step)

# %%
# One of those that stood still. Its update would have taken it a little to the side, and the next number is far away.

weight = step.update("4.weight")
still = (weight.wanted != weight.before) & (weight.after == weight.before)
print(step.story("4.weight", tuple(np.argwhere(still)[0])))

# %%
# The gap of a number in bfp3 is set by the largest weight of its output channel, not by the number: all weights of the
# channel sit on one grid. Each bit more halves the gaps. (It also keeps more small gradients from becoming zero, and a
# weight without a gradient has nothing to swallow: so the shares do not fall at once.) With stochastic rounding the few
# numbers that move jump a whole gap, too far, and the many others stand still; the mean is right.

formats = ("bfp3", "bfp4", "bfp5", "bfp6", "bfp8")
print("format | upd/gap | nearest: swallowed % | stochastic: swallowed % | overshot %")
for fmt in formats:
    near, dice = (watched(fmt, rounding).update("4.weight") for rounding in ("nearest", "stochastic"))
    shares = [100 * n / near.wanted.size for n in (near.swallowed, dice.swallowed, dice.overshot)]
    print(f"{fmt:6} | {np.median(near.ratios):7.2f} | {shares[0]:20.1f} | {shares[1]:23.1f} | {shares[2]:10.1f}")

# %%
# Updates of the second convolution in gaps of three formats; what is left of the line, nearest rounding swallows.

fig, panels = plt.subplots(3, 1, sharex=True, sharey=True)
for ax, fmt in zip(panels, ("bfp3", "bfp5", "bfp8")):
    ax.hist(np.log2(watched(fmt).update("4.weight").ratios), np.arange(-7, 3, 0.5), color="C3", ec="w")
    ax.axvline(-1, color="k", lw=2)
    ax.text(-6.9, 700, f"{fmt[-1]} bits", color="C3")
panels[1].set_ylabel("weights")
panels[2].set_xticks([-6, -4, -1, 2], ["1/64", "1/16", "1/2", "4"])
panels[2].set_xlabel("update, in gaps")
plt.savefig(f"{sys.argv[1]}/13_which_updates_are_swallowed.png") if len(sys.argv) == 2 else plt.show()

# %%
# To change: the parameter, to `"0.weight"` or `"8.weight"`. `lpnet step --precision bfp3` prints the same tables.
#
# Two exercises, solved in `solutions/13_which_updates_are_swallowed.py`:
#
# 1. Give the optimizer an accumulator in bfp12. How many updates does it swallow?
# 2. Which learning rate would bring half of the updates of `4.weight` in bfp3 over half a gap?
