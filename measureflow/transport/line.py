"""Exact transport on the line, for laws whose distribution function is piecewise linear, with or without jumps.

On the line the increasing rearrangement is optimal and ``W_p^p`` is the integral of ``|Q_1(s) - Q_2(s)|^p`` over the
levels s (Santambrogio, Optimal transport for applied mathematicians, section 2.2; theory.md section 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from measureflow import _validate
from measureflow.transport.plan import Plan, check_weights, exponent, supplies, unscale


@dataclass(frozen=True, eq=False)
class Polyline:
    """A law on the line as the polyline of its distribution function.

    Attributes
    ----------
    y : ndarray, shape (k,)
        Positions, nondecreasing; a repeated position with two levels is an atom.
    G : ndarray, shape (k,)
        Levels, nondecreasing from 0 to 1; a repeated level with two positions is an interval without mass.
    """

    y: np.ndarray
    G: np.ndarray

    def __post_init__(self) -> None:
        """Check the shapes, the order and the end levels."""
        y = _validate.array("y", self.y, ndim=1)
        levels = _validate.array("G", self.G, shape=y.shape)
        _require_sorted("y", y)
        _require_sorted("G", levels)
        if levels[0] != 0.0 or levels[-1] != 1.0:
            raise ValueError(f"G must go from 0 to 1, got {float(levels[0])!r} to {float(levels[-1])!r}")
        object.__setattr__(self, "y", y)
        object.__setattr__(self, "G", levels)


def _require_sorted(name: str, values: np.ndarray) -> None:
    down = np.flatnonzero(values[1:] < values[:-1])
    if len(down):
        k = int(down[0])
        raise ValueError(f"{name} must be nondecreasing, got {values[k]!r} before {values[k + 1]!r} at index {k}")


def _cumulated(weights: np.ndarray) -> np.ndarray:
    """Return the sums of the first k weights (n,) over their total, without the drift of a plain cumulative sum."""
    n = len(weights)
    if np.all(weights == weights[0]):
        return np.arange(1, n + 1) / n
    sums = np.cumsum(weights, dtype=np.longdouble)
    return np.asarray(np.minimum((sums / sums[-1]).astype(np.float64), 1.0))


def atoms_polyline(points: np.ndarray, weights: np.ndarray) -> Polyline:
    """Return the polyline of atoms on the line: a staircase.

    Parameters
    ----------
    points : ndarray, shape (n,)
        Positions in any order.
    weights : ndarray, shape (n,)
        Nonnegative, sum 1.
    """
    points = _validate.array("points", points, ndim=1)
    weights = check_weights("weights", weights, len(points))
    order = np.argsort(points, kind="stable")
    levels = np.repeat(_cumulated(weights[order]), 2)
    return Polyline(np.repeat(points[order], 2), np.concatenate([[0.0], levels[:-1]]))


def cells_polyline(edges: np.ndarray, masses: np.ndarray) -> Polyline:
    """Return the polyline of a law that is uniform in each cell.

    Parameters
    ----------
    edges : ndarray, shape (n + 1,)
        Ends of the cells, nondecreasing; a cell of width 0 is an atom.
    masses : ndarray, shape (n,)
        Masses of the cells, nonnegative, sum 1.
    """
    edges = _validate.array("edges", edges, ndim=1)
    masses = check_weights("masses", masses, len(edges) - 1)
    return Polyline(edges, np.concatenate([[0.0], _cumulated(masses)]))


def _between(x: np.ndarray, x0: np.ndarray, x1: np.ndarray, v0: np.ndarray, v1: np.ndarray) -> np.ndarray:
    """Interpolate linearly from (x0, v0) to (x1, v1), x0 < x1, exactly at both ends and never outside [v0, v1]."""
    width, rise = x1 - x0, v1 - v0
    t, rest = (x - x0) / width, (x1 - x) / width
    value = np.where(t < 0.5, v0 + t * rise, v1 - rest * rise)
    return np.asarray(np.clip(value, v0, v1))


def _limits(y: np.ndarray, levels: np.ndarray, s: np.ndarray, side: Literal["left", "right"]) -> np.ndarray:
    """Return the limits of the quantile function of (y, levels) at s: from below in (0, 1], from above in [0, 1)."""
    k = np.searchsorted(levels, s, side=side)
    return _between(s, levels[k - 1], levels[k], y[k - 1], y[k])


def quantile(poly: Polyline, s: np.ndarray) -> np.ndarray:
    """Return the quantile function, the generalised inverse ``inf {x : F(x) >= s}``.

    At a level where the distribution function is flat this is the left end of the flat piece; at s = 0 it is the lower
    end of the support.

    Parameters
    ----------
    poly : Polyline
        The law.
    s : ndarray, any shape
        Levels in [0, 1].
    """
    s = _validate.array("s", s, nonempty=False)
    if np.any((s < 0.0) | (s > 1.0)):
        raise ValueError(f"s must lie in [0, 1], got values from {float(s.min())!r} to {float(s.max())!r}")
    size = exponent(poly.y)
    inside = _limits(np.ldexp(poly.y, -size), poly.G, np.where(s > 0.0, s, 1.0), "left")
    lowest = poly.y[np.searchsorted(poly.G, 0.0, side="right") - 1]
    return np.asarray(np.where(s > 0.0, np.ldexp(inside, size), lowest))


def cdf(poly: Polyline, x: np.ndarray) -> np.ndarray:
    """Return the distribution function ``F(x) = mass of (-inf, x]``, continuous from the right.

    Parameters
    ----------
    poly : Polyline
        The law.
    x : ndarray, any shape
        Positions.
    """
    x = _validate.array("x", x, nonempty=False)
    k = np.searchsorted(poly.y, x, side="right")
    result = np.where(k > 0, 1.0, 0.0)
    inside = (k > 0) & (k < len(poly.y))
    size, k = exponent(poly.y), k[inside]
    y = np.ldexp(poly.y, -size)
    result[inside] = _between(np.ldexp(x[inside], -size), y[k - 1], y[k], poly.G[k - 1], poly.G[k])
    return result


def _power_integral(left: np.ndarray, right: np.ndarray, width: np.ndarray, p: int) -> float:
    """Integrate ``|linear|^p`` over pieces of given widths (k,), from its values (k,) at their ends."""
    if p == 2:
        return float(np.sum(width * ((left + right) ** 2 + left**2 + right**2)) / 6.0)
    size = np.abs(left) + np.abs(right)
    crossing = (left**2 + right**2) / np.where(size > 0.0, size, 1.0)
    return float(np.sum(width * np.where(left * right < 0.0, crossing, size)) / 2.0)


def _norm(left: np.ndarray, right: np.ndarray, width: np.ndarray, p: int) -> float:
    """Return the L^p norm of a piecewise linear function; values are scaled, so that no square underflows."""
    largest = max(float(np.max(np.abs(left))), float(np.max(np.abs(right))))
    if largest == 0.0:
        return 0.0
    return float(largest * _power_integral(left / largest, right / largest, width, p) ** (1.0 / p))


def wasserstein_line(poly1: Polyline, poly2: Polyline, p: int = 2) -> float:
    """Return the exact distance ``W_p`` between two laws on the line.

    Between two neighbouring levels of either polyline both quantile functions are linear; their one-sided limits at
    the ends are compared and the power of the difference integrated exactly, sign change included. Time O((n + m) log
    (n + m)).

    Parameters
    ----------
    poly1, poly2 : Polyline
        The laws, of n and m vertices.
    p : int
        1 or 2.
    """
    p = int(_validate.choice("p", p, (1, 2)))
    size = exponent(poly1.y, poly2.y)
    one, two = (np.ldexp(poly1.y, -size), poly1.G), (np.ldexp(poly2.y, -size), poly2.G)
    levels = np.sort(np.concatenate([poly1.G, poly2.G]), kind="stable")
    low, high = levels[:-1], levels[1:]
    low, high = low[low < high], high[low < high]
    left = _limits(*one, low, "right") - _limits(*two, low, "right")
    right = _limits(*one, high, "left") - _limits(*two, high, "left")
    return unscale(_norm(left, right, high - low, p), size)


def wasserstein_sorted(x: np.ndarray, y: np.ndarray, p: int = 2) -> float:
    """Return ``W_p = (mean |x_i - y_i|^p)^(1/p)`` between n and n equal atoms, given in nondecreasing order.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Positions, nondecreasing.
    p : int
        1 or 2.
    """
    x = _validate.array("x", x, ndim=1)
    y = _validate.array("y", y, shape=x.shape)
    p = int(_validate.choice("p", p, (1, 2)))
    _require_sorted("x", x)
    _require_sorted("y", y)
    size = exponent(x, y)
    difference = np.abs(np.ldexp(x, -size) - np.ldexp(y, -size))
    largest = float(difference.max())
    if largest == 0.0:
        return 0.0
    return unscale(largest * float(np.mean((difference / largest) ** p)) ** (1.0 / p), size)


def monotone_plan(x: np.ndarray, a: np.ndarray, y: np.ndarray, b: np.ndarray, p: int = 2) -> Plan:
    """Return the monotone plan between atoms on the line, optimal for every p >= 1, in time O((n + m) log (n + m)).

    Parameters
    ----------
    x, a : ndarray, shape (n,)
        Source atoms in any order and their weights (nonnegative, sum 1).
    y, b : ndarray, shape (m,)
        Target atoms and weights.
    p : int
        1 or 2: the cost is ``|x - y|^p``.

    Returns
    -------
    Plan
        At most n + m - 1 moves in the order of the line, gap 0, without potentials.
    """
    x, y = _validate.array("x", x, ndim=1), _validate.array("y", y, ndim=1)
    a, b = check_weights("a", a, len(x)), check_weights("b", b, len(y))
    p = int(_validate.choice("p", p, (1, 2)))
    rows, columns = np.argsort(x, kind="stable"), np.argsort(y, kind="stable")
    supply, demand, total = supplies(a[rows], b[columns])
    supplied, demanded = _partial_sums(supply, total), _partial_sums(demand, total)
    ends = np.unique(np.concatenate([supplied, demanded]))
    ends = ends[ends > 0.0]
    i = rows[np.searchsorted(supplied, ends, side="left")]
    j = columns[np.searchsorted(demanded, ends, side="left")]
    mass = np.diff(ends, prepend=0.0) / total
    size = exponent(x, y)
    moved = np.abs(np.ldexp(x[i], -size) - np.ldexp(y[j], -size))
    return Plan(i, j, mass, unscale(float(np.sum(mass * moved**p)), p * size), 0.0)


def _partial_sums(weights: np.ndarray, total: float) -> np.ndarray:
    """Return the sums of the first k weights (n,), the last one exactly `total`."""
    sums = np.cumsum(weights, dtype=np.longdouble)
    return np.asarray(np.minimum((sums * (total / sums[-1])).astype(np.float64), total))
