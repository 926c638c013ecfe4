"""A gradient by hand, by lpnet, and by a difference quotient: three ways to one number.

The smallest network there is: one input x, one weight w, one bias b, a sigmoid and a squared error,

    z = w x + b      p = sigmoid(z)      loss = (p - t)^2

Run it: python examples/01_autodiff_by_hand.py
"""

import math

import numpy as np

import lpnet as lp

x, t = 1.5, 1.0
w, b = 0.8, -0.4

# By hand: the chain rule, from the loss back to the weight.
z = w * x + b
p = 1 / (1 + math.exp(-z))
loss = (p - t) ** 2
d_p = 2 * (p - t)  # loss = (p - t)^2
d_z = d_p * p * (1 - p)  # the sigmoid's derivative is p (1 - p)
d_w, d_b = d_z * x, d_z  # z = w x + b

# By lpnet: every operation remembers its inputs, and `backward` walks the same chain.
W, B = lp.Tensor(np.float64(w), requires_grad=True), lp.Tensor(np.float64(b), requires_grad=True)
Z = (W * x + B).retain_grad()  # intermediate gradients are kept only on request
P = lp.functions.sigmoid(Z).retain_grad()
LOSS = (P - t) ** 2
LOSS.backward()


# By a difference quotient: change one number a little and look at the loss.
def loss_at(w: float, b: float) -> float:
    return (1 / (1 + math.exp(-(w * x + b))) - t) ** 2


h = 1e-6
numeric_w = (loss_at(w + h, b) - loss_at(w - h, b)) / (2 * h)
numeric_b = (loss_at(w, b + h) - loss_at(w, b - h)) / (2 * h)

print(f"loss: by hand {loss:.8f}, by lpnet {LOSS.item():.8f}\n")
print("derivative of the loss by |    by hand |   by lpnet | difference quotient")
print("-------------------------|------------|------------|--------------------")
print(f"prediction p             | {d_p:10.7f} | {P.grad.item():10.7f} |")
print(f"sum z                    | {d_z:10.7f} | {Z.grad.item():10.7f} |")
print(f"weight w                 | {d_w:10.7f} | {W.grad.item():10.7f} | {numeric_w:19.7f}")
print(f"bias b                   | {d_b:10.7f} | {B.grad.item():10.7f} | {numeric_b:19.7f}")

# `gradcheck` does the last column for any function and any number of inputs, to 1e-6.
lp.gradcheck(lambda w, b: (lp.functions.sigmoid(w * x + b) - t) ** 2, [np.float64(w), np.float64(b)])
print("\ngradcheck agrees. Next: 02_number_formats.py")
