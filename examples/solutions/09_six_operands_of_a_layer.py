"""
Six operands of a layer: solutions
==================================
"""

import numpy as np

import lpnet as lp

rng = np.random.default_rng(0)

# %%
# 1. By 40%. The largest of 64 numbers is larger than that of 8, and sets the scale for all of them.

W = rng.standard_normal((256, 256))
errors = {}
for name in ("bfp4:8", "bfp4:8x8"):
    errors[name] = np.linalg.norm(lp.Operand(name)(W, axis=1) - W) / np.linalg.norm(W)
    print(f"{name:8} | error {errors[name]:.3f}")
print(f"larger by | {errors['bfp4:8x8'] / errors['bfp4:8'] - 1:.0%}")

# %%
# 2. 2.67 bits, where 0.25 would do: an axis of 3 makes blocks of 3. Each number then has nearly a scale of its own,
# and errors that no hardware of 4 bits has.

kernel = rng.standard_normal((64, 64, 3, 3))
for name, axis in ("last axis", -1), ("channels", 1):
    y = lp.BlockFloatingPoint(4, axis=axis, block=32).quantize(kernel)
    bits = 8 / min(32, kernel.shape[axis])
    print(f"{name:9} | {bits:.2f} bits | error {np.linalg.norm(y - kernel) / np.linalg.norm(kernel):.3f}")
