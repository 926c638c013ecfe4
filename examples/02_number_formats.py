"""Number formats, and why stochastic rounding keeps what nearest rounding loses.

Run it: python examples/02_number_formats.py     (writes 02_number_formats.png)
"""

import sys

import numpy as np

import lpnet as lp

# One number in some formats. `fixed4.2` has 4 bits, 2 of them behind the point: multiples of 1/4 from -2 to 1.75.
print("0.3 in some formats")
for name in ("fixed4.2", "fixed8.6", "e2m1", "e4m3", "bfp4", "bf16", "fp16"):
    fmt = lp.format(name)
    print(f"  {name:9} {fmt.bits:2} bits: {float(fmt.quantize(np.float32(0.3))):.9f}")

# In block floating point a block shares the exponent of its largest number: beside 100, small numbers vanish.
print("\nbfp8 of [0.3, 1.7]:  ", lp.quantize(np.float32([0.3, 1.7]), "bfp8"))
print("bfp8 of [0.3, 100.0]:", lp.quantize(np.float32([0.3, 100.0]), "bfp8"))

# Stochastic rounding goes up with a probability equal to the fraction: 0.3 lies 20 % of the way from 0.25 to 0.5.
x = np.full(100_000, 0.3, np.float32)
up = lp.quantize(x, "fixed4.2", rounding="stochastic")
print(f"\n0.3 rounded 100,000 times to quarters: {np.mean(up == 0.5):.1%} went up, the mean is {up.mean():.4f}")

# Why that matters in training: a weight on a coarse grid receives many updates, each smaller than half a gap.
fmt, steps, update = lp.FixedPoint(8, 4), 400, 0.004  # the gap is 1/16 = 0.0625
exact = np.cumsum(np.full(steps, update))
paths = {}
for rounding, copies in (("nearest", 1), ("stochastic", 200)):
    w, path = np.zeros(copies, np.float32), []
    for _ in range(steps):
        w = fmt.quantize(w + np.float32(update), rounding)
        path.append(w)
    paths[rounding] = np.array(path)  # (steps, copies)

print(f"\n{steps} updates of {update} on a grid of 1/16: the exact sum is {exact[-1]:.2f}")
print(f"  nearest:    {paths['nearest'][-1, 0]:.2f}, every single update was rounded away")
last = paths["stochastic"][-1]
print(f"  stochastic: {last.mean():.2f}, the mean of 200 copies; their deviation is {last.std():.2f}")
print("\nThe mean survives, the noise stays. Averaging removes it: 03_train_in_4_bits.py")

try:
    import matplotlib.pyplot as plt
except ImportError:
    sys.exit("(no picture: pip install matplotlib)")
plt.figure(figsize=(7, 4), layout="constrained")
plt.plot(paths["stochastic"][:, :8], color="C0", lw=0.6, alpha=0.6)
plt.plot(paths["stochastic"].mean(axis=1), color="C0", lw=2.5, label="stochastic: mean of 200, and eight of them")
plt.plot(paths["nearest"], color="C3", lw=2.5, label="nearest: stuck at 0")
plt.plot(exact, "k--", label="exact sum")
plt.xlabel("update")
plt.ylabel("weight")
plt.legend()
plt.savefig("02_number_formats.png", dpi=120)
print("picture: 02_number_formats.png")
