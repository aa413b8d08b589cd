"""An optimal plan kept while its atoms move along the geodesic, by proof instead of by solving again."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from measureflow.transport.costs import BLOCK_ENTRIES, cost_matrix
from measureflow.transport.plan import Plan, unscale

LEAD = 1e-12  # by how much of the largest cost every other target must be worse
ON_THE_WAY = 1e-7  # allowed distance from the geodesic, relative to the way that is left
ROUNDING = 1e-14  # and to the targets themselves


def kept_plan(plan: Plan, old: np.ndarray, x: np.ndarray, y: np.ndarray) -> Plan | None:
    """Return the optimal plan of moved atoms if it is the old one and no other is optimal, else None.

    For atoms matched one to one, whose weights do not change. If they have gone the part s of their ways to y_sigma and g is a
    potential of the old plan, then

        |x_i - y_j|^2 - (1 - s) g_j = (1 - s) (|old_i - y_j|^2 - g_j) + s |y_sigma(i) - y_j|^2 - s (1 - s) |old_i - y_sigma(i)|^2

    is smallest for j = sigma(i), and for no other j: (1 - s) g is a potential of the same matching, and no other is optimal
    (Villani, Topics in optimal transportation, 2003, section 5.1). This is only guessed from the way that is left. What proves
    the answer is a check of all pairs, O(n^2 d), that every atom strictly prefers its own target at the guessed potential.

    Parameters
    ----------
    plan : Plan
        Optimal from `old` to `y`, with potentials, for the cost |x - y|^2.
    old, x : ndarray, shape (n, d)
        Source atoms before and now, of the same weights.
    y : ndarray, shape (m, d)
        Target atoms.

    Examples
    --------
    >>> from measureflow.transport import optimal_plan
    >>> x, y, a = np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([[1.0, 2.0], [0.0, 2.0]]), np.array([0.5, 0.5])
    >>> plan = optimal_plan(x, a, y, a)
    >>> kept_plan(plan, x, 0.1 * x + 0.9 * y[plan.j], y).j, kept_plan(plan, x, x[::-1], y)
    (array([1, 0]), None)
    """
    if plan.g is None or x.shape != old.shape or not len(plan.i) == len(x) == len(y):
        return None
    if not np.array_equal(plan.i, np.arange(len(x))):
        return None
    left = _part_left(old - y[plan.j], x - y[plan.j], ROUNDING * float(np.linalg.norm(y)))
    return None if left is None else _proved(plan, left, x, y)


def _part_left(before: np.ndarray, now: np.ndarray, rounding: float) -> float | None:
    """Return r in (0, 1) with now = r before, both (n, d), up to small errors; None if there is none."""
    size, rest = float(np.linalg.norm(before)), float(np.linalg.norm(now))
    if not 0.0 < rest < size < np.inf:
        return None
    return rest / size if np.linalg.norm(now - (rest / size) * before) <= ON_THE_WAY * rest + rounding else None


def _proved(plan: Plan, left: float, x: np.ndarray, y: np.ndarray) -> Plan | None:
    """Return the plan at x with the potential left * g if every atom strictly prefers its target, (n, d) and (n, d)."""
    assert plan.g is not None
    cost, power = cost_matrix(x, y, 2)
    g = left * np.ldexp(plan.g, -power)
    f, lead, n = np.empty(len(x)), LEAD * float(cost.max()), len(x)
    rows = max(1, BLOCK_ENTRIES // n)
    for start in range(0, n, rows):
        part = slice(start, min(start + rows, n))
        worth = cost[part] - g
        own = np.arange(len(worth)), plan.j[part]
        f[part] = worth[own]
        worth[own] = math.inf
        if not np.all(worth.min(axis=1) - f[part] >= lead):
            return None
    primal = float(np.sum(plan.mass * cost[plan.i, plan.j]))
    gap = abs(primal - float(np.sum(plan.mass * (f + g[plan.j]))))
    return replace(plan, cost=unscale(primal, power), gap=unscale(gap, power), f=np.ldexp(f, power), g=np.ldexp(g, power))
