"""
Build NVFP4 yourself: solutions
===============================
"""

import numpy as np

import lpnet as lp

nn = lp.nn
lp.manual_seed(0)

# %%
# 1. One gradient is better without dice. But its error is the same every time, while that of dice is nearly gone from
# the mean of 256. A training adds up gradients for as long as it runs.

rng = np.random.default_rng(0)
gy, W = rng.standard_normal((256, 64)), rng.standard_normal((64, 64))
exact = gy @ W
for rounding in ("nearest", "stochastic"):
    operand = lp.Operand("nvfp4", rounding)
    gx = [operand(gy, axis=1) @ W for _ in range(256)]
    one, mean = (np.linalg.norm(g - exact) / np.linalg.norm(exact) for g in (gx[0], np.mean(gx, axis=0)))
    print(f"{rounding:10} | error of one {one:.3f}, of the mean {mean:.3f}")

# %%
# 2. About a sixth. The weights have hardly suffered; what 4 bits cost is mostly paid anew in every product.


def network():
    return nn.Sequential(*(layer for _ in range(3) for layer in (nn.Linear(64, 64), nn.Tanh())), nn.Linear(64, 64))


lp.manual_seed(99)
teacher = network()
test = np.random.default_rng(99).standard_normal((1024, 64)).astype(np.float32)
goal = teacher(test).data


def left(steps_in_4_bits, steps=120):
    lp.manual_seed(0)
    model, rng = network(), np.random.default_rng(0)
    lp.nn.lower(model, lp.recipes.nvfp4())
    optimizer = lp.optim.Adam(model.parameters(), lr=0.01)
    for step in range(steps):
        if step == steps_in_4_bits:
            lp.nn.lower(model, None)
        optimizer.lr = 0.01 * (1 - step / steps)
        x = rng.standard_normal((128, 64)).astype(np.float32)
        lp.functions.mse_loss(model(x), teacher(x).data).backward()
        optimizer.step()
        optimizer.zero_grad()
    return lp.functions.mse_loss(model(test), goal).item() / goal.var()


found = {steps: left(steps) for steps in (0, 90, 120)}
for steps, error in found.items():
    print(f"{steps:3} steps in 4 bits | {error:.2%} of the variance left")
print(f"left of the price | {(found[90] - found[0]) / (found[120] - found[0]):.0%}")
