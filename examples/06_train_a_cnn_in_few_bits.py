"""
Train a CNN in few bits
=======================

A network trains in 8, 4 and even 3 bits if its small updates survive rounding. To nearest most of them are swallowed,
chapter 04's vanishing at work in every layer; with dice each of them has its chance.

Question: what share of the weights does the first step of a training in 4 bits leave where they were?
"""

import statistics
import sys

import matplotlib.pyplot as plt
import numpy as np

import lpnet as lp

plt.style.use("lpnet.slides")
train, test = lp.data.load("digits")  # 1,797 handwritten digits of 8 by 8 pixels, part of the package
LR = 0.01

# %%
# A `Precision` says how the numbers of each role are rounded: here all in block floating point. `lower` has the
# layers round what they put out and the errors that come back, and the optimizer rounds gradients, momentum and
# weights.


def start(fmt, rounding, seed):
    lp.manual_seed(seed)
    precision = lp.Precision.uniform(fmt, rounding)
    model = lp.models.small_cnn()  # two convolutions with BatchNorm, and a linear classifier
    lp.nn.lower(model, precision)
    optimizer = lp.optim.SGD(model.parameters(), lr=LR, momentum=0.9, precision=precision)
    return model, optimizer, lp.data.DataLoader(train, 64, shuffle=True)


# %%
# One step of the three layers with weights. It is a hundredth of a gap, and to nearest hardly a weight moves. With
# dice few move either, but those go a whole gap: along the gradient, about all of the step arrives.


def first_step(rounding):
    model, optimizer, loader = start("bfp4", rounding, seed=0)
    weights = {name: p for name, p in model.named_parameters() if p.ndim > 1}
    before = {name: p.data.copy() for name, p in weights.items()}
    images, labels = next(iter(loader))
    lp.functions.cross_entropy(model(images), labels).backward()
    optimizer.step()
    return {name: (before[name], p.grad, p.data - before[name]) for name, p in weights.items()}


print("                                   |    nearest      |   stochastic")
print("layer    | weights | step, in gaps | moved | arrived | moved | arrived")
steps = {rounding: first_step(rounding) for rounding in ("nearest", "stochastic")}
for name, (w, grad, _) in steps["nearest"].items():
    gaps = (LR * abs(grad) / lp.format("bfp4").spacing(w)).mean()
    print(f"{name:8} | {w.size:7} | {gaps:13.3f}", end="")
    for _, grad, move in (steps[rounding][name] for rounding in steps):
        print(f" | {(move != 0).mean():5.1%} | {0 - (move * grad).sum() / (LR * grad**2).sum():7.0%}", end="")
    print()

# %%
# The whole training, from two seeds. In 8 bits little is lost either way. In 4 and 3 bits nearest rounding hardly
# learns, while stochastic rounding does; it stays worse than float, as its weights are noisy, and that noise is what
# chapter 07 is about.

print("test error in %, mean of two seeds after three epochs")
print("format | nearest | stochastic")
before, after = {}, {}
for fmt in ("fp32", "bfp8", "bfp4", "bfp3"):
    errors = {"nearest": [], "stochastic": []}
    for rounding, found in errors.items():
        for seed in range(2):
            model, optimizer, loader = start(fmt, rounding, seed)
            before[fmt] = model[4].weight.data.copy()
            log = lp.fit(model, loader, lp.data.DataLoader(test), epochs=3, optimizer=optimizer, progress=False)
            after[fmt] = model[4].weight.data
            found.append(log[-1]["test_error"])
    print(f"{fmt:6} | {statistics.mean(errors['nearest']):7.1f} | {statistics.mean(errors['stochastic']):10.1f}")

# %%
# The weights of the second convolution on their grid, in units of the gap, before and after.

fig, panels = plt.subplots(2, 3, sharex="col", sharey="col")
for fmt, (top, bottom) in zip(("bfp8", "bfp4", "bfp3"), panels.T):
    for ax, w, color in (top, before[fmt], "C7"), (bottom, after[fmt], "C1"):
        numbers, counts = np.unique(w / lp.format(fmt).spacing(w), return_counts=True)
        ax.bar(numbers, counts, width=1, color=color, ec="w", lw=25 / len(numbers))
        ax.set_yticks([])
    top.set_title(f"{fmt[-1]} bits")
fig.supxlabel("weight, in gaps")
panels[0, 0].set_ylabel("before")
panels[1, 0].set_ylabel("after")
plt.savefig(f"{sys.argv[1]}/06_train_a_cnn_in_few_bits.png") if len(sys.argv) == 2 else plt.show()

# %%
# To change: the format, to `"fixed8.6"` or `"e4m3"`: all names that `lpnet formats` lists will do.
#
# Two exercises, solved in `solutions/06_train_a_cnn_in_few_bits.py`:
#
# 1. Keep nearest rounding, but give the optimizer an accumulator in fp32, as in chapter 04. Does it learn now?
# 2. Make the learning rate ten times larger. Is nearest rounding still worse, and why not?
