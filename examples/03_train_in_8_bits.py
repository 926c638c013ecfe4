"""Train a small CNN with every number in 8 bits, and average its weights: SWALP.

Run it: python examples/03_train_in_8_bits.py [EPOCHS]     (writes 03_train_in_8_bits.png)
"""

import sys

import lpnet as lp

epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 12
start = epochs * 2 // 3  # average over the last third
lp.manual_seed(0)

# 1,797 real handwritten digits of 8x8 pixels, part of the package.
train, test = lp.data.load("digits")
train_loader = lp.data.DataLoader(train, batch_size=64, shuffle=True)
test_loader = lp.data.DataLoader(test, batch_size=500)

# Block floating point: 8-bit integers, one exponent per sample or output channel. Stochastic rounding throughout.
precision = lp.Precision.uniform("bfp8")

# Where rounding happens: `lower` marks layers whose outputs, and the errors coming back to them, are rounded ...
model = lp.models.small_cnn()
for name, kind in lp.nn.lower(model, precision).items():
    print(f"rounded: layer {name} ({kind})")

# ... and the optimizer rounds each gradient, its momentum, and the new weights.
optimizer = lp.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, precision=precision)

# SWALP: after two thirds of the training, take the average of the weights once an epoch, in full precision.
swalp = lp.optim.SWALP(model, optimizer, start * len(train_loader), cycle=len(train_loader), lr=0.05)
log = lp.fit(model, train_loader, test_loader, epochs=epochs, optimizer=optimizer, swalp=swalp,
             schedule=lp.optim.swalp_schedule(0.1, start))

# The averaged model computes in float; its BatchNorm statistics have to be estimated anew.
averaged = swalp.averaged
lp.optim.update_bn(averaged, lp.data.DataLoader(train, batch_size=64))
print("\nweights              | test error")
print("---------------------|-----------")
print(f"last 8-bit iterate   | {lp.evaluate(model, test_loader)['error']:8.2f} %")
print(f"average of {swalp.n_averaged:2} (SWALP) | {lp.evaluate(averaged, test_loader)['error']:8.2f} %")

# What the rounding costs, layer by layer, measured over one batch.
x, y = next(iter(train_loader))
with lp.trace(model, optimizer) as trace:
    lp.functions.cross_entropy(model(x), y).backward()
    optimizer.step()
print(f"\n{trace}\n")

lp.training.plot_curves(log, "03_train_in_8_bits.png")
print("picture: 03_train_in_8_bits.png")
