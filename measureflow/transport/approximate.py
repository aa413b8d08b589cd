"""Approximate transport distances on request: entropic (Sinkhorn) and sliced, by POT, checked after the call.

The exact distance of `measureflow.transport.discrete` is both faster and sharper up to several thousand atoms; these
are here for comparison with work that uses them.
"""

from __future__ import annotations

import math
import warnings

import numpy as np

from measureflow import _validate
from measureflow.errors import ConvergenceError
from measureflow.transport.costs import cost_matrix
from measureflow.transport.plan import check_laws, exponent, unscale

SINKHORN_TOLERANCE = 1e-6  # allowed L1 distance of the entropic plan's marginals from the weights


def sinkhorn_distance(
    x: np.ndarray,
    a: np.ndarray,
    y: np.ndarray,
    b: np.ndarray,
    p: int = 2,
    epsilon: float = 0.05,
    max_iterations: int = 5000,
) -> float:
    """Return ``<P, C>^(1/p)`` for the entropic plan P: the transport cost alone, without the entropy, not debiased.

    P minimises ``<P, C> + reg sum P log P`` with ``reg = epsilon * mean cost``, the mean under the product law
    (Cuturi 2013; Peyre and Cuturi, Computational optimal transport, chapter 4), in the log domain. The value lies
    above the exact distance and tends to it as epsilon goes to 0; it is not 0 between equal laws. Halving epsilon
    about doubles the iterations or worse; at 0.05 the distance of unit Gaussian clouds one apart is some per cent too
    large.

    Parameters
    ----------
    x, a : ndarray, shapes (n, d) and (n,)
        Source atoms and weights (nonnegative, sum 1).
    y, b : ndarray, shapes (m, d) and (m,)
        Target atoms and weights.
    p : int
        1 or 2.
    epsilon : float
        Regularisation relative to the mean cost, > 0.
    max_iterations : int
        Largest number of Sinkhorn iterations.

    Raises
    ------
    ConvergenceError
        If the plan misses the weights by more than 1e-6 in L1 after `max_iterations`.
    """
    import ot

    x, a, y, b = check_laws(x, a, y, b)
    p = int(_validate.choice("p", p, (1, 2)))
    epsilon = _validate.scalar("epsilon", epsilon, above=0.0)
    max_iterations = _validate.integer("max_iterations", max_iterations, least=1)
    rows, columns = a > 0.0, b > 0.0
    a, b = a[rows], b[columns]
    cost, power = cost_matrix(x[rows], y[columns], p)
    mean = float(a @ cost @ b)
    if mean == 0.0:
        return 0.0
    cost /= mean
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it warns about is checked below
        plan = ot.sinkhorn(
            a,
            b,
            cost,
            epsilon,
            method="sinkhorn_log",
            numItermax=max_iterations,
            stopThr=0.5 * SINKHORN_TOLERANCE / math.sqrt(len(b)),
        )
    missed = float(max(np.sum(np.abs(plan.sum(axis=1) - a)), np.sum(np.abs(plan.sum(axis=0) - b))))
    if not missed <= SINKHORN_TOLERANCE:
        raise ConvergenceError(
            f"Sinkhorn missed the weights by {missed:.3g} after {max_iterations} iterations, "
            f"allowed is {SINKHORN_TOLERANCE:g}; take a larger epsilon than {epsilon:g} or the exact method",
            residual=missed,
            tolerance=SINKHORN_TOLERANCE,
        )
    return float(unscale(mean * float(np.sum(plan * cost)), power) ** (1.0 / p))


def sliced_distance(
    x: np.ndarray,
    a: np.ndarray,
    y: np.ndarray,
    b: np.ndarray,
    p: int = 2,
    projections: int = 100,
    seed: int = 0,
) -> float:
    """Return the sliced distance: ``(mean of W_p^p over random directions)^(1/p)``.

    Source: Bonneel, Rabin, Peyre and Pfister, Sliced and Radon Wasserstein barycenters of measures, 2015. The same
    seed gives the same directions.

    Parameters
    ----------
    x, a : ndarray, shapes (n, d) and (n,)
        Source atoms and weights (nonnegative, sum 1).
    y, b : ndarray, shapes (m, d) and (m,)
        Target atoms and weights.
    p : int
        1 or 2.
    projections : int
        Number of directions.
    seed : int
        Seed of the directions, 0 to 2^32 - 1.

    Raises
    ------
    ConvergenceError
        If POT returned a number that is not a distance.
    """
    import ot

    x, a, y, b = check_laws(x, a, y, b)
    p = int(_validate.choice("p", p, (1, 2)))
    projections = _validate.integer("projections", projections, least=1)
    seed = _validate.integer("seed", seed, least=0, most=2**32 - 1)
    size = exponent(x, y)
    value = float(ot.sliced_wasserstein_distance(np.ldexp(x, -size), np.ldexp(y, -size), a, b, projections, p=p, seed=seed))
    if not 0.0 <= value < math.inf:
        raise ConvergenceError(f"the sliced distance came out as {value!r}, which is not a distance")
    return unscale(value, size)
