"""A transport plan between atoms as a sparse list of moves, and the checks of weighted atoms that all solvers share."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from measureflow import _validate

MASS_TOLERANCE = 1e-9  # what the sum of the weights may differ from 1 before they are divided by it


@dataclass(frozen=True, eq=False)
class Plan:
    """An optimal plan: the mass `mass[k]` goes from source atom `i[k]` to target atom `j[k]`.

    Attributes
    ----------
    i, j : ndarray of int, shape (k,)
        Source and target indices; at most n + m - 1 moves.
    mass : ndarray, shape (k,)
        Masses moved, positive, sum 1.
    cost : float
        Sum of mass times ``|x_i - y_j|^p``, that is ``W_p^p``.
    gap : float
        Bound on what `cost` lies above the optimal cost, in units of the cost; 0.0 where the plan is optimal by theorem
        (one dimension). Rounding of the potentials alone makes it 1e-14 to 1e-12 of the largest cost, also where
        the plan is optimal to the last digit.
    f, g : ndarray, shapes (n,) and (m,), or None
        Feasible dual potentials, ``f_i + g_j <= |x_i - y_j|^p``, with ``sum a f + sum b g = cost`` up to `gap`; None in
        one dimension, where they are not computed.
    """

    i: np.ndarray
    j: np.ndarray
    mass: np.ndarray
    cost: float
    gap: float
    f: np.ndarray | None = None
    g: np.ndarray | None = None


def identity_plan(weights: np.ndarray, f: np.ndarray | None = None, g: np.ndarray | None = None) -> Plan:
    """Return the plan that leaves every atom of positive weight (n,) where it is, at cost 0."""
    kept = np.flatnonzero(weights)
    return Plan(kept, kept.copy(), weights[kept], 0.0, 0.0, f, g)


def barycentric_map(plan: Plan, y: np.ndarray, n: int) -> np.ndarray:
    """Return the mean target of each of the n source atoms.

    For a plan without splitting this is the transport map, exactly (a permutation of the rows of `y`).

    Parameters
    ----------
    plan : Plan
        Plan from n source atoms.
    y : ndarray, shape (m, d)
        Positions of the target atoms.
    n : int
        Number of source atoms.

    Returns
    -------
    ndarray, shape (n, d)

    Raises
    ------
    ValueError
        If a source atom carries no mass, so that its mean target is not defined.
    """
    y = _validate.array("y", y, ndim=2)
    n = _validate.integer("n", n, least=1)
    if int(plan.i.max()) >= n or int(plan.j.max()) >= len(y):
        raise ValueError(f"plan must fit n = {n} and y of shape {y.shape}, got indices up to {plan.i.max()} and {plan.j.max()}")
    total = np.bincount(plan.i, weights=plan.mass, minlength=n)
    if not np.all(total > 0.0):
        raise ValueError(f"plan must move mass from every source atom, got none at index {int(np.argmin(total))}")
    share = plan.mass / total[plan.i]
    result = np.zeros((n, y.shape[1]))
    np.add.at(result, plan.i, share[:, None] * y[plan.j])
    return result


def check_weights(name: str, weights: np.ndarray, n: int) -> np.ndarray:
    """Return weights (n,), nonnegative and of sum 1 to `MASS_TOLERANCE`, divided by their sum."""
    checked = _validate.array(name, weights, shape=(n,))
    if float(checked.min()) < 0.0:
        raise ValueError(f"{name} must be nonnegative, got the entry {float(checked.min())!r}")
    total = math.fsum(checked)
    if abs(total - 1.0) > MASS_TOLERANCE:
        raise ValueError(f"{name} must have sum 1, got {total!r}")
    return checked / total


def check_laws(
    x: np.ndarray, a: np.ndarray, y: np.ndarray, b: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return atoms (n, d), weights (n,), atoms (m, d), weights (m,) after checking them."""
    x = _validate.array("x", x, ndim=2)
    y = _validate.array("y", y, shape=(None, x.shape[1]))
    return x, check_weights("a", a, len(x)), y, check_weights("b", b, len(y))


def supplies(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Return supplies (n,), demands (m,) and their total; whole numbers if the weights are equal on each side.

    Whole numbers make every flow of a basic plan exact: n equal atoms are matched to n equal atoms by a permutation
    with masses 1/n.
    """
    if np.all(a == a[0]) and np.all(b == b[0]):
        n, m = len(a), len(b)
        common = math.gcd(n, m)
        return np.full(n, float(m // common)), np.full(m, float(n // common)), float(n * m // common)
    return a, b, 1.0


def exponent(*arrays: np.ndarray) -> int:
    """Return e such that every entry is below 2^e in size; scaling by a power of two does not round."""
    return math.frexp(max(float(np.max(np.abs(values), initial=0.0)) for values in arrays))[1]


def unscale(value: float, power: int) -> float:
    """Return ``value * 2**power``; a result out of range is the fault of the positions."""
    try:
        return math.ldexp(value, power)
    except OverflowError:
        raise ValueError(f"x and y must be so close that their cost is finite, got a cost of {value:g} * 2^{power}") from None
