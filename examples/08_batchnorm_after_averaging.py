"""
BatchNorm after averaging
=========================

BatchNorm keeps the mean and the variance of what it saw in training, and what it saw was noisy. The average of the
weights is quiet, the same images give it smaller activations, and all these statistics are wrong for it: they must be
estimated anew.

Question: how many of the errors of SWALP's average come from the old statistics alone?
"""

import copy
import statistics
import sys

import matplotlib.pyplot as plt
import numpy as np

import lpnet as lp

plt.style.use("lpnet.slides")
nn = lp.nn
train, test = lp.data.load("digits")

# %%
# A network of four convolutions, each with BatchNorm, in 3 bits, so that the noise is loud.


def network():
    layers = []
    for channels, out in (1, 16), (16, 16), (16, 32), (32, 32):
        layers += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers[:6], nn.MaxPool2d(2), *layers[6:], nn.Flatten(), nn.Linear(512, 10))


# %%
# `lp.optim.SWALP` is chapter 07's mean for a whole network: of every step from the third epoch on. Its average
# computes in float and has, so far, the statistics that training left.


def train_swalp(seed):
    lp.manual_seed(seed)
    model, loader = network(), lp.data.DataLoader(train, 64, shuffle=True)
    lp.nn.lower(model, "bfp3")
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, precision="bfp3")
    swalp = lp.optim.SWALP(model, optimizer, start=2 * len(loader), cycle=1)
    lp.fit(model, loader, epochs=5, optimizer=optimizer, swalp=swalp, progress=False)
    return model, swalp.averaged, loader


def variances(model):
    return np.array([norm.running_var.data.mean() for norm in model if isinstance(norm, nn.BatchNorm2d)])


# %%
# `lp.optim.update_bn` passes over the training images once and sets the statistics to what it sees. For comparison we
# do the same for the last weights, in float, too: so we see what comes from rounded activations and what from
# weights.

errors, ratios = {}, []
for seed in range(2):
    model, average, loader = train_swalp(seed)
    last = copy.deepcopy(model)
    lp.nn.lower(last, None)
    old = variances(model)

    def note(name, network):
        errors.setdefault(name, []).append(lp.evaluate(network, lp.data.DataLoader(test))["error"])

    note("average, statistics of training", average)
    lp.optim.update_bn(average, loader)
    lp.optim.update_bn(last, loader)
    note("average, statistics anew", average)
    note("last weights, statistics anew", last)
    ratios.append((variances(last) / old, variances(average) / old))

print("test error in float, %, mean of two seeds")
for name, found in errors.items():
    print(f"{name:31} | {statistics.mean(found):5.1f}")

# %%
# The old statistics alone cost the average nearly half of its errors. The picture says why: what each layer sees
# varies less than it did in training, for the last weights as activations are no longer rounded, for the average even
# less.

ratios = np.mean(ratios, axis=0)  # (2, layers)
print("variance, anew / training, by layer")
for name, row in zip(("last weights", "average"), ratios):
    print(f"{name:12}", *(f"{ratio:6.0%}" for ratio in row))

fig, ax = plt.subplots()
ax.axhline(1, color="C0", ls="--")
layers = np.arange(1, 5)
ax.bar(layers - 0.2, ratios[0], 0.38, color="C1")
ax.bar(layers + 0.2, ratios[1], 0.38, color="C2")
ax.text(0.8, 0.05, "last weights", color="w", rotation=90, ha="center")
ax.text(1.2, 0.05, "average, SWALP", color="w", rotation=90, ha="center")
ax.text(2.5, 1.02, "in training", ha="center", va="bottom")
ax.set(xticks=layers, xlabel="BatchNorm layer", ylabel="variance, anew / training", ylim=(0, 1.15))
plt.savefig(f"{sys.argv[1]}/08_batchnorm_after_averaging.png") if len(sys.argv) == 2 else plt.show()

# %%
# To change: `cycle=len(loader)`, an average once an epoch. Fewer weights are averaged, and the bars come closer.
#
# Two exercises, solved in `solutions/08_batchnorm_after_averaging.py`:
#
# 1. Train in 8 bits instead. How much is there to correct?
# 2. Estimate the statistics on 64 images only. How much of the gain is left?
