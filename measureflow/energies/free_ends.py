"""Weights of the gaps between quantiles, for which self-similar solutions are followed exactly.

Where a law ends freely its quantile function X is steep: like s^((m-1)/m) at the front of a porous medium flow (m > 1), and
without bound in the tails of the heat flow (m = 1) and of fast diffusion (m < 1). There differences of quantiles are no
approximation of X', whatever their number n. But the profile is known: all flows X' = -d/ds P, P = density^m, have at free ends
that of the self-similar solution of Barenblatt, Z with lambda Z = -d/ds P (theory, S3-S5): a symmetric Beta law for m > 1, the
normal law for m = 1, Student's for m < 1. The sum of v(gap) over gaps k = 1 .. n - 1 gets the weights

    w_k = -lambda (1/n) sum_{j<k} z_j  (n (z_k - z_{k-1}))^m,      z_j = Z((j + 1/2)/n),

with which the gradient at z is exactly -lambda z. Then z spreads by the exact law, for every n and step. In the interior the
weights are 1 + O(n^(-(2m-1)/m)) for m > 1 and 1 + O(1/n) for m = 1; at the ends they stay a few percent from 1. Other laws with
fronts are followed to the order 3/2 in 1/n for m = 2 (1 without weights), with tails lighter than normal ones to the order 1.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

LEAST = 1.0 / 3.0
"""Up to this exponent self-similar solutions have no second moment and are no points of the space: all weights are 1."""


@lru_cache(maxsize=16)
def gap_weights(m: float, n: int) -> np.ndarray:
    """Return the weights (n - 1,) of the gaps between n quantiles under int rho^m / (m - 1), or the entropy for m = 1."""
    if m <= LEAST:
        weights = np.ones(n - 1)
    else:
        z, log_rate = profile(m, n)
        weights = np.exp(log_rate + np.log(-np.cumsum(z[:-1]) / n) + m * np.log(n * np.diff(z)))
    weights.flags.writeable = False
    return weights


def profile(m: float, n: int) -> tuple[np.ndarray, float]:
    """Return the quantiles z (n,) of a self-similar solution at the levels (i + 1/2)/n, and log(lambda), lambda its rate.

    The flow of r z, r > 0, stays of this form, with r' = lambda r^(-m): from a Dirac mass r^(m + 1) = (m + 1) lambda t. z is the
    quantile function on [-1, 1] of the density proportional to (1 - x^2)^(1/(m-1)) for m > 1, of N(0, 1) for m = 1, and of
    Student's law with (1 + m)/(1 - m) degrees of freedom for m < 1.
    """
    from scipy.special import betaincinv, gammaln, ndtri, stdtrit

    lower = (np.arange(n // 2) + 0.5) / n
    if m == 1.0:
        half, factor, log_height = ndtri(lower), 1.0, 0.0
    elif m > 1.0:
        a = m / (m - 1.0)
        half = 2.0 * np.sin(np.arcsin(2.0 * lower - 1.0) / 3.0) if m == 2.0 else 2.0 * betaincinv(a, a, lower) - 1.0
        factor, log_height = 2.0 * a, gammaln(a + 0.5) - gammaln(a) - 0.5 * np.log(np.pi)
    else:
        nu = (1.0 + m) / (1.0 - m)
        half = stdtrit(nu, lower)
        factor = 2.0 * m / (1.0 + m)
        log_height = gammaln(0.5 * (nu + 1.0)) - gammaln(0.5 * nu) - 0.5 * np.log(nu * np.pi)
    z = np.concatenate([half, np.zeros(n % 2), -half[::-1]])
    return z, float(np.log(factor) + (m - 1.0) * log_height)
