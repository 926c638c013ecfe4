"""
Rotate the outliers away: solutions
===================================
"""

import numpy as np

import lpnet as lp

rng = np.random.default_rng(0)
x, W = rng.standard_normal((256, 64)), rng.standard_normal((64, 64))
loud = x.copy()
loud[:, [5, 40]] *= 20


def hadamard(n):
    if n == 1:
        return np.ones((1, 1))
    H = hadamard(n // 2)
    return np.block([[H, H], [H, -H]]) / np.sqrt(2)


def error(fmt, x, turn):
    a, b = (lp.Operand(fmt)(operand @ turn, axis=1) for operand in (x, W))
    return np.linalg.norm(a @ b.T - x @ W.T) / np.linalg.norm(x @ W.T)


turns = {1: np.eye(64), 16: np.kron(np.eye(4), hadamard(16)), 32: np.kron(np.eye(2), hadamard(32))}

# %%
# 1. Nothing, it is worse. The largest number of a block is rounded hardly at all, and here it makes most of the
# product; floating point has fine gaps for its small neighbours, too. Rotated, all of them have errors. A rotation is
# for wide blocks and for integers.

for n in (1, 16):
    print(f"nvfp4, {n:2} neighbours | error {error('nvfp4', loud, turns[n]):.3f}")

# %%
# 2. The first column of H is all ones: it adds up a block, and positive numbers become one outlier, of the size of
# their sum. With signs drawn at random they cancel, in that column as in all others.

signs = rng.choice([-1, 1], 64)
positive = abs(x)
for name, turn in ("as they are", turns[1]), ("H", turns[32]), ("signs and H", signs[:, None] * turns[32]):
    print(f"{name:11} | error {error('bfp4:32', positive, turn):.3f}")
