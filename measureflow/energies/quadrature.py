"""Averages of functions under Gaussian laws, with their derivatives in mean and covariance."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product

import numpy as np

from measureflow.energies.base import Energy, unsupported
from measureflow.states import Gaussian

NODES = {1: 40, 2: 20, 3: 12, 4: 8}


@cache
def hermite_rule(dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes (k, dim) and weights (k,) of the tensor Gauss-Hermite rule for N(0, I), NODES[dim] a direction."""
    x, w = np.polynomial.hermite_e.hermegauss(NODES[dim])
    nodes = np.array(list(product(x, repeat=dim)))
    weights = np.prod(np.array(list(product(w / w.sum(), repeat=dim))), axis=1)
    return nodes, weights


def gaussian_average(
    energy: Energy,
    values: Callable[[np.ndarray], np.ndarray],
    gradients: Callable[[np.ndarray], np.ndarray],
    law: Gaussian,
) -> tuple[float, np.ndarray]:
    """Return E V(X), X ~ law, and its derivatives in mean (row 0) and covariance (rows 1..d).

    d/dcov = E[Hess V] / 2 = E[grad V(X) Z^T] cov^(-1/2) / 2 with X = mean + cov^(1/2) Z (Stein). Exact for polynomials of
    degree below twice the number of nodes a direction (40, 20, 12, 8 in dimension 1 to 4).

    Raises
    ------
    UnsupportedError
        Above dimension 4, or if the covariance is singular.
    """
    if law.dim not in NODES:
        raise unsupported(energy, law, f"Gaussian up to dimension {max(NODES)}", f"This one has dimension {law.dim}.")
    nodes, weights = hermite_rule(law.dim)
    eigenvalues, vectors = np.linalg.eigh(law.cov)
    if eigenvalues[0] <= 0.0:
        raise unsupported(energy, law, "Gaussian with invertible covariance")
    scale = np.sqrt(eigenvalues)
    points = law.mean + (nodes * scale) @ vectors.T
    slopes = gradients(points) * weights[:, None]
    half = 0.5 * (slopes.T @ nodes) / scale @ vectors.T
    return float(weights @ values(points)), np.vstack([slopes.sum(axis=0), 0.5 * (half + half.T)])
