"""Logistic regression: the problem, its optimum, and the bias of an average of weights spread around it.

To second order that bias is -1/2 H^-1 T[S], with the Hessian H, the third derivative T and the covariance S of the
weights, all at the optimum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from ..data import load
from .sgd import Array


@dataclass(frozen=True)
class LogisticProblem:
    """Mean cross-entropy of a linear classifier plus penalty |w|^2 / 2; the first class has logit 0.

    Weights are (classes - 1) x features, flattened: for two classes this is binary logistic regression.
    """

    X: Array  # (n, features)
    labels: Array  # (n,), in 0 .. classes - 1
    penalty: float

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.labels)

    @cached_property
    def target(self) -> Array:
        """One-hot labels without the first class, (n, classes - 1)."""
        return (self.labels[:, None] == np.arange(1, self.labels.max() + 1)).astype(float)

    @property
    def size(self) -> int:
        """Number of weights d."""
        return self.target.shape[1] * self.X.shape[1]

    def gradient(self, w: Array, i: Array) -> Array:
        """Return the gradients (R, d) of samples i (R,) at w (R, d)."""
        x, W = self.X[i], w.reshape(len(w), self.target.shape[1], -1)  # (R, features), (R, classes - 1, features)
        z = np.matmul(W, x[:, :, None])[:, :, 0]
        error = _probabilities(z) - self.target[i]
        return (error[:, :, None] * x[:, None, :]).reshape(w.shape) + self.penalty * w

    def mean_gradient(self, w: Array) -> Array:
        """Return the gradient (d,) of the objective at w (d,)."""
        W = w.reshape(self.target.shape[1], -1)
        error = _probabilities(self.X @ W.T) - self.target
        return (error.T @ self.X / self.n + self.penalty * W).ravel()

    def hessian(self, w: Array) -> Array:
        """Return the second derivative (d, d) of the objective at w (d,)."""
        p = _probabilities(self.X @ w.reshape(self.target.shape[1], -1).T)  # (n, classes - 1)
        blocks = p[:, :, None] * (np.eye(p.shape[1]) - p[:, None, :])  # (n, classes - 1, classes - 1)
        H = np.einsum("nab,ni,nj->aibj", blocks, self.X, self.X, optimize=True) / self.n
        return H.reshape(self.size, self.size) + self.penalty * np.eye(self.size)

    @cached_property
    def optimum(self) -> Array:
        """Where the gradient vanishes, (d,), by Newton's method."""
        w = np.zeros(self.size)
        for _ in range(30):
            w = w - np.linalg.solve(self.hessian(w), self.mean_gradient(w))
        return w

    def bias(self, S: Array) -> Array:
        """Return -1/2 H^-1 T[S] (d,) at the optimum for weights with second moment S (d, d) around it."""
        sizes, directions = np.linalg.eigh(S)
        w, h = self.optimum, 1e-3
        T = sum(
            size * (self.mean_gradient(w + h * u) + self.mean_gradient(w - h * u)) / h**2
            for size, u in zip(sizes, directions.T, strict=True)
        )
        return -0.5 * np.linalg.solve(self.hessian(w), T)


def _probabilities(z: Array) -> Array:
    """Return the softmax of logits (n, classes - 1) beside one of 0, without that one."""
    top = np.maximum(z.max(axis=-1, keepdims=True), 0)
    e = np.exp(z - top)
    return e / (e.sum(axis=-1, keepdims=True) + np.exp(-top))


def problem(
    name: str, classes: tuple[int, ...], samples: int, components: int, penalty: float, data_dir: Path | None
) -> LogisticProblem:
    """Return the first `samples` training images of the classes, as whitened principal components and a constant."""
    train, _ = load(name, data_dir)
    chosen = np.flatnonzero(np.isin(train.labels, classes))[:samples]
    Z = train.scaled(chosen).reshape(len(chosen), -1).astype(float)  # (n, C, H, W) -> (n, C*H*W)
    U, _, _ = np.linalg.svd(Z - Z.mean(axis=0), full_matrices=False)
    X = np.hstack([U[:, :components] * math.sqrt(len(chosen)), np.ones((len(chosen), 1))])
    return LogisticProblem(X, np.searchsorted(classes, train.labels[chosen]), penalty)
