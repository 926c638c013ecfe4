"""
Autodiff by hand: solutions
===========================
"""

import numpy as np

import lpnet as lp

x, t, b = 1.5, 1.0, -0.4


def loss(w, b=b):
    return (lp.functions.sigmoid(w * x + b) - t) ** 2


# %%
# 1. There are two ways from w to z = w x + w, and each brings a derivative: x along the one, 1 along the other. They
# are added, so the derivative is 2.5 times that by z.

w = lp.Tensor(np.float64(0.8), requires_grad=True)
z = (w * x + w).retain_grad()
((lp.functions.sigmoid(z) - t) ** 2).backward()
print(f"by z {z.grad:.6f}, by w {w.grad:.6f}, ratio {w.grad / z.grad}")

# %%
# 2. The best h is in the middle, 1e-5. A large h is wrong because the loss is curved, by about h^2; a small one
# because the two losses agree in all but the last digits, and their difference keeps nothing else: the error grows as
# 1/h.

w = lp.Tensor(np.float64(0.8), requires_grad=True)
loss(w).backward()
errors = {}
for exponent in range(1, 14):
    h = 10.0**-exponent
    quotient = (loss(lp.Tensor(np.float64(0.8 + h))) - loss(lp.Tensor(np.float64(0.8 - h)))).item() / (2 * h)
    errors[exponent] = abs(quotient - w.grad)
    print(f"h = 1e-{exponent}: error {errors[exponent]:.0e}")
print(f"the best h is 1e-{min(errors, key=errors.get)}")
