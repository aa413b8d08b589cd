"""What goes with the envelopes of `kernels.ctransform`: averages over the nodes that cells go to, and the adjoint push-forward.

With S the matrix (cells, nodes) of the shares of cell i that go to node j: averages are S v, the push-forward of masses is S' m,
and the second derivative of sum_i m_i U_i(phi) is -sum over ends between hull nodes p < q of the mass m of the cell there
times (v_q - v_p)^2 / (q - p).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from measureflow._numba import njit
from measureflow.kernels.ctransform import by_lines


@by_lines
@njit
def averages(v: Any, wrap: int, hull: Any, ends: Any, out: Any) -> None:
    """Fill out (lines, n) with S v for v (lines, n)."""
    lines, n = v.shape
    for line in range(lines):
        r = 0
        for i in range(n):
            lo, last, total = i - 0.5, i + 0.5, 0.0
            while ends[line, r] <= lo:
                r += 1
            while True:
                p = hull[line, r]
                hi = min(ends[line, r], last)
                total += (hi - lo) * v[line, p % n if wrap else p]
                if ends[line, r] >= last:
                    break
                lo = hi
                r += 1
            out[line, i] = total


@by_lines
@njit
def push(m: Any, wrap: int, hull: Any, ends: Any, out: Any) -> None:
    """Fill out (lines, n) with S' m for m (lines, n) of any sign; the last piece of a cell takes what is left of its mass."""
    lines, n = m.shape
    for line in range(lines):
        for j in range(n):
            out[line, j] = 0.0
        r = 0
        for i in range(n):
            mass = m[line, i]
            if mass == 0.0:
                continue
            lo, last = i - 0.5, i + 0.5
            while ends[line, r] <= lo:
                r += 1
            rest = mass
            while ends[line, r] < last:
                p = hull[line, r]
                share = mass * (ends[line, r] - lo)
                out[line, p % n if wrap else p] += share
                rest -= share
                lo = ends[line, r]
                r += 1
            p = hull[line, r]
            if rest * mass > 0.0:  # or it is rounding
                out[line, p % n if wrap else p] += rest


@by_lines
@njit
def stiffness(m: Any, wrap: int, hull: Any, ends: Any, counts: Any, faces: Any, weights: Any) -> None:
    """Find the second derivative of sum_i m_i U_i.

    Parameters
    ----------
    m : ndarray, shape (lines, n)
        Masses of the cells.
    faces : ndarray, shape (lines, n)
        Filled with the stiffness between nodes j and j + 1 (modulo n) if hull edges are cut into pieces: for preconditioners.
    weights : ndarray, shape (lines, n + 2 wrap)
        Filled with the mass at every end over the length of its hull edge, 0 beyond the cells.
    """
    lines, n = m.shape
    for line in range(lines):
        for j in range(n):
            faces[line, j] = 0.0
        for r in range(counts[line] - 1):
            i = int(ends[line, r] + 0.5) if ends[line, r] >= -0.5 else -1
            weights[line, r] = 0.0
            if 0 <= i < n:
                p, q = hull[line, r], hull[line, r + 1]
                weights[line, r] = m[line, i] / (q - p)
                for j in range(p, q):
                    faces[line, j % n if wrap else j] += m[line, i]


@by_lines
@njit
def bend(v: Any, wrap: int, hull: Any, counts: Any, weights: Any, scale: float, out: Any) -> None:
    """Add scale times the second derivative of -sum_i m_i U_i, applied to v (lines, n), to out (lines, n)."""
    lines, n = v.shape
    for line in range(lines):
        for r in range(counts[line] - 1):
            w = weights[line, r]
            if w != 0.0:
                p, q = hull[line, r], hull[line, r + 1]
                if wrap:
                    p, q = p % n, q % n
                pull = scale * w * (v[line, q] - v[line, p])
                out[line, q] += pull
                out[line, p] -= pull


@by_lines
@njit
def links(m: Any, wrap: int, hull: Any, ends: Any, counts: Any, faces: Any) -> None:
    """Fill faces (lines, n) with those of `stiffness`."""
    lines, n = m.shape
    for line in range(lines):
        for j in range(n):
            faces[line, j] = 0.0
        for r in range(counts[line] - 1):
            i = int(ends[line, r] + 0.5) if ends[line, r] >= -0.5 else n
            if i < n:
                for j in range(hull[line, r], hull[line, r + 1]):
                    faces[line, j % n if wrap else j] += m[line, i]


@njit
def _gather(v: Any, g: Any, m: Any, wrap: int, hull: Any, ends: Any, count: int, scale: float, out: Any) -> None:
    """Fill out (n,), of one line, with S' g and scale times the second derivative of -sum_i m_i U_i applied to v."""
    n = v.size
    for j in range(n):
        out[j] = 0.0
    r = 0
    for i in range(n):
        lo, last = i - 0.5, i + 0.5
        while ends[r] <= lo:
            r += 1
        rest = g[i]
        while ends[r] < last:
            p = hull[r]
            share = g[i] * (ends[r] - lo)
            out[p % n if wrap else p] += share
            rest -= share
            lo = ends[r]
            r += 1
        p = hull[r]
        out[p % n if wrap else p] += rest
    for r in range(count - 1):
        i = int(ends[r] + 0.5) if ends[r] >= -0.5 else n
        if i < n and m[i] != 0.0:
            p, q = hull[r], hull[r + 1]
            weight = scale * m[i] / (q - p)
            if wrap:
                p, q = p % n, q % n
            pull = weight * (v[q] - v[p])
            out[q] += pull
            out[p] -= pull


@by_lines
@njit
def gather(v: Any, g: Any, m: Any, wrap: int, hull: Any, ends: Any, counts: Any, scale: float) -> None:
    """Put in place of g (lines, n) S' g and scale times the second derivative of -sum_i m_i U_i applied to v."""
    row = np.empty(v.shape[1])
    for line in range(len(v)):
        row[:] = g[line]
        _gather(v[line], row, m[line], wrap, hull[line], ends[line], counts[line], scale, g[line])


@by_lines
@njit
def respond(v: Any, stiff: Any, m: Any, wrap: int, hull: Any, ends: Any, counts: Any, scale: float) -> None:
    """Put in place of v (lines, n) what `gather` makes of it with g = stiff S v."""
    lines, n = v.shape
    g, row = np.empty(n), np.empty(n)
    for line in range(lines):
        r = 0
        row[:] = v[line]
        for i in range(n):
            lo, last, total = i - 0.5, i + 0.5, 0.0
            while ends[line, r] <= lo:
                r += 1
            if stiff[line, i] != 0.0:
                while ends[line, r] < last:
                    p = hull[line, r]
                    total += (ends[line, r] - lo) * row[p % n if wrap else p]
                    lo = ends[line, r]
                    r += 1
                p = hull[line, r]
                total += (last - lo) * row[p % n if wrap else p]
            g[i] = stiff[line, i] * total
        _gather(row, g, m[line], wrap, hull[line], ends[line], counts[line], scale, v[line])


@by_lines
@njit
def line_hulls(phi: Any, wrap: int, hull: Any, ends: Any, out: Any) -> None:
    """Fill out (lines, n) with phi lowered to where phi_j + j^2/2 is its convex hull; arguments as in `kernels.ctransform`."""
    lines, n = phi.shape
    for line in range(lines):
        for j in range(n):
            out[line, j] = phi[line, j]
        p, r = hull[line, 0], 0
        while p < n - 1 and ends[line, r] < n + wrap:
            r += 1
            q = hull[line, r]
            left = phi[line, p % n if wrap else p] + 0.5 * p * p
            slope = (phi[line, q % n if wrap else q] + 0.5 * q * q - left) / (q - p)
            for j in range(max(p + 1, 0), min(q, n)):
                out[line, j] = left + slope * (j - p) - 0.5 * j * j
            p = q
