"""
One scale for many
==================

In few bits a number needs a scale, and a scale of its own would cost as much as it does. So many share one, that of the
largest among them, and one outlier makes the others coarse: the fewer share, the fewer suffer.

Question: what part of a matrix is lost to a single outlier when all of it shares one scale?
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import lpnet as lp

plt.style.use("lpnet.slides")

# %%
# A matrix of 64 by 64 ordinary numbers, one loud row, and one outlier.

x = np.random.default_rng(0).standard_normal((64, 64))
x[20] *= 8
x[44, 40] = 100

# %%
# Block floating point in 4 bits: an integer for each number, and a power of two for each block. A block is the whole
# tensor, a channel (here a row), 16 neighbours of a row, or a tile of 16 by 16.

rounded = {
    "tensor": lp.BlockFloatingPoint(4, axis=None).quantize(x),
    "channel": lp.BlockFloatingPoint(4, axis=0).quantize(x),
    "block": lp.BlockFloatingPoint(4, axis=-1, block=16).quantize(x),
    "tile": lp.BlockFloatingPoint(4, axis=-1, block=(16, 16)).quantize(x),
}

# %%
# With one scale for all, 99% of the numbers become 0: nothing is left but the outlier and part of the loud row.
# Channels keep the damage to two rows, blocks to the row and 16 numbers more; tiles have fewer scales and larger
# damage. A scale takes 8 bits.

print("a scale for each | scales | bits a number | lost | error of the others")
for (name, y), scales in zip(rounded.items(), (1, 64, 256, 16)):
    error = np.sqrt(((y - x)[abs(x) < 8] ** 2).mean())
    print(f"{name:16} | {scales:6} | {4 + 8 * scales / x.size:13.3f} | {(y == 0).mean():4.0%} | {error:.3f}")

# %%
# The scale itself is a number in some format. A power of two is simple, and misses the largest number by up to a
# factor of two; a scale with digits of its own fits it. The same 4-bit element, e2m1, in blocks of 16, under three
# scales:

exponent = lp.format("mxfp4").scale
for name, scale in ("power of two", exponent), ("e4m3", lp.format("e4m3")), ("fp32", lp.format("fp32")):
    y = lp.BlockScaled(lp.format("e2m1"), scale, 16).quantize(x)
    print(f"scale {name:12}: error of the others {np.sqrt(((y - x)[abs(x) < 8] ** 2).mean()):.3f}")

# %%
# The map of errors: the darker, the more a number lost.

fig, panels = plt.subplots(1, 4, figsize=(9.6, 2.75))
for ax, (name, y) in zip(panels, rounded.items()):
    ax.imshow(np.minimum(abs(y - x), 2), cmap="magma_r")
    ax.set_title(name)
    ax.axis("off")
plt.savefig(f"{sys.argv[1]}/05_one_scale_for_many.png") if len(sys.argv) == 2 else plt.show()

# %%
# To change: the size of the outlier, `x[44, 40]`, to 1000. Which of the four maps stay as they are?
#
# Two exercises, solved in `solutions/05_one_scale_for_many.py`:
#
# 1. From which size of the outlier on does one scale for all lose more than half of the numbers?
# 2. Scales cost bits. Among blocks of 4 to 1024, which has the smallest error if 4.25 bits a number are to be had?
