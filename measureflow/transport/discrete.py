"""Exact optimal transport between weighted atoms: POT's network simplex, with a certificate from the dual problem.

POT reports "optimal" on its own authority: on a NaN cost it returns 0.0 with no more than a warning, and, because of an
absolute tolerance, its plans were found 0.05 per cent too dear at costs of about 1e-12 and almost three times too dear
at 1e-30, with status "optimal". So costs are scaled before the call, and afterwards a feasible pair of dual potentials
bounds what the plan can cost too much (weak duality; Santambrogio, Optimal transport for applied mathematicians,
section 1.2; Peyre and Cuturi, Computational optimal transport, sections 2.5 and 3.2).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from measureflow import _validate
from measureflow.errors import ConvergenceError
from measureflow.transport.approximate import sinkhorn_distance as sinkhorn_distance
from measureflow.transport.approximate import sliced_distance as sliced_distance
from measureflow.transport.costs import conjugate_columns, conjugate_rows, cost_matrix
from measureflow.transport.line import monotone_plan
from measureflow.transport.plan import Plan, check_laws, identity_plan, supplies, unscale
from measureflow.transport.plan import barycentric_map as barycentric_map

GAP_TOLERANCE = 1e-10  # allowed duality gap, relative to the largest cost
MARGINAL_TOLERANCE = 1e-12  # allowed L1 distance of the plan's marginals from the weights
MAX_PIVOTS = 10**7


@dataclass(frozen=True, eq=False)
class Certificate:
    """What the dual problem says about a plan.

    Attributes
    ----------
    primal : float
        Cost of the plan.
    gap : float
        Distance between `primal` and the value of the feasible potentials: a bound on the excess cost.
    marginal : float
        Larger L1 distance of the plan's marginals from the weights.
    f, g : ndarray, shapes (n,) and (m,)
        Feasible potentials, ``f_i + g_j <= cost_ij`` up to rounding.
    """

    primal: float
    gap: float
    marginal: float
    f: np.ndarray
    g: np.ndarray


def certify(
    cost: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    i: np.ndarray,
    j: np.ndarray,
    mass: np.ndarray,
    g: np.ndarray,
) -> Certificate:
    """Measure how far a plan can be from optimal, whatever potential g is proposed.

    The proposed potential is made feasible by two conjugations, ``f_i = min_j cost_ij - g_j`` over the targets that
    carry mass and then ``g_j = min_i cost_ij - f_i``; a bad g gives a larger gap but never a wrong bound.

    Parameters
    ----------
    cost : ndarray, shape (n, m)
        Costs.
    a, b : ndarray, shapes (n,) and (m,)
        Weights.
    i, j, mass : ndarray, shape (k,)
        The plan's moves.
    g : ndarray, shape (m,)
        Proposed potential; entries of targets without mass are ignored.
    """
    f = conjugate_rows(cost, np.where(b > 0.0, g, -np.inf))
    g = conjugate_columns(cost, f)
    primal = float(np.sum(mass * cost[i, j]))
    dual = float(np.sum(a * f) + np.sum(b * g))
    rows = float(np.sum(np.abs(np.bincount(i, weights=mass, minlength=len(a)) - a)))
    columns = float(np.sum(np.abs(np.bincount(j, weights=mass, minlength=len(b)) - b)))
    return Certificate(primal, abs(primal - dual), max(rows, columns), f, g)


def require_optimal(certificate: Certificate, largest: float) -> None:
    """Raise ConvergenceError if a plan is not optimal to the tolerances; `largest` is the largest cost."""
    allowed = GAP_TOLERANCE * largest
    if not certificate.gap <= allowed:
        raise ConvergenceError(
            f"optimal transport stopped at a duality gap of {certificate.gap / largest:.3g} of the largest cost, "
            f"allowed is {GAP_TOLERANCE:g}",
            residual=certificate.gap,
            tolerance=allowed,
        )
    if not certificate.marginal <= MARGINAL_TOLERANCE:
        raise ConvergenceError(
            f"optimal transport missed the weights by {certificate.marginal:.3g}, allowed is {MARGINAL_TOLERANCE:g}",
            residual=certificate.marginal,
            tolerance=MARGINAL_TOLERANCE,
        )


def _simplex(
    cost: np.ndarray, a: np.ndarray, b: np.ndarray, pivots: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return i (k,), j (k,), mass (k,) and g (m,) from POT; weights are positive."""
    import ot

    supply, demand, total = supplies(a, b)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its warnings are the certificate's business
        flow, log = ot.emd(supply, demand, cost, numItermax=pivots, log=True, center_dual=False)
    i, j = np.nonzero(flow > 0.0)
    return i, j, flow[i, j] / total, log["v"]


def _solve(cost: np.ndarray, a: np.ndarray, b: np.ndarray, pivots: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Leave out the atoms without mass, solve, and number the moves as before."""
    rows, columns = np.flatnonzero(a), np.flatnonzero(b)
    if len(rows) == len(a) and len(columns) == len(b):
        return _simplex(cost, a, b, pivots)
    i, j, mass, part = _simplex(np.ascontiguousarray(cost[np.ix_(rows, columns)]), a[rows], b[columns], pivots)
    g = np.zeros(len(b))
    g[columns] = part
    return rows[i], columns[j], mass, g


def optimal_plan(x: np.ndarray, a: np.ndarray, y: np.ndarray, b: np.ndarray, p: int = 2, max_pivots: int = MAX_PIVOTS) -> Plan:
    """Return an optimal plan between weighted atoms for the cost ``|x - y|^p``, with its certificate.

    In one dimension the plan is the monotone one. Equal laws given by equal arrays keep every atom in place. Equal
    weights are solved in whole numbers, so that n atoms are matched to n atoms by a permutation and the masses are
    exactly 1/n.

    Parameters
    ----------
    x, a : ndarray, shapes (n, d) and (n,)
        Source atoms and weights (nonnegative, sum 1 to 1e-9; divided by their sum).
    y, b : ndarray, shapes (m, d) and (m,)
        Target atoms and weights.
    p : int
        1 or 2.
    max_pivots : int
        Largest number of pivots of the network simplex.

    Returns
    -------
    Plan
        ``plan.cost`` is ``W_p^p``; ``plan.gap`` bounds its excess.

    Raises
    ------
    ValueError, TypeError
        If an argument is bad or, in two and more dimensions, the cost matrix would be larger than
        `measureflow.transport.costs.MAX_COST_BYTES` (1 GiB); the solver takes some five times that matrix.
    ConvergenceError
        If the plan's certificate fails: the duality gap is above 1e-10 of the largest cost, or the marginals are off
        by more than 1e-12 in L1.
    """
    x, a, y, b = check_laws(x, a, y, b)
    p = int(_validate.choice("p", p, (1, 2)))
    max_pivots = _validate.integer("max_pivots", max_pivots, least=1)
    if np.array_equal(x, y) and np.array_equal(a, b):
        return identity_plan(a, np.zeros(len(a)), np.zeros(len(b)))
    if x.shape[1] == 1:
        return monotone_plan(x[:, 0], a, y[:, 0], b, p)
    cost, power = cost_matrix(x, y, p)
    i, j, mass, g = _solve(cost, a, b, max_pivots)
    certificate = certify(cost, a, b, i, j, mass, g)
    require_optimal(certificate, float(cost.max()))
    f, g = np.ldexp(certificate.f, power), np.ldexp(certificate.g, power)
    return Plan(i, j, mass, unscale(certificate.primal, power), unscale(certificate.gap, power), f, g)
