"""
The update that vanished
========================

A weight in few bits cannot take a small step: 1 + 0.0001 in bf16 is 1. After a thousand such steps it is still 1. There
are three ways out: dice, a second number that remembers what was lost, or a wider copy of the weight.

Question: how large must a step be for bf16 to notice?
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import lpnet as lp

plt.style.use("lpnet.slides")
lp.manual_seed(0)

# %%
# Above 1, the numbers of bf16 are 0.0078125 apart. A step of less than half of that, 0.00390625, is rounded away.

bf16, fp32, update, steps = lp.format("bf16"), lp.format("fp32"), np.float64(1e-4), 1000
gap = bf16.quantize(np.float64(1) + 2.0**-8, "ceil") - 1
print(f"gap above 1: {gap}, half of it: {gap / 2}")
print("1 + 0.0001 in bf16:", bf16.quantize(1 + update))

# %%
# Four kinds of weight, all in bf16 as far as the network sees. The first is rounded to nearest, the second, of which
# we follow 100 copies, stochastically. The third has another bf16 number beside it that keeps what rounding lost, and
# adds it to the next step (Kahan's sum). The fourth is the rounded view of an fp32 number, the accumulator, which
# takes the steps.

nearest = kahan = wide = np.float64(1)
dice, lost = np.ones(100), np.float64(0)
paths = {"nearest": [], "stochastic": [], "Kahan": [], "accumulator": []}
for _ in range(steps):
    nearest = bf16.quantize(nearest + update)
    dice = bf16.quantize(dice + update, "stochastic")
    step = bf16.quantize(update + lost)
    before, kahan = kahan, bf16.quantize(kahan + step)
    lost = bf16.quantize(step - (kahan - before))
    wide = fp32.quantize(wide + update)
    for path, w in zip(paths.values(), (nearest, dice, kahan, bf16.quantize(wide))):
        path.append(w)

# %%
# A thousand steps should lead to 1.1. To nearest not one of them arrived. Kahan's sum and the accumulator end at the
# number of bf16 next to it. Stochastically rounded copies are right on average, but they spread, by 3.7 gaps: they cost
# no memory, and noise.

print(f"exact       {1 + steps * update:.4f}")
for name, path in paths.items():
    print(f"{name:11} ends at {np.mean(path[-1]):.4f}, spread {np.std(path[-1]) / gap:.1f} gaps")

# %%
# The four, each with the exact sum.

fig, panels = plt.subplots(2, 2, sharex=True, sharey=True)
for ax, (name, path), color in zip(panels.flat, paths.items(), ("C3", "C1", "C4", "C5")):
    many = name == "stochastic"
    ax.plot(np.array(path)[:, :12] if many else path, color, lw=1 if many else 3)
    ax.plot([0, steps], [1, 1 + steps * update], "C0--", lw=2)
    ax.set_title(name, color=color)
panels[0, 0].text(600, 1.08, "exact", ha="right")
fig.supxlabel("steps")
fig.supylabel("weight")
plt.savefig(f"{sys.argv[1]}/04_the_update_that_vanished.png") if len(sys.argv) == 2 else plt.show()

# %%
# To change: the update, to 0.004. Nearest rounding now takes steps that are too long.
#
# Two exercises, solved in `solutions/04_the_update_that_vanished.py`:
#
# 1. A step vanishes beside a large weight only. Below which power of two does nearest rounding notice 0.0001?
# 2. How does the spread of the stochastic copies grow with the number of steps?
