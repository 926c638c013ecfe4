"""
Autodiff by hand
================

A gradient is the chain rule, applied from the loss back to the weights. We do it three times, by hand, by lpnet and by
a difference quotient, and get the same numbers.

Question: if the weight grows by 0.01, by how much does the loss change?
"""

import math
import sys

import matplotlib.pyplot as plt
import numpy as np

import lpnet as lp

plt.style.use("lpnet.slides")

# %%
# The smallest network there is: one input x, one weight w, one bias b, a sigmoid, and the squared error against the
# target t. The prediction p is 0.69, the loss 0.096.

x, t = 1.5, 1.0
w, b = 0.8, -0.4


def network(w, b, sigmoid=lambda z: 1 / (1 + math.exp(-z))):
    z = w * x + b
    p = sigmoid(z)
    return z, p, (p - t) ** 2


z, p, loss = network(w, b)
print(f"z = {z:.2f}, p = {p:.2f}, loss = {loss:.3f}")

# %%
# By hand: each line multiplies the derivative of the line above by the derivative of one more step.

d_p = 2 * (p - t)  # loss = (p - t)^2
d_z = d_p * p * (1 - p)  # the sigmoid's derivative is p (1 - p)
d_w = d_z * x  # z = w x + b
d_b = d_z

# %%
# By lpnet: the same `network`, of tensors. Every operation remembers its inputs, and `backward` walks the same chain.
# Gradients in the middle are kept only on request.

W, B = (lp.Tensor(np.float64(value), requires_grad=True) for value in (w, b))
Z, P, LOSS = network(W, B, lp.functions.sigmoid)
Z.retain_grad(), P.retain_grad()
LOSS.backward()

# %%
# By a difference quotient: change one number a little, both ways, and look at the loss.

h = 1e-6
q_w = (network(w + h, b)[-1] - network(w - h, b)[-1]) / (2 * h)
q_b = (network(w, b + h)[-1] - network(w, b - h)[-1]) / (2 * h)

print("derivative of the loss by |   by hand |  by lpnet | difference quotient")
print(f"prediction p              | {d_p:9.6f} | {P.grad:9.6f} |")
print(f"sum z                     | {d_z:9.6f} | {Z.grad:9.6f} |")
print(f"weight w                  | {d_w:9.6f} | {W.grad:9.6f} | {q_w:19.6f}")
print(f"bias b                    | {d_b:9.6f} | {B.grad:9.6f} | {q_b:19.6f}")

# %%
# `lp.gradcheck` does the last column for any function, and complains where the two disagree. Every operation of lpnet
# is checked so.

lp.gradcheck(lambda w, b: network(w, b, lp.functions.sigmoid)[-1], [np.float64(w), np.float64(b)])

# %%
# The answer to the question: the derivative by w is -0.199, so the loss falls by 0.00199; in truth by 0.00197, as the
# line is curved.

print(f"d_w = {d_w:.3f}, foretold {d_w * 0.01:.5f}, in truth {network(w + 0.01, b)[-1] - loss:.5f}")

# %%
# The network as a graph. Numbers flow forward, above the edges; derivatives of the loss flow back, below them.

places = {"w": (0, 2.2), "x": (0, 0.8), "×": (1.6, 1.5), "b": (1.6, 0), "+": (3.2, 0.9)}
places |= {"sigmoid": (5, 0.9), "loss": (7, 0.9)}
edges = [("w", "×", w, d_w), ("x", "×", x, None), ("×", "+", w * x, d_z), ("b", "+", b, d_b), ("+", "sigmoid", z, d_z),
         ("sigmoid", "loss", p, d_p)]  # fmt: skip
fig, ax = plt.subplots(figsize=(9.6, 4))
for start, end, value, derivative in edges:
    (x0, y0), (x1, y1) = places[start], places[end]
    room = {"shrinkA": 15 + 4 * len(start), "shrinkB": 15 + 4 * len(end)}
    ax.annotate("", (x1, y1), (x0, y0), arrowprops={"arrowstyle": "-|>", "lw": 2, "fc": "C0", **room})
    middle, tilt = np.array([x0 + x1, y0 + y1]) / 2, np.arctan2(y1 - y0, x1 - x0)
    above = 0.06 * np.array([-np.sin(tilt), np.cos(tilt)])
    along = {"ha": "center", "rotation": np.degrees(tilt), "rotation_mode": "anchor"}
    ax.text(*middle + above, f"{value:.2f}", va="bottom", **along)
    if derivative is not None:
        ax.text(*middle - above, f"{derivative:.3f}", va="top", color="C2", **along)
for name, place in places.items():
    ax.text(*place, name, ha="center", va="center", bbox={"boxstyle": "round", "fc": "w", "ec": "C0", "lw": 2})
ax.set(xlim=(-0.3, 7.4), ylim=(-0.3, 2.5), aspect=1)
ax.axis("off")
plt.savefig(f"{sys.argv[1]}/01_autodiff_by_hand.png") if len(sys.argv) == 2 else plt.show()

# %%
# To change: start from w = 8. The prediction is all but 1, the sigmoid flat, and hardly a gradient is left.
#
# Two exercises, solved in `solutions/01_autodiff_by_hand.py`:
#
# 1. Use the weight twice, z = w x + w. What is the derivative by w now, and why is it a sum?
# 2. Vary h from 0.1 to 1e-13. Which h gives the best difference quotient, and why is the smallest not it?
