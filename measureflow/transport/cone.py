"""The angle between laws on a cone: how much of two laws of atoms can be matched (Liero, Mielke and Savare 2018)."""

from __future__ import annotations

from typing import NamedTuple, final

import numpy as np

from measureflow.errors import ConvergenceError

LARGEST = 160_000
"""Pairs of atoms of the largest problem."""
HALVINGS = 30
NEWTONS = 30
SHRINK = 0.1
LEAST = 1e-12
"""Gap between the bounds of a cosine at which the search ends, if rounding has not ended it before."""
GAP = 1e-9
"""Gap between the bounds of a cosine above which the problem counts as not solved."""


@final
class Cosine(NamedTuple):
    """Bounds of the cosine of an angle: a matching reaches `least`, dual variables show that none reaches more than `most`."""

    least: float
    most: float


def matched(cosines: np.ndarray, mu: np.ndarray, nu: np.ndarray) -> Cosine:
    """Return max sum_ij c_ij sqrt(g_ij h_ij) over plans g with row sums at most mu and h with column sums at most nu.

    Its dual is the minimum of (mu.u + nu.v)/2 over u_i v_j >= c_ij^2, solved in logarithms by an interior-point method.

    Parameters
    ----------
    cosines : ndarray, shape (n, m)
        c_ij in [0, 1].
    mu, nu : ndarray, shapes (n,) and (m,)
        Positive masses, with sums near 1.

    Raises
    ------
    ConvergenceError
        If the bounds do not come closer than 1e-9.
    ValueError
        If there are more than 160,000 pairs.
    """
    if cosines.size > LARGEST:
        raise ValueError(f"there must be at most {LARGEST} pairs of atoms, got {cosines.size}")
    near = cosines > 1e-12
    rows, columns = near.any(axis=1), near.any(axis=0)
    if not rows.any():
        return Cosine(0.0, 0.0)
    problem = _Matching(cosines[np.ix_(rows, columns)], mu[rows], nu[columns])
    found = problem.solve()
    if not found.most - found.least <= GAP:
        raise ConvergenceError("the matching of two laws did not converge", found.most - found.least, GAP)
    return found


@final
class _Matching:
    """F(a, b) = (mu.exp(a) + nu.exp(b))/2 - epsilon sum log(a_i + b_j - 2 log c_ij) over the pairs with c_ij > 0."""

    def __init__(self, cosines: np.ndarray, mu: np.ndarray, nu: np.ndarray) -> None:
        self.cosines, self.mu, self.nu = cosines, mu, nu
        self.near = cosines > 1e-12
        self.floor = np.where(self.near, 2.0 * np.log(np.where(self.near, cosines, 1.0)), -np.inf)

    def slack(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return a_i + b_j - 2 log c_ij, infinite for pairs out of reach."""
        return np.asarray(a[:, None] + b - self.floor)

    def value(self, a: np.ndarray, b: np.ndarray, epsilon: float) -> float:
        s = self.slack(a, b)
        if s.min() <= 0.0:
            return float("inf")
        return float(0.5 * (self.mu @ np.exp(a) + self.nu @ np.exp(b)) - epsilon * np.sum(np.log(s[self.near])))

    def solve(self) -> Cosine:
        a, b = np.full(len(self.mu), 0.5), np.full(len(self.nu), 0.5)
        epsilon, best = 1.0 / self.near.sum(), Cosine(0.0, float("inf"))
        while epsilon * self.near.sum() > LEAST:
            for _ in range(NEWTONS):
                try:
                    a, b, done = self._newton(a, b, epsilon)
                except np.linalg.LinAlgError:
                    return best  # rounding ends the search
                if done:
                    break
            found = self._bounds(a, b, epsilon)
            gap = best.most - best.least
            best = Cosine(max(best.least, found.least), min(best.most, found.most))
            if gap < GAP and best.most - best.least > 0.5 * gap:
                break  # so does rounding, where the bounds do not come closer any more
            epsilon *= SHRINK
        return best

    def _newton(self, a: np.ndarray, b: np.ndarray, epsilon: float) -> tuple[np.ndarray, np.ndarray, bool]:
        """Return the next point, and whether the step was small enough to be the last."""
        force = epsilon / self.slack(a, b)
        curve = force**2 / epsilon
        u, v = 0.5 * self.mu * np.exp(a), 0.5 * self.nu * np.exp(b)
        slope_a, slope_b = u - force.sum(axis=1), v - force.sum(axis=0)
        first, second = u + curve.sum(axis=1), v + curve.sum(axis=0)
        schur = np.diag(second) - (curve.T / first) @ curve
        db = -np.linalg.solve(schur, slope_b - curve.T @ (slope_a / first))
        da = -(slope_a + curve @ db) / first
        decrease = float(slope_a @ da + slope_b @ db)
        start, length = self.value(a, b, epsilon), 1.0
        for _ in range(HALVINGS):
            if self.value(a + length * da, b + length * db, epsilon) <= start + 0.1 * length * decrease:
                return a + length * da, b + length * db, -decrease < 1e-2 * epsilon
            length *= 0.5
        return a, b, True

    def _bounds(self, a: np.ndarray, b: np.ndarray, epsilon: float) -> Cosine:
        """Return the values of the plans that belong to the forces, brought to the masses, and of u = exp(a), v = exp(b)."""
        force = epsilon / self.slack(a, b)
        g = force * (self.mu / force.sum(axis=1))[:, None]
        h = force * (self.nu / force.sum(axis=0))
        most = 0.5 * float(self.mu @ np.exp(a) + self.nu @ np.exp(b))
        return Cosine(float(np.sum(self.cosines * np.sqrt(g * h))), most)
