"""Exact transport between two laws that are uniform in each cell of the line: cost, its gradient and its Hessian."""

from __future__ import annotations

import numpy as np

from measureflow._numba import njit

GAUSS = 0.5 / np.sqrt(3.0)


@njit
def _add(out: np.ndarray, i: int, weight: float, t: float) -> None:
    """Add weight (1 - t, t) (1 - t, t)' to the matrix of cell i, and keep its determinant without cancellation."""
    s = 1.0 - t
    out[6, i] += weight * max(out[5, i] * s * s - 2.0 * out[4, i] * s * t + out[3, i] * t * t, 0.0)
    out[3, i] += weight * s * s
    out[4, i] += weight * s * t
    out[5, i] += weight * t * t


@njit
def transport_moments(
    p: np.ndarray,
    level: np.ndarray,
    edges: np.ndarray,
    base: np.ndarray,
    base_level: np.ndarray,
    first: int,
    stop: int,
    out: np.ndarray,
) -> None:
    """Integrate over cells first..stop - 1 the displacement d(x) = x - T(x) of the monotone map T to a base law.

    In cell i let t in [0, 1] be the position; the law's level is level[i] + p[i] t, T is the base's quantile there.

    Parameters
    ----------
    p, level : ndarray, shape (n,), (n + 1,)
        Masses, positive, and levels of the law; levels are counted from some anchor, near which they are accurate.
    edges : ndarray, shape (n + 1,)
        Ends of the cells, common to both laws.
    base, base_level : ndarray, shape (n,), (n + 1,)
        Masses and levels of the base law, counted from the same anchor.
    out : ndarray, shape (7, n)
        Per cell: p int d^2, int (1 - t) d, int t d, the integrals of dT/dlevel against (1 - t)^2, t (1 - t), t^2, and the
        determinant of the matrix that these make.
    """
    n = len(p)
    last = n - 1
    while base[last] <= 0.0:
        last -= 1
    k = 0
    for i in range(first, stop):
        a, mass, x0, h = level[i], p[i], edges[i], edges[i + 1] - edges[i]
        for row in range(7):
            out[row, i] = 0.0
        while k < last and (base[k] <= 0.0 or base_level[k + 1] <= a):
            k += 1
        j, t, before = k, 0.0, np.inf
        while t < 1.0:
            slope = (edges[j + 1] - edges[j]) / base[j]
            rest = (base_level[j + 1] - a) - mass * t
            end = 1.0
            if j < last and rest < mass * (1.0 - t):
                end = min(t + max(rest, 0.0) / mass, 1.0)
            q0 = min(max(edges[j] + slope * ((a - base_level[j]) + mass * t), edges[j]), edges[j + 1])
            q1 = min(max(edges[j] + slope * ((a - base_level[j]) + mass * end), edges[j]), edges[j + 1])
            if end < 1.0:
                q1 = edges[j + 1]
            if before < edges[j]:
                q0 = edges[j]
                _add(out, i, (edges[j] - before) / mass, t)
            d0, d1, w = x0 + h * t - q0, x0 + h * end - q1, end - t
            s0, s1 = 1.0 - t, 1.0 - end
            out[0, i] += mass * w * (d0 * d0 + d0 * d1 + d1 * d1) / 3.0
            out[1, i] += w * (s0 * (2.0 * d0 + d1) + s1 * (d0 + 2.0 * d1)) / 6.0
            out[2, i] += w * (t * (2.0 * d0 + d1) + end * (d0 + 2.0 * d1)) / 6.0
            middle = 0.5 * (t + end)
            _add(out, i, 0.5 * slope * w, middle - GAUSS * w)
            _add(out, i, 0.5 * slope * w, middle + GAUSS * w)
            t, before = end, edges[j + 1]
            if end < 1.0:
                j += 1
                while base[j] <= 0.0:
                    j += 1


@njit
def solve_cells(m: np.ndarray, spring: np.ndarray, load: np.ndarray, out: np.ndarray) -> None:
    """Solve for the levels of the inner faces the sum over cells of (matrix of the cell + spring) = load.

    The matrix of a cell acts on its two faces, the spring on their difference; the outer faces are held. Elimination face by
    face; with the determinants of the cells given nothing cancels, however stiff springs and cells are.

    Parameters
    ----------
    m : ndarray, shape (4, n)
        Entries 00, 01, 11 and determinant of the positive semidefinite matrix of each cell.
    spring : ndarray, shape (n,)
        Nonnegative.
    load, out : ndarray, shape (n - 1,)
    """
    n = len(spring)
    share = np.empty(n)
    stiff = m[2, 0] + spring[0]
    force = load[0]
    for i in range(1, n - 1):
        c = spring[i]
        inverse = 1.0 / (stiff + m[0, i] + c)
        share[i] = (c - m[1, i]) * inverse
        out[i - 1] = force * inverse
        stiff = (stiff * (m[2, i] + c) + m[3, i] + c * (m[0, i] + 2.0 * m[1, i] + m[2, i])) * inverse
        force = load[i] + share[i] * force
    out[n - 2] = force / (stiff + m[0, n - 1] + spring[n - 1])
    for i in range(n - 2, 0, -1):
        out[i - 1] += share[i] * out[i]
