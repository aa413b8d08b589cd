"""Averages of functions under Gaussian laws, with their derivatives in mean and covariance."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product

import numpy as np

from measureflow.energies.base import Energy, unsupported
from measureflow.states import Gaussian

NODES = {1: 40, 2: 20, 3: 12, 4: 8}
FINE = {1: 160, 2: 60, 3: 30, 4: 16}
"""Nodes a direction by dimension: for functions as smooth as their law, and for those with poles nearby."""


@cache
def hermite_rule(dim: int, count: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes (k, dim) and weights (k,) of the tensor Gauss-Hermite rule for N(0, I), `count` or NODES[dim] a direction."""
    x, w = np.polynomial.hermite_e.hermegauss(NODES[dim] if count is None else count)
    nodes = np.array(list(product(x, repeat=dim)))
    weights = np.prod(np.array(list(product(w / w.sum(), repeat=dim))), axis=1)
    return nodes, weights


def gaussian_average(
    energy: Energy,
    values: Callable[[np.ndarray], np.ndarray],
    gradients: Callable[[np.ndarray], np.ndarray],
    law: Gaussian,
    fine: bool = False,
) -> tuple[float, np.ndarray]:
    """Return E V(X), X ~ law, and its derivatives in mean (row 0) and covariance (rows 1..d), see `gaussian_gradient`.

    `fine` takes more nodes, for functions with poles near the line.

    Raises
    ------
    UnsupportedError
        Above dimension 4, or if the covariance is singular.
    """
    points, weights = gaussian_nodes(energy, law, fine)
    return float(weights @ values(points)), gaussian_gradient(law, gradients(points), fine)


def gaussian_nodes(asks: object, law: Gaussian, fine: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return points (k, d) and weights (k,) of the Gauss-Hermite rule of a Gaussian; `asks` is named where there is none."""
    if law.dim not in NODES:
        raise unsupported(asks, law, f"Gaussian up to dimension {max(NODES)}", f"This one has dimension {law.dim}.")
    nodes, weights = hermite_rule(law.dim, FINE[law.dim] if fine else None)
    try:
        root = np.linalg.cholesky(law.cov)
    except np.linalg.LinAlgError:
        raise unsupported(asks, law, "Gaussian with invertible covariance") from None
    return law.mean + nodes @ root.T, weights


def gaussian_gradient(law: Gaussian, slopes: np.ndarray, fine: bool = False) -> np.ndarray:
    """Return the derivatives of E V(X) in mean (row 0) and covariance (rows 1..d) from grad V at the nodes, (k, d).

    With X = mean + L Z and L the Cholesky factor of cov, d/dL = E[grad V(X) Z^T] is exact for the rule as it stands, and so is
    d/dcov = sym(L^-T Phi(L^T d/dL) L^-1), Phi the lower half (Murray 2016); for smooth V it is E[Hess V] / 2. Exact for
    polynomials of degree below twice the nodes a direction (40, 20, 12, 8 in dimension 1 to 4; `fine`: 160, 60, 30, 16).
    """
    nodes, weights = hermite_rule(law.dim, FINE[law.dim] if fine else None)
    root = np.linalg.cholesky(law.cov)
    weighted = slopes * weights[:, None]
    lower = np.tril(root.T @ np.tril(weighted.T @ nodes))
    lower[np.diag_indices(law.dim)] *= 0.5
    inverse = np.linalg.inv(root)
    half = 0.5 * inverse.T @ lower @ inverse
    return np.vstack([weighted.sum(axis=0), half + half.T])
