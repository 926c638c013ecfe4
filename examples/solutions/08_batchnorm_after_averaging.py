"""
BatchNorm after averaging: solutions
====================================
"""

import numpy as np

import lpnet as lp

nn = lp.nn
train, test = lp.data.load("digits")


def network():
    layers = []
    for channels, out in (1, 16), (16, 16), (16, 32), (32, 32):
        layers += [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
    return nn.Sequential(*layers[:6], nn.MaxPool2d(2), *layers[6:], nn.Flatten(), nn.Linear(512, 10))


def average(fmt):
    lp.manual_seed(0)
    model, loader = network(), lp.data.DataLoader(train, 64, shuffle=True)
    lp.nn.lower(model, fmt)
    optimizer = lp.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, precision=fmt)
    swalp = lp.optim.SWALP(model, optimizer, start=2 * len(loader), cycle=1)
    lp.fit(model, loader, epochs=5, optimizer=optimizer, swalp=swalp, progress=False)
    return swalp.averaged, loader


def error(model):
    return lp.evaluate(model, lp.data.DataLoader(test))["error"]


def variance(model):
    return np.mean([norm.running_var.data.mean() for norm in model if isinstance(norm, nn.BatchNorm2d)])


# %%
# 1. Little: in bfp8 the noise is small, and the average sees nearly the variance that training saw.

for fmt in ("bfp8", "bfp3"):
    model, loader = average(fmt)
    old, before = variance(model), error(model)
    lp.optim.update_bn(model, loader)
    print(f"{fmt} | variance, anew / old: {variance(model) / old:.2f}; error in %: {before:.1f}, {error(model):.1f}")

# %%
# 2. All of it but for a digit or so, for the same average in bfp3: a mean and a variance over the pixels of 64 images
# are known well enough.

for images in (64, len(train)):
    lp.optim.update_bn(model, [next(iter(lp.data.DataLoader(train, images)))])
    print(f"{images:4} images | error {error(model):.1f} %")
