"""The debiased entropic transport cost to a target."""

from __future__ import annotations

import warnings
from typing import final

import numpy as np

from measureflow import _validate as check
from measureflow.energies.base import Energy, unsupported
from measureflow.errors import ConvergenceError
from measureflow.states import Histogram, Law, Particles, Quantiles, State, atoms
from measureflow.transport.costs import cost_matrix

ROUGH = 1e-2  # miss of the weights at which Newton steps take over
NEWTON_STEPS = 40
RIDGE = 1.0 + 1e-10  # for atoms whose potential does not matter, far from all others
LONGEST = 3.0  # largest change of a potential in a Newton step, in units of epsilon
STEEPEST = 650.0  # largest cost in units of epsilon for which the kernel exp(-cost/epsilon) serves; above it logarithms do

Mean = tuple[float, np.ndarray]


@final
class SinkhornDivergence(Energy):
    """E(mu) = OT(mu, target) - OT(mu, mu)/2 - OT(target, target)/2 with the entropic cost OT for |x - y|^2 / 2.

    OT(mu, nu) = min over plans P of int |x - y|^2/2 dP + epsilon KL(P | mu x nu). E is 0 at the target, goes to W2^2/2 as
    epsilon goes to 0 (`SquaredWasserstein`), and to half the squared distance of the means as epsilon goes to infinity.

    Source: Feydy et al., Interpolating between optimal transport and MMD using Sinkhorn divergences, AISTATS 2019.

    Parameters
    ----------
    target : Particles, Quantiles or Histogram
        The target's atoms.
    epsilon : float
        Positive, in units of the cost: details of the target below sqrt(epsilon) are not seen.
    tolerance : float
        Largest L1 distance of the plans' marginals from the weights.
    max_iterations : int
        Largest number of Sinkhorn iterations for a plan.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; at evaluation, on states other than Particles and Quantiles or of another dimension.
    ConvergenceError
        At evaluation, if a plan misses the weights by more than the tolerance, as may be for small epsilon.

    Notes
    -----
    POT's Sinkhorn iterations are followed by Newton steps for the dual (Brauer, Clason, Lorenz and Wirth, 2017), which end at the
    tolerance where iterations alone would crawl; all with n x n and n x m matrices, for a few thousand atoms. The gradient at an
    atom is the mean of its partners in the plan of mu with itself less the mean of its partners in the target.

    Examples
    --------
    >>> from measureflow import Particles
    >>> SinkhornDivergence(Particles([[2.0]]), 0.1).gradient(Particles([[1.0]]))
    array([[-1.]])
    """

    def __init__(self, target: Law, epsilon: float, *, tolerance: float = 1e-8, max_iterations: int = 1000) -> None:
        self.target = check.instance("target", target, (Particles, Quantiles, Histogram), "Particles, Quantiles or a Histogram")
        self.epsilon = check.scalar("epsilon", epsilon, above=0.0)
        self.tolerance = check.scalar("tolerance", tolerance, above=0.0)
        self.max_iterations = check.integer("max_iterations", max_iterations, least=1)
        points, weights = atoms(self.target)
        held = weights > 0.0
        self._points, self._weights = points[held], weights[held]
        self._own: float | None = None

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        if not isinstance(state, (Particles, Quantiles)):
            raise unsupported(self, state, "Particles and Quantiles")
        if state.dim != self.target.dim:
            raise ValueError(f"target has dimension {self.target.dim}, the state has dimension {state.dim}")
        points, weights = atoms(state)
        if self._own is None:
            self._own = self._cost(self._points, self._weights, self._points, self._weights)[0]
        cross, goals = self._cost(points, weights, self._points, self._weights)
        own, partners = self._cost(points, weights, points, weights)
        return cross - 0.5 * own - 0.5 * self._own, (partners - goals).reshape(state.coordinates.shape)

    def _costs(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return |x_i - y_j|^2 / (2 epsilon)."""
        cost, power = cost_matrix(x, y, 2)
        with np.errstate(over="ignore"):
            cost = np.ldexp(cost, power - 1, out=cost)
            cost /= self.epsilon
        if not np.all(np.isfinite(cost)):
            raise ValueError(f"epsilon must fit the squared distances of the atoms, got {self.epsilon:g}")
        return cost

    def _cost(self, x: np.ndarray, a: np.ndarray, y: np.ndarray, b: np.ndarray) -> Mean:
        """Return the entropic cost of two laws and the mean partner in y of each atom of x."""
        from measureflow._threads import one_blas_thread

        cost = self._costs(x, y)
        with one_blas_thread(), np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what POT warns about is checked below
            f, g, plan = _polish(cost, a, b, _start(cost, a, b, self.max_iterations), 0.1 * self.tolerance)
        rows, columns = plan.sum(axis=1), plan.sum(axis=0)
        value = self.epsilon * float(a @ (f - np.log(a)) + b @ (g - np.log(b)) + 1.0 - rows.sum())
        missed = float(max(np.sum(np.abs(rows - a)), np.sum(np.abs(columns - b))))
        if not (missed <= self.tolerance and np.isfinite(value)):
            raise ConvergenceError(
                f"Sinkhorn missed the weights by {missed:.3g} after at most {self.max_iterations} iterations, allowed is "
                f"{self.tolerance:g}; take a larger epsilon than {self.epsilon:g}, or SquaredWasserstein",
                residual=missed,
                tolerance=self.tolerance,
            )
        return value, (plan @ y) / rows[:, None]

    def __repr__(self) -> str:
        return f"SinkhornDivergence({self.target!r}, {self.epsilon:g})"


def _start(cost: np.ndarray, a: np.ndarray, b: np.ndarray, iterations: int) -> np.ndarray:
    """Return the second potential, in units of epsilon, after POT's Sinkhorn iterations; the plan is right to about `ROUGH`."""
    import ot

    options = {"numItermax": iterations, "stopThr": ROUGH / np.sqrt(len(b)), "log": True}
    if float(cost.max()) < STEEPEST:
        potential = np.log(ot.sinkhorn(a, b, cost, 1.0, method="sinkhorn", **options)[1]["v"])
        if np.all(np.isfinite(potential)):
            return np.asarray(potential)
    return np.asarray(ot.sinkhorn(a, b, cost, 1.0, method="sinkhorn_log", **options)[1]["log_v"])


def _polish(
    cost: np.ndarray, a: np.ndarray, b: np.ndarray, g: np.ndarray, goal: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return potentials f, g and the plan exp(f + g - cost) after Newton steps for g of the dual, f being the best one for it.

    Its Hessian is diag(columns) - P' diag(1/a) P, of which constants are the null space.
    """
    from scipy.linalg import LinAlgError, solve

    for step in range(NEWTON_STEPS + 1):
        f = np.log(a) - _log_sum_exp(g - cost)
        plan = np.exp(f[:, None] + g - cost)
        columns = plan.sum(axis=0)
        if step == NEWTON_STEPS or not np.sum(np.abs(columns - b)) > goal:
            break
        hessian = np.diag(RIDGE * columns) + np.outer(b, b) - plan.T @ (plan / a[:, None])
        try:
            move = solve(hessian, b - columns, assume_a="pos", overwrite_a=True, check_finite=False)
        except (LinAlgError, ValueError):
            break
        g = g + move * min(1.0, LONGEST / float(np.max(np.abs(move))))
    return f, g, plan


def _log_sum_exp(z: np.ndarray) -> np.ndarray:
    """Return log sum_j exp(z_ij), shape (n,)."""
    top = z.max(axis=1)
    return np.asarray(top + np.log(np.exp(z - top[:, None]).sum(axis=1)))
