"""
The accumulator
===============

A product is a long sum, and hardware adds it up in few bits, too: the larger the sum, the less it notices of the next
term, and chapter 04's vanishing is back. The way out is to add up short pieces in few bits, and the pieces in float32.

Question: how much of its error does a sum of 4096 terms lose when every 128 terms are taken to float32?
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import lpnet as lp

plt.style.use("lpnet.slides")

# %%
# Our hardware's sum has 14 digits, 13 of them behind the point: e8m13. We add up 256 rows of products, all of them
# positive: the sum grows with every term, and the gap around it with the sum.

fmt, every = lp.format("e8m13"), 128
rng = np.random.default_rng(0)
a, b = abs(rng.standard_normal((2, 256, 16_384)))
terms = a * b
print(f"{fmt}: {fmt.man + 1} digits")
for total in (16.0, 4096.0):
    print(f"gap around {total:4.0f}: {fmt.spacing(np.float64(total))}")

# %%
# One sum in few bits, and pieces of 128 terms, each in few bits, that are added to a wide sum when they are full. That
# is called promotion. We measure at lengths that double.

lengths = 2 ** np.arange(4, 15)
one, piece, wide, errors = np.zeros(256), np.zeros(256), np.zeros(256), []
for n in range(1, 16_384 + 1):
    term = terms[:, n - 1]
    one, piece = fmt.quantize(one + term), fmt.quantize(piece + term)
    if n % every == 0:
        wide, piece = lp.format("fp32").quantize(wide + piece), 0 * piece
    if n in lengths:
        exact = terms[:, :n].sum(axis=1)
        errors.append([np.sqrt(((total / exact - 1) ** 2).mean()) for total in (one, wide + piece)])
errors = np.array(errors).T  # (2, lengths)

# %%
# What to expect. If roundings were independent, the error would walk at random. A rounding adds gap^2 / 12. The gap is
# 2^-13 of the power of two below the sum, which costs gap^2 a factor of 0.54 in the mean; and as the sum grows evenly
# from 0 to its end, gap^2 is a third of what it is there. n terms add n of these. Pieces err each for itself, as a sum
# of 128 does, and on many of them the less.


def walk(n):
    return 2.0**-13 * np.sqrt(0.54 / 12 * n / 3)


theory = walk(lengths), walk(np.minimum(lengths, every)) / np.sqrt(np.maximum(lengths / every, 1))
print("error, in millionths of the sum\nlength | one sum    walk | promoted    walk")
for n, *row in zip(lengths, *np.stack([errors, theory], axis=1).reshape(4, -1) * 1e6):
    print("{:6} | {:7.0f} {:7.0f} | {:8.0f} {:7.0f}".format(n, *row))
print(f"of 4096 terms: {errors[0][8] / errors[1][8]:.0f} times the error")

# %%
# The answer: of 4096 terms, one sum has a hundred times the error of the promoted one, which errs the less the longer
# it is. After 1024 terms one sum leaves the walk. Its errors are no longer independent: a term below half a gap
# vanishes, always downwards, and at the end 59% of the terms are that small. `lp.Accumulator` is such a sum, to the
# bit, and adds up the products of chapter 09 if it is told to, a term at a time, and slowly.

print(f"terms below half a gap at the end: {(terms < fmt.spacing(one)[:, None] / 2).mean():.0%}")
sums = lp.Accumulator(add=fmt, every=every, outer="fp32")
promoted = sums.matmul(a[:8, None, :], b[:8, :, None])[:, 0, 0]
print("the same bits:", (promoted == wide[:8]).all())
print(lp.Products(accumulate=sums))

# %%
# Both errors against the length, and the walks.

fig, ax = plt.subplots()
for error, line, name, color in zip(errors, theory, ("one sum", "promoted"), ("C3", "C5")):
    ax.loglog(lengths, error, color, marker="o", lw=0, ms=9)
    ax.loglog(lengths, line, "C0--")
    ax.text(18_000, error[-1], name, color=color, va="center")
ax.text(3000, 4e-4, "random walk")
ax.axvline(every, color="C7", ls=":")
ax.set(xlabel="terms", ylabel="error / sum", xlim=(12, 60_000), ylim=(1e-5, 0.1))
ax.set_xticks([16, 128, 1024, 16_384], ["16", "128", "1,024", "16,384"])
ax.minorticks_off()
plt.savefig(f"{sys.argv[1]}/10_the_accumulator.png") if len(sys.argv) == 2 else plt.show()

# %%
# To change: `every`, to 1024 or to 16. The dotted line is where the errors part.
#
# Two exercises, solved in `solutions/10_the_accumulator.py`:
#
# 1. Round one sum with dice, `fmt.quantize(one + term, "stochastic")`. Does it follow the walk to the end?
# 2. With one format of 10 digits for pieces and for their sum, which `every` is best for 4096 terms?
