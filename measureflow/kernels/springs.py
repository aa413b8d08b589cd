"""Springs between neighbouring cells of a box: what cells are pulled by, and the operator a u - div(k grad u).

All arrays have three axes; in the plane the middle one has size 1, on the line the first two. ``k0``, ``k1``, ``k2`` hold the
conductance of the face between a cell and the next one along an axis, cyclically: 0 at walls and around cells that take no
part; ``k1`` is not looked at where layers have one row. Blocks of rows may run on several threads: every number is
written once and read afterwards only, and sums go over fixed blocks, so that the bits do not depend on their number.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from measureflow._numba import njit

ROWS = 32
BLOCK = 1 << 14
PARALLEL_CELLS = 1 << 17


@njit
def pull(x: Any, k0: Any, k1: Any, k2: Any, i: int, j: int, out: Any) -> None:
    """Write to out (n,) the sum over faces of conductance times neighbour, for the cells of row (i, j)."""
    layers, rows, n = x.shape
    right, left, end = i + 1 if i + 1 < layers else 0, i - 1 if i > 0 else layers - 1, n - 1
    row, ahead, behind, front, back, side = x[i, j], x[right, j], x[left, j], k0[i, j], k0[left, j], k2[i, j]
    if rows > 1:
        up, down = j + 1 if j + 1 < rows else 0, j - 1 if j > 0 else rows - 1
        above, below, upper, lower = x[i, up], x[i, down], k1[i, j], k1[i, down]
        for m in range(n):
            out[m] = front[m] * ahead[m] + back[m] * behind[m] + upper[m] * above[m] + lower[m] * below[m]
    else:
        for m in range(n):
            out[m] = front[m] * ahead[m] + back[m] * behind[m]
    for m in range(1, end):
        out[m] += side[m] * row[m + 1] + side[m - 1] * row[m - 1]
    out[0] += side[0] * row[min(1, end)] + side[end] * row[end]
    if n > 1:
        out[end] += side[end] * row[0] + side[end - 1] * row[end - 1]


@njit
def diagonal(k0: Any, k1: Any, k2: Any, i: int, j: int, out: Any) -> None:
    """Add to out (n,) the conductances of all faces of the cells of row (i, j)."""
    layers, rows, n = k0.shape
    front, back, side = k0[i, j], k0[i - 1 if i > 0 else layers - 1, j], k2[i, j]
    for m in range(1, n):
        out[m] += front[m] + back[m] + side[m] + side[m - 1]
    out[0] += front[0] + back[0] + side[0] + side[n - 1]
    if rows > 1:
        upper, lower = k1[i, j], k1[i, j - 1 if j > 0 else rows - 1]
        for m in range(n):
            out[m] += upper[m] + lower[m]


@njit
def _differences(x: Any, k0: Any, k1: Any, k2: Any, i: int, j: int, out: Any) -> None:
    """Add -div(k grad x) in row (i, j) to out (n,): 0 where x is constant, without rounding."""
    layers, rows, n = x.shape
    right, left, end = i + 1 if i + 1 < layers else 0, i - 1 if i > 0 else layers - 1, n - 1
    row, ahead, behind, front, back, side = x[i, j], x[right, j], x[left, j], k0[i, j], k0[left, j], k2[i, j]
    for m in range(n):
        out[m] += front[m] * (row[m] - ahead[m]) + back[m] * (row[m] - behind[m])
    for m in range(1, end):
        out[m] += side[m] * (row[m] - row[m + 1]) + side[m - 1] * (row[m] - row[m - 1])
    if n > 1:
        out[0] += side[0] * (row[0] - row[1]) + side[end] * (row[0] - row[end])
        out[end] += side[end] * (row[end] - row[0]) + side[end - 1] * (row[end] - row[end - 1])
    if rows > 1:
        up, down = j + 1 if j + 1 < rows else 0, j - 1 if j > 0 else rows - 1
        above, below, upper, lower = x[i, up], x[i, down], k1[i, j], k1[i, down]
        for m in range(n):
            out[m] += upper[m] * (row[m] - above[m]) + lower[m] * (row[m] - below[m])


@njit
def _apply_rows(x: Any, a: Any, grounded: bool, k0: Any, k1: Any, k2: Any, out: Any, first: int, last: int) -> None:
    rows, n = x.shape[1], x.shape[2]
    for r in range(first, last):
        i, j = r // rows, r % rows
        row, values = out[i, j], x[i, j]
        if grounded:
            ground = a[i, j]
            for m in range(n):
                row[m] = ground[m] * values[m]
        else:
            row[:] = 0.0
        _differences(x, k0, k1, k2, i, j, row)


@njit(parallel=True)
def _apply_threads(x: Any, a: Any, grounded: bool, k0: Any, k1: Any, k2: Any, out: Any) -> None:
    total = x.shape[0] * x.shape[1]
    for block in numba.prange((total + ROWS - 1) // ROWS):
        _apply_rows(x, a, grounded, k0, k1, k2, out, block * ROWS, min((block + 1) * ROWS, total))


def apply(x: Any, a: Any, faces: Any, out: Any) -> None:
    """Write a x - div(k grad x) to `out`, without the first term if a is None."""
    grounded = a is not None
    if threaded(x.size):
        _apply_threads(x, a if grounded else x, grounded, *faces, out)
    else:
        _apply_rows(x, a if grounded else x, grounded, *faces, out, 0, x.shape[0] * x.shape[1])


def threaded(cells: int) -> bool:
    """Return whether there are threads, and enough cells for them."""
    return cells >= PARALLEL_CELLS and numba.get_num_threads() > 1


@njit
def tie(x: Any, held: Any, ridge: float, weak: Any, wrap: Any, out: Any) -> None:
    """Add ridge x and even springs between held neighbours to out where cells are held; set out to 0 elsewhere.

    Parameters
    ----------
    x, held, out : ndarray, shape (layers, rows, n)
    ridge : float
    weak, wrap : tuple of three floats and of three bools
        Conductances along the axes, 0 along axes of one cell, and whether the first and the last cell are neighbours.
    """
    layers, rows, n = x.shape
    for i in range(layers):
        for j in range(rows):
            for m in range(n):
                if not held[i, j, m]:
                    out[i, j, m] = 0.0
                    continue
                total, here = 0.0, x[i, j, m]
                if weak[0] > 0.0:
                    if (i > 0 or wrap[0]) and held[i - 1, j, m]:
                        total += weak[0] * (here - x[i - 1, j, m])
                    ahead = i + 1 if i + 1 < layers else 0
                    if (ahead > 0 or wrap[0]) and held[ahead, j, m]:
                        total += weak[0] * (here - x[ahead, j, m])
                if weak[1] > 0.0:
                    if (j > 0 or wrap[1]) and held[i, j - 1, m]:
                        total += weak[1] * (here - x[i, j - 1, m])
                    ahead = j + 1 if j + 1 < rows else 0
                    if (ahead > 0 or wrap[1]) and held[i, ahead, m]:
                        total += weak[1] * (here - x[i, ahead, m])
                if weak[2] > 0.0:
                    if (m > 0 or wrap[2]) and held[i, j, m - 1]:
                        total += weak[2] * (here - x[i, j, m - 1])
                    ahead = m + 1 if m + 1 < n else 0
                    if (ahead > 0 or wrap[2]) and held[i, j, ahead]:
                        total += weak[2] * (here - x[i, j, ahead])
                out[i, j, m] += ridge * here + total


@njit
def _dot(x: Any, y: Any) -> float:
    total = 0.0
    for i in range(x.size):
        total += x[i] * y[i]
    return total


@njit
def _dots(x: Any, y: Any, parts: Any) -> None:
    for block in range(parts.size):
        low, high = block * BLOCK, (block + 1) * BLOCK
        parts[block] = _dot(x[low:high], y[low:high])


@njit(parallel=True)
def _dots_threads(x: Any, y: Any, parts: Any) -> None:
    for block in numba.prange(parts.size):
        low, high = block * BLOCK, (block + 1) * BLOCK
        parts[block] = _dot(x[low:high], y[low:high])


def dot(a: Any, b: Any) -> float:
    """Return the inner product of two contiguous arrays of one shape, summed block by block."""
    parts = np.empty(-(-a.size // BLOCK))
    (_dots_threads if threaded(a.size) else _dots)(a.reshape(-1), b.reshape(-1), parts)
    return float(np.sum(parts))


@njit
def _descend(x: Any, r: Any, p: Any, q: Any, step: float) -> float:
    total = 0.0
    for i in range(x.size):
        x[i] += step * p[i]
        r[i] -= step * q[i]
        total += r[i] * r[i]
    return total


@njit
def _descends(x: Any, r: Any, p: Any, q: Any, step: float, parts: Any) -> None:
    for block in range(parts.size):
        low, high = block * BLOCK, (block + 1) * BLOCK
        parts[block] = _descend(x[low:high], r[low:high], p[low:high], q[low:high], step)


@njit(parallel=True)
def _descends_threads(x: Any, r: Any, p: Any, q: Any, step: float, parts: Any) -> None:
    for block in numba.prange(parts.size):
        low, high = block * BLOCK, (block + 1) * BLOCK
        parts[block] = _descend(x[low:high], r[low:high], p[low:high], q[low:high], step)


def descend(x: Any, r: Any, p: Any, q: Any, step: float) -> float:
    """Add step p to x and -step q to r (contiguous); return |r|^2."""
    flat, parts = (x.reshape(-1), r.reshape(-1), p.reshape(-1), q.reshape(-1)), np.empty(-(-x.size // BLOCK))
    (_descends_threads if threaded(x.size) else _descends)(*flat, step, parts)
    return float(np.sum(parts))


@njit
def turn(p: Any, z: Any, share: float) -> None:
    """Set p to z + share p."""
    p_, z_ = p.reshape(-1), z.reshape(-1)
    for i in range(p_.size):
        p_[i] = z_[i] + share * p_[i]


def blocks(layers: int, least: int) -> int:
    """Return into how many blocks of at least `least` layers, an even number each, threads may divide a box."""
    return max(1, min(int(numba.get_num_threads()), layers // (least + 2)))
