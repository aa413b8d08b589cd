"""What the theorems of rotations share: crossings of rows to high order, orbits in the plane, eigenvalues at equilibria."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from measureflow.problems.base import Problem
from measureflow.schemes import Explicit
from measureflow.solution import Solution
from measureflow.solve import solve
from measureflow.theorems.check import Check, equal

POINTS = 8


def crossings(t: Any, values: Any, direction: float = 0.0) -> list[float]:
    """Return the times at which values cross zero, rising (+1), falling (-1) or both (0), by polynomials through 8 rows.

    The value at the first row may be zero: leaving zero is no crossing.

    Examples
    --------
    >>> t = np.linspace(0.0, 7.0, 80)
    >>> [round(time, 8) for time in crossings(t, np.sin(t))]
    [3.14159265, 6.28318531]
    """
    from scipy.interpolate import BarycentricInterpolator
    from scipy.optimize import brentq

    t, values = np.asarray(t, np.float64), np.asarray(values, np.float64)
    rises = (values[:-1] < 0.0) & (values[1:] >= 0.0)
    falls = (values[:-1] > 0.0) & (values[1:] <= 0.0)
    found = []
    for k in np.flatnonzero(rises if direction > 0.0 else falls if direction < 0.0 else rises | falls):
        first = int(np.clip(k + 1 - POINTS // 2, 0, max(len(t) - POINTS, 0)))
        near = slice(first, first + POINTS)
        curve = BarycentricInterpolator(t[near], values[near])
        found.append(float(t[k + 1]) if values[k + 1] == 0.0 else float(brentq(curve, t[k], t[k + 1], xtol=1e-14)))
    return found


def next_crossing(t: Any, values: Any, others: Any) -> tuple[float, float]:
    """Return the time at which positive values first reach zero, and what others are there, from rows before it only.

    Examples
    --------
    >>> t = np.linspace(0.0, 2.0, 60)
    >>> np.round(next_crossing(t, np.where(t < 1.5, 1.5 - t, -9.0), t**2), 9).tolist()
    [1.5, 2.25]
    """
    from scipy.interpolate import BarycentricInterpolator
    from scipy.optimize import brentq

    behind = int(np.argmax(np.asarray(values) <= 0.0))
    near = slice(max(behind - POINTS, 0), behind)
    curve, other = (BarycentricInterpolator(t[near], np.asarray(v)[near]) for v in (values, others))
    last, step = float(t[behind - 1]), float(t[behind] - t[behind - 1])
    time = float(brentq(curve, last, last + 1.5 * step, xtol=1e-14))
    return time, float(other(time))


def plane(states: Sequence[Any]) -> np.ndarray:
    """Return the coordinates of two players that are numbers, shape (rows, 2)."""
    return np.array([[float(x.values[0]) for x in row] for row in states])


def exact_plane(problem: Problem, times: Any) -> np.ndarray:
    """Return the exact orbit of two players that are numbers at some times, shape (times, 2)."""
    assert problem.exact is not None
    return plane([problem.exact(float(t)) for t in times])


def near(problem: Problem, states: Any) -> Any:
    """Return the linearisation of the flow of a problem at a point."""
    return start(problem, states, 0.01, 0.01, "explicit").linearisation()


def start(problem: Problem, states: Any, t: float, tau: float, scheme: Any) -> Solution:
    """Solve a problem from other states."""
    metrics: Any = problem.metrics
    method = Explicit() if scheme == "explicit" else scheme
    return solve(problem.problem, states, t, tau, scheme=method, speeds=problem.speeds, metric=metrics)


def roots(damping: float, square: float) -> list[complex]:
    """Return the roots of l^2 + 2 damping l + square, the upper one first.

    Examples
    --------
    >>> [complex(round(z.real, 9), round(z.imag, 9)) for z in roots(1.0, 5.0)]
    [(-1+2j), (-1-2j)]
    """
    root = np.sqrt(complex(damping**2 - square))
    return [complex(-damping + root), complex(-damping - root)]


def spectrum(problem: Problem, states: Any, known: Sequence[complex], place: str) -> Iterator[Check]:
    """Compare the eigenvalues of a flow at an equilibrium with the whole list of those known."""
    found = near(problem, states)
    left, gaps = list(found.eigenvalues), []
    for value in known:
        k = int(np.argmin(np.abs(np.array(left) - value)))
        gaps.append(abs(left.pop(k) - value))
    yield equal("distances of the eigenvalues", gaps, 0.0, tolerance=1e-8, error=1e-9, where=place)
    yield equal("eigenvalues not told of", len(left), 0, tolerance=0.5, where=place)
    yield equal("speed at the equilibrium", found.residual, 0.0, tolerance=1e-9, error=1e-12, where=place)
