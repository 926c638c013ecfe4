"""Linear regression with rounded weights: the problem, and what theory predicts.

The stationary covariance S of the weights follows from one step, w <- Q(w - lr g): S = (1 - lr A) S (1 - lr A) +
lr^2 C + D with the Hessian A, the covariance C of the gradient at one sample, and D the variance of stochastic
rounding; the average over T steps then has T E|avg - w*|^2 -> tr A^-1 (C + D / lr^2) A^-1. Source: Yang et al.,
"SWALP", ICML 2019, section 4 and Theorem 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from .sgd import Array


@dataclass(frozen=True)
class LinearProblem:
    """The mean over samples of (x w - y)^2 / 2."""

    X: Array  # (n, d)
    y: Array  # (n,)

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.y)

    @property
    def hessian(self) -> Array:
        """X^T X / n, (d, d)."""
        return self.X.T @ self.X / self.n

    @property
    def optimum(self) -> Array:
        """The least-squares solution, (d,)."""
        return np.linalg.solve(self.hessian, self.X.T @ self.y / self.n)

    def gradient(self, w: Array, i: Array) -> Array:
        """Return the gradients (R, d) of samples i (R,) at w (R, d)."""
        x = self.X[i]
        return x * (np.einsum("rd,rd->r", x, w) - self.y[i])[:, None]


def problem(d: int, n: int) -> LinearProblem:
    """Return n samples of d features, of variances 0.5 to 1.5, and noise of deviation 0.5 on y."""
    rng = np.random.Generator(np.random.Philox(key=6))
    X = rng.standard_normal((n, d)) * np.sqrt(np.linspace(0.5, 1.5, d))
    return LinearProblem(X, X @ rng.uniform(-1, 1, d) + 0.5 * rng.standard_normal(n))


def rounding_variance(shift: Array) -> Array:
    """Return the variance, in squared gaps, of rounding a number of the grid plus `shift` gaps stochastically."""
    up = shift % 1.0
    return up * (1 - up)


def stationary(p: LinearProblem, lr: float, gap: float) -> tuple[Array, Array]:
    """Return the covariance (d, d) of the weights in the long run, and what one step adds to it, lr^2 C + D.

    gap is that of the weights' grid, 0 for float. The residual of a sample is taken as normal, with the deviation
    that S gives it, of which 16 quantiles are used; its gradient then says where on the grid rounding begins.
    """
    A, residual = p.hessian, p.X @ p.optimum - p.y
    a, V = np.linalg.eigh(A)
    z = [NormalDist().inv_cdf((j + 0.5) / 16) for j in range(16)]
    S = np.zeros_like(A)
    for _ in range(12):
        variance = np.einsum("nd,de,ne->n", p.X, S, p.X)
        C = (p.X * (variance + residual**2)[:, None]).T @ p.X / p.n - A @ S @ A
        D = np.zeros(len(A))
        if gap:
            residuals = (residual + np.sqrt(variance) * q for q in z)
            D = gap**2 * np.mean([rounding_variance(-lr * p.X * r[:, None] / gap).mean(0) for r in residuals], axis=0)
        step = lr**2 * C + np.diag(D)
        S = _lyapunov(step, 1 - lr * a, V)
    return S, step


def _lyapunov(step: Array, q: Array, V: Array) -> Array:
    """Return the S with S = Q S Q + step, where Q has eigenvalues q and eigenvectors V."""
    return V @ (V.T @ step @ V / (1 - np.outer(q, q))) @ V.T


def averaged(p: LinearProblem, S: Array, lr: float, steps: int) -> float:
    """Return E|avg - w*|^2 of the mean of `steps` successive weights of stationary covariance S.

    Along an eigenvector of A with eigenvalue a, they are an autoregression with coefficient 1 - lr a.
    """
    a, V = np.linalg.eigh(p.hessian)
    rho = 1 - lr * a
    one = (1 + rho) / (1 - rho) - 2 * rho * (1 - rho**steps) / (steps * (1 - rho) ** 2)
    return float((np.diag(V.T @ S @ V) * one / steps).sum())
