"""
Six operands of a layer
=======================

A layer trains by three products, and hardware of few bits rounds what goes into each: six operands. Each is cut into
blocks along the axis that its product sums over, so that one matrix becomes two different operands.

Question: is the weight that a layer multiplies with on the way back the one it multiplied with on the way forward?
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import lpnet as lp

plt.style.use("lpnet.slides")

# %%
# A linear layer of 24 inputs and 16 outputs sees 16 samples, and 16 errors gy come back. Forward it sums over inputs;
# the gradient of its input sums over outputs, that of its weight over samples.

rng = np.random.default_rng(0)
x, W, gy = (rng.standard_normal(shape) for shape in ((16, 24), (16, 24), (16, 16)))
exact = {"y = x W^T": x @ W.T, "gx = gy W": gy @ W, "gW = gy^T x": gy.T @ x}

# %%
# Blocks as in chapter 05: integers of 4 bits, and a power of two for every 8. They lie along the sum, because there,
# and only there, the terms of a piece share their two scales. So the scales are taken out of it, and what the hardware
# multiplies and adds up are small integers.

rounded = lp.Operand("bfp4:8")  # a function of an array and the axis along which its blocks lie
blocks = {axis: lp.BlockFloatingPoint(4, axis=axis, block=8) for axis in (0, 1)}
a, b = rounded(x, axis=1)[0, :8], rounded(W, axis=1)[0, :8]
scale_a, scale_b = blocks[1].spacing(x)[0, 0], blocks[1].spacing(W)[0, 0]
print("x:", *(a / scale_a).astype(int), "times", scale_a)
print("W:", *(b / scale_b).astype(int), "times", scale_b)
integers, scale = int((a / scale_a) @ (b / scale_b)), scale_a * scale_b
print(f"sum: {integers} times {scale}, which is {integers * scale}; in floats {a @ b}")

# %%
# `lp.Products` names the six operands, and within `lp.use` every layer multiplies so. Each operand is one of two in its
# product, and rounding it harms that product alone. All six at once are what hardware of few bits does.


def layer(products):
    X, V = lp.Tensor(x, requires_grad=True), lp.Tensor(W, requires_grad=True)
    with lp.use(lp.Precision(products=products)):
        y = lp.functions.linear(X, V)
        y.backward(gy)
    return y.data, X.grad, V.grad


def share(found):
    return [np.linalg.norm(y - e) / np.linalg.norm(e) for y, e in zip(found, exact.values())]


names = ("x", "W", "gy_input", "W_input", "gy_weight", "x_weight")
rows = {name: lp.Products(**{name: rounded}) for name in names}
rows["all six"] = lp.Products.uniform("bfp4:8")
print("error, in shares of the result\nrounded   |   y  |  gx  |  gW")
for name, products in rows.items():
    print("{:9} | {:4.0%} | {:4.0%} | {:4.0%}".format(name, *share(layer(products))))

# %%
# The answer: no. Forward a block of W lies along the inputs of one output, back along the outputs of one input: other
# neighbours, other scales, and 25% of the numbers differ. So the gradient that comes back is that of another layer than
# the one that was computed. Square blocks mend it, which cut a matrix and its transpose alike. (x and gy, too, become
# two operands each; but their products do not have to agree.)

for name in ("bfp4:8", "bfp4:8x8"):
    forward, back = (lp.Operand(name)(W, axis=axis) for axis in (1, 0))
    print(f"{name:8} | {(forward != back).mean():.0%} of W differ")

# %%
# The three products, each matrix in its blocks, darker where the scale is larger. Rows from the left meet columns from
# above, and all blocks lie along the way of the sum.

products = {"inputs": (x, W.T, "x", r"W$^T$", "y"), "outputs": (gy, W, "gy", "W", "gx")}
products |= {"samples": (gy.T, x, r"gy$^T$", "x", "gW")}
maps = {"x": "Greens", "W": "Blues", "g": "Oranges"}
fig, panels = plt.subplots(1, 3, figsize=(9.6, 3.6))
for ax, (axis, (left, above, *names)) in zip(panels, products.items()):
    (m, k), n = left.shape, above.shape[1]
    places = {names[0]: (-k - 1, -m - 1, k, m), names[1]: (0, 0, n, k), names[2]: (0, -m - 1, n, m)}
    for (name, (i, j, wide, high)), a, along in zip(places.items(), (left, above, None), (1, 0, 2)):
        if a is not None:
            s = np.log2(blocks[along].spacing(a))
            s = s[:, ::8] if along == 1 else s[::8]
            edges = np.linspace(i, i + wide, s.shape[1] + 1), np.linspace(j + high, j, len(s) + 1)
            ax.pcolormesh(*edges, s, cmap=maps[name[0]], vmin=-5, vmax=0, ec="w", lw=0.7)
        else:
            ax.add_patch(plt.Rectangle((i, j), wide, high, fill=False, ec="C7", lw=2))
        white = {"ha": "center", "va": "center", "bbox": {"fc": "w", "ec": "w"}}
        ax.text(i + wide / 2, j + high / 2, name, **white)
    ax.set(title=f"sum over {axis}", xlim=(-26, 25), ylim=(-18, 26), aspect=1)
    ax.axis("off")
plt.savefig(f"{sys.argv[1]}/09_six_operands_of_a_layer.png") if len(sys.argv) == 2 else plt.show()

# %%
# To change: the blocks of `all six`, to `"bfp4:16"`. Fewer scales, larger errors.
#
# Two exercises, solved in `solutions/09_six_operands_of_a_layer.py`:
#
# 1. W in square blocks of 8 by 8 has an eighth of the scales. How much larger do the errors become?
# 2. A kernel of a convolution, (64, 64, 3, 3), in blocks of 32 along its last axis, in place of its channels: how many
#    bits a number does a scale of 8 bits cost?
