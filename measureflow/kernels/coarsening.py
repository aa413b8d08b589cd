"""Grids of a multigrid hierarchy for springs between neighbouring cells (`kernels.springs`), all made in one go.

Cells are joined in pairs along each axis, or along the strong axes only. The ground of joined cells is the sum; the coarse
conductances are those of the joined faces, divided by the ratio of distances: with a cell's unknown at its centre this, not the
plain Galerkin product, is the coarse flux. The numbers of coarse grids lie one grid behind the other in flat arrays. A row of the
integer table describes a grid: its shape (3), cells joined along each axis (3), where its numbers start in the flat arrays, and
whether it can be coloured like a chessboard (no axis is glued and has an odd number of cells).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from measureflow._numba import njit
from measureflow.kernels.springs import diagonal

COARSEST = 16
"""Cells at most of the grid on which the system is factorised."""
STRONG = 0.3
"""Axes whose conductances reach this share of the strongest axis are coarsened."""
NOTHING = 1e-30
"""Share of the largest diagonal element below which a cell takes no part."""
ROUNDING = 1e-13
"""Share of a diagonal element below which what elimination leaves of it is rounding."""
LEVELS = 80
JOINED, START, CHESS = 3, 6, 7
"""Columns of the table from which cells joined (0 on the coarsest grid), places and colours are found."""


@njit
def grid(flat: Any, table: Any, level: int) -> Any:
    """Return the numbers of a coarse grid."""
    a, b, c, start = table[level, 0], table[level, 1], table[level, 2], table[level, START]
    return flat[start : start + a * b * c].reshape((a, b, c))


@njit
def invert(a: Any, k0: Any, k1: Any, k2: Any, out: Any) -> None:
    """Write the inverse of the diagonal of a - div(k grad), 0 where next to nothing."""
    layers, rows, n = a.shape
    largest = 0.0
    for i in range(layers):
        for j in range(rows):
            row, ground = out[i, j], a[i, j]
            for m in range(n):
                row[m] = ground[m]
            diagonal(k0, k1, k2, i, j, row)
            for m in range(n):
                largest = row[m] if row[m] > largest else largest
    for i in range(layers):
        for j in range(rows):
            row = out[i, j]
            for m in range(n):
                row[m] = 1.0 / row[m] if row[m] > NOTHING * largest else 0.0


@njit
def _largest(k: Any) -> float:
    """Return the largest of nonnegative numbers, 0 of none."""
    flat, result = k.reshape(-1), 0.0
    for i in range(flat.size):
        result = flat[i] if flat[i] > result else result
    return result


@njit
def _glued(k0: Any, k1: Any, k2: Any) -> tuple[bool, bool, bool]:
    """Return whether there are springs from the last cells along each axis to the first ones."""
    return _largest(k0[-1:]) > 0.0, _largest(k1[:, -1:].copy()) > 0.0, _largest(k2[:, :, -1:].copy()) > 0.0


@njit
def _describe(k0: Any, k1: Any, k2: Any, table: Any, level: int) -> None:
    """Fill in how a grid is coarsened, and the shape and the place of the next one."""
    shape, glued = k0.shape, _glued(k0, k1, k2)
    strength = (_largest(k0), _largest(k1) if shape[1] > 1 else 0.0, _largest(k2))
    strong, chess, size = 0, 1, 1
    for axis in range(3):
        n = shape[axis]
        join = n > 1 and strength[axis] >= STRONG * max(strength)
        table[level, 3 + axis], strong = 2 if join else 1, strong + join
        chess, size = 0 if glued[axis] and n % 2 == 1 and n > 1 else chess, size * n
    for axis in range(3):
        if strong == 0 and shape[axis] > 1:
            table[level, 3 + axis] = 2
        table[level + 1, axis] = (shape[axis] + table[level, 3 + axis] - 1) // table[level, 3 + axis]
    table[level, CHESS] = chess
    table[level + 1, START] = table[level, START] + size if level else 0


@njit
def _shares(widths: Any, n: int) -> Any:
    """Replace the widths of n cells by those of pairs; return the ratios of distances to the next cell, 0 for a single pair."""
    pairs, wide = (n + 1) // 2, np.empty((n + 1) // 2)
    for q in range(pairs):
        wide[q] = widths[2 * q] + (widths[2 * q + 1] if 2 * q + 1 < n else 0.0)
    share = np.zeros(pairs)
    for q in range(pairs if pairs > 1 else 0):
        last, after = min(2 * q + 1, n - 1), q + 1 if q + 1 < pairs else 0
        share[q] = (widths[last] + widths[last + 1 if last + 1 < n else 0]) / (wide[q] + wide[after])
    for q in range(pairs):
        widths[q] = wide[q]
    return share


@njit
def _join(row: Any, ratio: int, share: float, out: Any) -> None:
    """Add share times the sums over joined cells of a row."""
    n = row.size
    if ratio == 1:
        for m in range(n):
            out[m] += share * row[m]
        return
    for q in range(n // 2):
        out[q] += share * (row[2 * q] + row[2 * q + 1])
    if n % 2 == 1:
        out[n // 2] += share * row[n - 1]


@njit
def _join_sums(a: Any, ratio: Any, out: Any) -> None:
    """Write the sums over joined cells."""
    out[:] = 0.0
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            _join(a[i, j], ratio[2], 1.0, out[i // ratio[0], j // ratio[1]])


@njit
def _join_faces(k: Any, upright: bool, ratio: Any, share: Any, out: Any) -> None:
    """Write the conductances of coarse faces along the first or the second axis."""
    layers, rows, _ = k.shape
    out[:] = 0.0
    for i in range(layers):
        for j in range(rows):
            at, n, r = (i, layers, ratio[0]) if upright else (j, rows, ratio[1])
            if r == 1:
                _join(k[i, j], ratio[2], 1.0, out[i // ratio[0], j // ratio[1]])
            elif at % 2 == 1 or at == n - 1:
                _join(k[i, j], ratio[2], share[at // 2], out[i // ratio[0], j // ratio[1]])


@njit
def _join_sides(k: Any, ratio: Any, share: Any, out: Any) -> None:
    """Write the conductances of coarse faces along the last axis."""
    layers, rows, n = k.shape
    out[:] = 0.0
    for i in range(layers):
        for j in range(rows):
            row, coarse = k[i, j], out[i // ratio[0], j // ratio[1]]
            if ratio[2] == 1:
                for m in range(n):
                    coarse[m] += row[m]
                continue
            for q in range(n // 2):
                coarse[q] += share[q] * row[2 * q + 1]
            if n % 2 == 1:
                coarse[n // 2] += share[n // 2] * row[n - 1]


@njit
def _coarser(k0: Any, k1: Any, k2: Any, ratio: Any, widths: Any, c0: Any, c1: Any, c2: Any) -> None:
    """Write the conductances of a coarse grid, and replace the widths by its own."""
    shape = k0.shape
    for axis in range(3):
        share = _shares(widths[axis], shape[axis]) if ratio[axis] == 2 else widths[axis]
        if axis == 0:
            _join_faces(k0, True, ratio, share, c0)
        elif axis == 1 and shape[1] > 1:
            _join_faces(k1, False, ratio, share, c1)
        elif axis == 2:
            _join_sides(k2, ratio, share, c2)


@njit
def build(a: Any, k0: Any, k1: Any, k2: Any, keep: int, table: Any, top: Any, springs: Any, inverse: Any, work: Any) -> int:
    """Make the hierarchy.

    Parameters
    ----------
    a, k0, k1, k2 : ndarray, three axes
        The finest grid: ground and conductances.
    keep : int
        Number of grids if only the ground has changed since they were made, else 0.
    table : ndarray of int, shape (LEVELS, 8)
        Filled with a row a grid.
    top : ndarray, shape of a
        Filled with the inverse of the diagonal.
    springs, inverse, work : ndarray, shape (2 or 3, room), (room,), (room,)
        Filled with conductances (along the first and the last axis, if layers have one row) and inverse diagonals of the coarse
        grids; the last one is used.

    Returns
    -------
    int
        Number of grids, or minus the room needed so far if there is too little.
    """
    ground, widths = a, np.zeros((3, max(a.shape))) + 1.0
    for axis in range(3):
        table[0, axis] = a.shape[axis]
    invert(a, k0, k1, k2, top)
    for level in range(LEVELS - 2):
        if level + 1 == keep or (keep == 0 and ground.size <= COARSEST):
            table[level, JOINED] = 0
            return level + 1
        ratio = table[level, 3:6]
        if keep == 0:
            _describe(k0, k1, k2, table, level)
            need = table[level + 1, START] + table[level + 1, 0] * table[level + 1, 1] * table[level + 1, 2]
            if need > work.size:
                return -need
        joined = grid(work, table, level + 1)
        _join_sums(ground, ratio, joined)
        ground = joined
        c0, c1, c2 = grid(springs[0], table, level + 1), grid(springs[-2], table, level + 1), grid(springs[-1], table, level + 1)
        if keep == 0:
            _coarser(k0, k1, k2, ratio, widths, c0, c1, c2)
        k0, k1, k2 = c0, c1, c2
        invert(ground, k0, k1, k2, grid(inverse, table, level + 1))
    return LEVELS - 1


@njit
def factorise(inverse: Any, k0: Any, k1: Any, k2: Any, out: Any) -> None:
    """Write L D L' of a small grid's matrix to out (cells, cells), the inverse of D, 0 where there is none, on its diagonal."""
    layers, rows, n = inverse.shape
    out[:] = 0.0
    for i in range(layers):
        for j in range(rows):
            for m in range(n):
                at = (i * rows + j) * n + m
                scale = inverse[i, j, m]
                out[at, at] += 1.0 / scale if scale > 0.0 else 0.0
                for k, other in (
                    (k0[i, j, m], ((i + 1) % layers * rows + j) * n + m),
                    (k1[i, j, m] if rows > 1 else 0.0, (i * rows + (j + 1) % rows) * n + m),
                    (k2[i, j, m], (i * rows + j) * n + (m + 1) % n),
                ):
                    if other != at and scale > 0.0 and inverse.reshape(-1)[other] > 0.0:
                        out[at, other] -= k
                        out[other, at] -= k
    for p in range(len(out)):
        scale = inverse.reshape(-1)[p]
        pivot = 1.0 / out[p, p] if out[p, p] * scale > ROUNDING else 0.0
        for q in range(p + 1, len(out)):
            share = out[q, p] * pivot
            for s in range(p + 1, q + 1):
                out[q, s] -= share * out[s, p]
        for q in range(p + 1, len(out)):
            out[q, p] *= pivot
        out[p, p] = pivot


@njit
def substitute(factors: Any, f: Any, x: Any) -> None:
    """Solve the system of `factorise`."""
    size, x_, f_ = len(factors), x.reshape(-1), f.reshape(-1)
    for p in range(size):
        total = f_[p] if factors[p, p] > 0.0 else 0.0
        for q in range(p):
            total -= factors[p, q] * x_[q]
        x_[p] = total
    for p in range(size):
        x_[p] *= factors[p, p]
    for p in range(size - 1, -1, -1):
        for q in range(p + 1, size):
            x_[p] -= factors[q, p] * x_[q]
