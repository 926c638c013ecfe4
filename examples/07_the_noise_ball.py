"""
The noise ball, and the way out
===============================

SGD with rounded weights never comes to rest: it stays in a ball around the best weights, and the coarser the grid, the
larger the ball. The average of the weights that it visits walks to the centre of the ball all the same, as fast as if
nothing had been rounded. That average is SWALP, and these are its two theorems.

Question: can the average come nearer to the best weights than any number of the format is?
"""

import sys

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Ellipse

import lpnet as lp

plt.style.use("lpnet.slides")

# %%
# The loss is a bowl over two weights, steep along one direction and flat along the other, and its lowest point lies
# between the numbers of all three formats below. A gradient comes with noise, as from a batch of samples.

steep, turn = np.array([1, 0.5]), np.array([[0.8, -0.6], [0.6, 0.8]])
A = turn * steep @ turn.T  # loss(w) = (w - best) A (w - best) / 2
best, noise, lr = np.array([0.075, -0.05]), 0.2, 0.02


def squared_distance(w):
    return ((w - best) ** 2).sum(-1)


# %%
# After the gradient, both methods are one line each. SGD-LP rounds the new weights stochastically. SWALP keeps their
# mean in full precision and never feeds it back. We run 400 copies side by side, so that we see expectations, and
# draw one of them: the one that is farthest out when the averaging starts.

T = np.unique(np.geomspace(1, 20_000, 80).astype(int))  # where we measure


def train(fmt, copies=400, warm_up=500):
    lp.manual_seed(0)
    rng, w, mean, drawn, distances, path = np.random.default_rng(0), np.zeros((copies, 2)), 0, 0, [], []
    for t in range(1 - warm_up, T[-1] + 1):
        gradient = (w - best) @ A + noise * rng.standard_normal(w.shape)
        w = fmt.quantize(w - lr * gradient, "stochastic")  # SGD-LP
        if t > 0:
            mean = mean + (w - mean) / t  # SWALP
            drawn = squared_distance(w).argmax() if t == 1 else drawn
            path.append((w[drawn], mean[drawn]))
        if t in T:
            distances.append((squared_distance(w).mean(), squared_distance(mean).mean()))
    return np.array(distances).T, np.array(path).swapaxes(0, 1)  # (2, len(T)) and (2, steps, 2)


# %%
# The theory knows nothing of the run. A step adds two variances to each weight: that of the noise, and gap^2 G, that
# of rounding a step of deviation lr s. The bowl pulls back, and SGD-LP's spread settles at S, which in turn adds to
# s. From one step to the next a weight keeps the share rho of its distance, and so we know how fast the mean settles.


def theory(gap):
    S, rho, k, n = 0, 1 - lr * steep, np.arange(1, 400), T[:, None]
    for _ in range(9):
        s = np.sqrt(noise**2 + (steep**2 * S).mean())
        G = 1 / 6 - (np.exp(-2 * (np.pi * k * lr * s / gap) ** 2) / (np.pi * k) ** 2).sum()
        S = ((lr * noise) ** 2 + gap**2 * G) / (1 - rho**2)
    return S.sum(), (S / n * ((1 + rho) / (1 - rho) - 2 * rho * (1 - rho**n) / (n * (1 - rho) ** 2))).sum(1)


# %%
# Each dot is a pair of numbers of the format, the larger the more often SGD-LP was there.

print("squared distance, in thousandths\nbits | SGD-LP  theory |  SWALP  theory | nearest numbers")
fig, panels = plt.subplots(2, 3, figsize=(9.6, 6.8), sharex="row", sharey="row")
for bits, bowl, curve in zip((4, 6, 8), *panels):
    fmt = lp.format(f"fixed{bits}.{bits - 1}")
    distances, (w, mean) = train(fmt)
    (floor, line), nearest = theory(fmt.smallest), squared_distance(fmt.quantize(best))
    row = np.array([distances[0].mean(), floor, distances[1, -1], line[-1], nearest])
    print("{:4} | {:6.2f}  {:6.2f} | {:6.3f}  {:6.3f} | {:.3f}".format(bits, *1000 * row))

    for depth in range(1, 7):
        bowl.add_patch(Ellipse(best, *depth / 4 / np.sqrt(steep), angle=36.87, fill=False, ec="0.8", lw=1.5))
    points, visits = np.unique(w, axis=0, return_counts=True)
    bowl.scatter(*points.T, 1 + (150 * fmt.smallest) ** 2 * (visits / visits.max()) ** 0.5, "C1", linewidths=0)
    bowl.plot(*mean[T - 1].T, "w", lw=6)
    bowl.plot(*mean[T - 1].T, "C2", lw=3)
    bowl.plot(*best, "k+", ms=16, mew=2)
    bowl.set(title=f"{bits} bits", aspect=1, xlim=best[0] + [-0.5, 0.5], ylim=best[1] + [-0.5, 0.5])
    bowl.axis("off")
    curve.loglog(T, distances[0], "C1", T[::-5], distances[1, ::-5], "C2o")
    curve.loglog(T, line, "C0--", T, 0 * line + floor, "C0--", T, 0 * line + nearest, "C7:", lw=2)
    curve.set(xticks=[1, 100, 10_000], ylim=(7e-6, 0.12))
    curve.minorticks_off()
panels[1, 0].set_ylabel("squared distance\nto the best")
panels[1, 1].set_xlabel("steps of averaging, T")
labels = (0, 1, 0.045, "SGD-LP", "C1"), (0, 700, 0.0095, "SWALP", "C2"), (1, 3, 1.5e-3, "theory", "C0")
for panel, x, y, word, color in (*labels, (0, 1, 8e-4, "nearest\nnumber", "C7")):
    panels[1, panel].text(x, y, word, color=color)
plt.savefig(f"{sys.argv[1]}/07_the_noise_ball.png") if len(sys.argv) == 2 else plt.show()

# %%
# The ball's squared radius goes with the gap: two bits more, about a quarter of it. The average's falls as 1/T, as
# without rounding (Theorem 1), and crosses the dotted line: yes, it comes nearer to the best weights than any number
# of the format is. Where the loss is no bowl, its third derivative leaves the average a rest of the order of gap^2,
# where SGD-LP's is of the order of the gap: half the bits are enough for the same ball (Theorem 2).
#
# To change: the learning rate. The theory says what happens to both.
#
# Two exercises, solved in `solutions/07_the_noise_ball.py`:
#
# 1. Round to nearest. Why does the average not find the way out?
# 2. Keep the average itself in 6 bits, rounded stochastically after each step. How near does it come?
