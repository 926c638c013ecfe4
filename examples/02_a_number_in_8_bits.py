"""
A number in 8 bits
==================

Eight bits name a few hundred numbers, and a format says which. What lies between them is rounded, what lies beyond them
saturates, and all formats differ in where they spend their numbers.

Question: which of the formats below holds pi best, and which hold 1000 at all?
"""

import sys

import matplotlib.pyplot as plt
import numpy as np

import lpnet as lp

plt.style.use("lpnet.slides")

# %%
# Four formats. Fixed point has equal gaps. Floating point has a few exponent bits (4 in e4m3, 5 in e5m2) and gaps
# that double from one power of two to the next. A posit spends its first bits on a run of equal digits that counts
# the exponent in steps of 4: many digits near 1, few far away. We make it ourselves, as any list of numbers is a
# format; by name it is posit8.2.


def posit8(code):
    bits = f"{code:07b}"
    run = len(bits) - len(bits.lstrip(bits[0]))
    rest = bits[run + 1 :]
    exponent = 4 * (run - 1 if bits[0] == "1" else -run) + int(rest[:2].ljust(2, "0"), 2)
    return 2.0**exponent * (1 + int(rest[2:] or "0", 2) / 2 ** len(rest[2:]))


positive = [posit8(code) for code in range(1, 128)]
posit = lp.Table((*(-v for v in positive[::-1]), 0.0, *positive), "posit8")
print("lpnet's posit8.2 has the same numbers:", posit.values == lp.format("posit8.2").values)
formats = {"fixed8.4": lp.format("fixed8.4"), "e4m3": lp.format("e4m3"), "e5m2": lp.format("e5m2"), "posit8": posit}

# %%
# Each number becomes the nearest number of the format. Pi is best in fixed point, 3.125; but 1000 is beyond its end,
# 7.9375, where it saturates, and 0.001 is nothing. e4m3 saturates at 448. e5m2 has a number near 1000, and pays for
# it with a digit everywhere: pi is 3. The posit has such a number too, and pays with digits far from 1 only.

print("format   | smallest     largest |    0.001     pi     1000")
for name, fmt in formats.items():
    low, pi, high = fmt.quantize(np.array([0.001, np.pi, 1000]))
    print(f"{name:8} | {fmt.smallest:8.1e}  {fmt.max:10.8g} | {low:8.6f} {pi:6.4g} {high:8.6g}")

# %%
# A number halfway between two neighbours goes to the one whose last bit is 0: so 1/32 becomes 0 in fixed point and
# 3/32 becomes 2/16. Near 0 the gaps of e4m3 stop shrinking, at 0.001953125: the numbers there are its subnormals.
# `lp.explain` says all that of any number.

print(lp.format("fixed8.4").quantize(np.array([1 / 32, 3 / 32])) * 16, "sixteenths")
print(lp.explain(0.003, "e4m3"))

# %%
# All positive numbers of each format, on a scale of powers of two: fixed point crowds at its end, floating point is
# even over its range, the posit is densest around 1.

fig, panels = plt.subplots(4, 1, sharex=True)
for ax, (name, fmt) in zip(panels, formats.items()):
    numbers = np.unique(fmt.quantize(np.geomspace(2.0**-24, 2.0**24, 200_001)))
    ax.vlines(numbers[numbers > 0], 0, 1, "C1", lw=1)
    ax.vlines([0.001, np.pi, 1000], -0.2, 1.4, "C2", lw=2)
    ax.set(yticks=[], ylim=(0, 1.2))
    ax.set_xscale("log", base=2)
    ax.spines["left"].set_visible(False)
    ax.set_ylabel(name, rotation=0, ha="right", va="center")
for x, name in (0.001, "0.001"), (np.pi, "π"), (1000, "1000"):
    panels[0].text(x, 1.25, name, color="C2", ha="center")
plt.savefig(f"{sys.argv[1]}/02_a_number_in_8_bits.png") if len(sys.argv) == 2 else plt.show()

# %%
# To change: draw `"e3m4"` beside the others, or 16 bits, `"bf16"` and `"fp16"`.
#
# Two exercises, solved in `solutions/02_a_number_in_8_bits.py`:
#
# 1. Which is the smallest whole number that e4m3 does not have?
# 2. How many of its numbers does each format spend between -1 and 1?
