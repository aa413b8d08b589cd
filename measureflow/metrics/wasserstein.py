"""Wasserstein distances between laws of all kinds, and the charts of the W2 space."""

from __future__ import annotations

from typing import final

import numpy as np

from measureflow import _validate as check
from measureflow.errors import UnsupportedError
from measureflow.metrics.base import Chart, Flat, Metric
from measureflow.states import Gaussian, Histogram, Law, Particles, Quantiles, State, atoms
from measureflow.transport import (
    bures_map,
    gaussian_distance,
    optimal_plan,
    sinkhorn_distance,
    sliced_distance,
    wasserstein_line,
    wasserstein_sorted,
)
from measureflow.transport.labels import labels_optimal
from measureflow.transport.laws import polyline


class _BuresChart(Chart):
    """Gaussians around N(m, S): coordinates (mean; A) stand for N(mean, A S A), A symmetric.

    |displacement|^2 = |dm|^2 + tr(dA S dA), which is W2^2 to the base as long as A is positive semidefinite.
    """

    def __init__(self, base: Gaussian) -> None:
        self.base = base
        self.origin = np.vstack([base.mean, np.eye(base.dim)])

    def state(self, z: np.ndarray) -> State:
        a = 0.5 * (z[1:] + z[1:].T)
        if np.linalg.eigvalsh(a)[0] < 0.0:
            raise ValueError("the map between Gaussians must be positive semidefinite")
        cov = a @ self.base.cov @ a
        return Gaussian(z[0], 0.5 * (cov + cov.T))

    def log(self, other: State) -> np.ndarray:
        assert isinstance(other, Gaussian)
        return np.vstack([other.mean, bures_map(self.base.cov, other.cov)])

    def pull(self, z: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        # d/dA E(A S A) = G A S + S A G with G = dE/dS; its representative X in tr(X S Y) solves (XS + SX)/2 = that
        from scipy.linalg import solve_continuous_lyapunov

        half = gradient[1:] @ z[1:] @ self.base.cov
        if np.array_equal(z[1:], np.eye(self.base.dim)):
            return np.vstack([gradient[0], gradient[1:] + gradient[1:].T])
        return np.vstack([gradient[0], solve_continuous_lyapunov(self.base.cov, 2.0 * (half + half.T))])

    def inner(self, a: np.ndarray, b: np.ndarray) -> float:
        return float(a[0] @ b[0] + np.sum((a[1:] @ self.base.cov) * b[1:]))


class _ConeChart(Flat):
    """Quantile functions: flat L2 on the cone of nondecreasing vectors."""

    def project(self, z: np.ndarray) -> np.ndarray:
        if np.all(z[1:] >= z[:-1]):
            return z
        from scipy.optimize import isotonic_regression

        return np.asarray(isotonic_regression(z).x)


@final
class Wasserstein(Metric):
    """The Wasserstein distance W_p between laws, exact unless another method is asked for.

    Parameters
    ----------
    p : {1, 2}
        Exponent. Flows need p = 2.
    method : {"auto", "sinkhorn", "sliced"}
        "auto" is exact: closed forms on the line and for Gaussians, otherwise the network simplex with a certificate from its
        dual potentials. "sinkhorn" returns the transport cost of the entropic plan, "sliced" the sliced distance; both from POT.
    epsilon : float
        Entropic regularisation of "sinkhorn", relative to the mean cost.
    projections : int
        Number of directions of "sliced".
    seed : int
        Random directions of "sliced".

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    Histograms on 1-D grids carry their mass evenly spread over each cell; in 2-D and 3-D they are atoms at the cell
    centres (an error of at most the diagonal of a cell). Two Gaussians: p = 2 by the Bures formula.

    Examples
    --------
    >>> from measureflow import Gaussian
    >>> Wasserstein().distance(Gaussian(0.0, 1.0), Gaussian(3.0, 25.0))
    5.0
    """

    def __init__(self, p: int = 2, method: str = "auto", *, epsilon: float = 0.05, projections: int = 100, seed: int = 0) -> None:
        self.p = int(check.choice("p", p, (1, 2)))
        self.method = check.choice("method", method, ("auto", "sinkhorn", "sliced"))
        self.epsilon = check.scalar("epsilon", epsilon, above=0.0)
        self.projections = check.integer("projections", projections, least=1)
        self.seed = check.seed("seed", seed, most=2**32 - 1)

    def chart(self, base: State) -> Chart:
        """Return the W2 chart: atoms with their weights, quantiles on their cone, or Gaussians by their maps."""
        if self.p != 2 or self.method != "auto":
            raise UnsupportedError(f"flows need the exact metric Wasserstein(p=2), got {self!r}")
        if isinstance(base, Particles):
            return Flat(base, base.weights[:, None])
        if isinstance(base, Quantiles):
            return _ConeChart(base, 1.0 / len(base.values))
        if isinstance(base, Gaussian):
            return _BuresChart(base)
        raise UnsupportedError(
            "flows in W2 are available for Particles, Quantiles and Gaussian, and for a Histogram by schemes and couplings that "
            f"need no charts, such as JKO(), VIM() and BDF2(); got {base!r}"
        )

    def _distance(self, a: State, b: State) -> float:
        if not isinstance(a, Law) or not isinstance(b, Law):
            raise UnsupportedError(f"Wasserstein compares laws, got {type(a).__name__} and {type(b).__name__}")
        if a.dim != b.dim:
            raise ValueError(f"a and b must be laws on the same space, got dimensions {a.dim} and {b.dim}")
        for law in (a, b):
            if isinstance(law, Histogram) and any(law.grid.periodic):
                raise UnsupportedError("Wasserstein distances on periodic grids are not available")
        if self.method != "auto":
            return self._approximate(a, b)
        if isinstance(a, Gaussian) or isinstance(b, Gaussian):
            return self._gaussian(a, b)
        if a.dim == 1:
            return self._on_line(a, b)
        if self.labels_certified(a, b):
            return self.labelled_distance(a, b)
        plan = optimal_plan(*atoms(a), *atoms(b), p=self.p)
        return float(max(plan.cost, 0.0) ** (1.0 / self.p))

    def labels_certified(self, a: State, b: State) -> bool:
        """Return whether it is certain that W2 between laws of atoms is reached by moving every atom to the one of its number.

        Schemes move atoms with their labels, so that ``sol.info["distance"]`` is W2 where this is True, and else an upper bound
        of it. The proof is for small moves, see `measureflow.transport.labels`, whatever the weights; False says nothing.
        `distance` takes the sum over the labels where this is True, and else finds an optimal plan.

        Parameters
        ----------
        a, b : State
            True is for two `Particles` of the same weights only.

        Examples
        --------
        >>> from measureflow import Particles
        >>> a, b = Particles([[0.0, 0.0], [1.0, 0.0]], [0.3, 0.7]), Particles([[0.1, 0.0], [1.0, 0.4]], [0.3, 0.7])
        >>> Wasserstein().labels_certified(a, b)
        True
        """
        if not (isinstance(a, Particles) and isinstance(b, Particles)) or self.p != 2 or self.method != "auto":
            return False
        alike = a.points.shape == b.points.shape and np.array_equal(a.weights, b.weights)
        return alike and labels_optimal(a.points, b.points)

    def _approximate(self, a: Law, b: Law) -> float:
        pairs = (*atoms(a), *atoms(b))
        if self.method == "sinkhorn":
            return float(sinkhorn_distance(*pairs, p=self.p, epsilon=self.epsilon))
        return float(sliced_distance(*pairs, p=self.p, projections=self.projections, seed=self.seed))

    def _gaussian(self, a: Law, b: Law) -> float:
        if not (isinstance(a, Gaussian) and isinstance(b, Gaussian)):
            other = b if isinstance(a, Gaussian) else a
            raise UnsupportedError(
                f"a Gaussian is compared with a Gaussian, got {type(other).__name__}; use to_gaussian(), "
                "or to_quantiles(n) in 1-D"
            )
        if self.p != 2:
            raise UnsupportedError("between Gaussians p must be 2; for p = 1 in 1-D use to_quantiles(n)")
        return gaussian_distance(a.mean, a.cov, b.mean, b.cov)

    def _on_line(self, a: Law, b: Law) -> float:
        if isinstance(a, Quantiles) and isinstance(b, Quantiles) and len(a) == len(b):
            return float(wasserstein_sorted(a.values, b.values, self.p))
        return float(wasserstein_line(polyline(a), polyline(b), self.p))

    def between(self, a: State, b: State, s: float) -> State:
        """Return the point at s of the way from a to b with labels kept; for histograms on one grid masses are mixed."""
        if isinstance(a, Histogram) and isinstance(b, Histogram) and a.grid == b.grid:
            return a.replace((1.0 - s) * a.masses + s * b.masses)
        return super().between(a, b, s)

    def _geodesic(self, a: State, b: State, s: float) -> State:
        if self.p != 2:
            raise UnsupportedError(f"geodesics need Wasserstein(p=2), got p = {self.p}")
        if isinstance(a, Particles) and isinstance(b, Particles) and a.dim == b.dim:
            plan = optimal_plan(a.points, a.weights, b.points, b.weights, p=2)
            return Particles((1.0 - s) * a.points[plan.i] + s * b.points[plan.j], plan.mass)
        if isinstance(a, Histogram) or isinstance(b, Histogram):
            raise UnsupportedError(
                "geodesics in W2 from laws on cells leave the cells: take to_particles(), or between(a, b, s), which mixes masses"
            )
        return super()._geodesic(a, b, s)

    def __repr__(self) -> str:
        return f"Wasserstein(p={self.p}" + (f", method={self.method!r})" if self.method != "auto" else ")")


def is_w2(metric: Metric) -> bool:
    """Return whether a metric is the exact Wasserstein distance of order 2."""
    return isinstance(metric, Wasserstein) and metric.p == 2 and metric.method == "auto"
