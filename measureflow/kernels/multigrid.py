"""Sweeps of a multigrid method for (diag(a) - div(k grad)) u = f on boxes of cells.

All arrays have three axes (those of lower dimensions come last, behind axes of size 1). ``k0``, ``k1``, ``k2`` hold the
conductance of the face between a cell and the next one along an axis, cyclically: 0 at walls and around cells that take no part.
``inverse`` holds 1 / (a + the conductances of a cell's faces), 0 for cells that take no part. Blocks of rows may run on several
threads: every number is written once a sweep and read after the sweep only, so that the bits do not depend on their number.
"""

from __future__ import annotations

from typing import Any

import numba

from measureflow._numba import njit

ROWS = 32
PARALLEL_CELLS = 1 << 16


@njit
def _relax_flat(x: Any, f: Any, inverse: Any, k1: Any, k2: Any, j: int, colour: int) -> None:
    """Relax the cells of one colour in row j of a flat box."""
    rows, n = x.shape[1], x.shape[2]
    up, down = j + 1 if j + 1 < rows else 0, j - 1 if j > 0 else rows - 1
    row, above, below, load, scale = x[0, j], x[0, up], x[0, down], f[0, j], inverse[0, j]
    upper, lower, side = k1[0, j], k1[0, down], k2[0, j]
    first = (colour + j) % 2
    if first == 0:
        total = load[0] + upper[0] * above[0] + lower[0] * below[0] + side[n - 1] * row[n - 1]
        if n > 1:
            total += side[0] * row[1]
        row[0] = scale[0] * total
        first = 2
    for m in range(first, n - 1, 2):
        total = load[m] + upper[m] * above[m] + lower[m] * below[m] + side[m] * row[m + 1] + side[m - 1] * row[m - 1]
        row[m] = scale[m] * total
    if n > 1 and (n - 1 - first) % 2 == 0:
        m = n - 1
        total = load[m] + upper[m] * above[m] + lower[m] * below[m] + side[m] * row[0] + side[m - 1] * row[m - 1]
        row[m] = scale[m] * total


@njit
def _relax_solid(x: Any, f: Any, inverse: Any, k0: Any, k1: Any, k2: Any, i: int, j: int, colour: int) -> None:
    """Relax the cells of one colour in row (i, j) of a box."""
    layers, rows, n = x.shape
    right, left = i + 1 if i + 1 < layers else 0, i - 1 if i > 0 else layers - 1
    up, down = j + 1 if j + 1 < rows else 0, j - 1 if j > 0 else rows - 1
    row, above, below, ahead, behind = x[i, j], x[i, up], x[i, down], x[right, j], x[left, j]
    upper, lower, front, back, side = k1[i, j], k1[i, down], k0[i, j], k0[left, j], k2[i, j]
    for m in range((colour + i + j) % 2, n, 2):
        after, before = m + 1 if m + 1 < n else 0, m - 1 if m > 0 else n - 1
        total = f[i, j, m] + upper[m] * above[m] + lower[m] * below[m] + front[m] * ahead[m] + back[m] * behind[m]
        total += side[m] * row[after] + side[before] * row[before]
        row[m] = inverse[i, j, m] * total


@njit
def _relax_rows(x: Any, f: Any, inverse: Any, k0: Any, k1: Any, k2: Any, colour: int, first: int, last: int) -> None:
    layers, rows, _ = x.shape
    for r in range(first, last):
        if layers == 1:
            _relax_flat(x, f, inverse, k1, k2, r, colour)
        else:
            _relax_solid(x, f, inverse, k0, k1, k2, r // rows, r % rows, colour)


@njit
def _both_colours(x: Any, f: Any, inverse: Any, k1: Any, k2: Any, colour: int) -> None:
    """Relax one colour and then the other in a flat box, the second one two rows behind the first."""
    rows = x.shape[1]
    for j in range(rows):
        _relax_flat(x, f, inverse, k1, k2, j, colour)
        if j >= 2:
            _relax_flat(x, f, inverse, k1, k2, j - 1, 1 - colour)
    if rows > 1:
        _relax_flat(x, f, inverse, k1, k2, rows - 1, 1 - colour)
    _relax_flat(x, f, inverse, k1, k2, 0, 1 - colour)


@njit(parallel=True)
def _relax_threads(x: Any, f: Any, inverse: Any, k0: Any, k1: Any, k2: Any, colour: int) -> None:
    total = x.shape[0] * x.shape[1]
    for block in numba.prange((total + ROWS - 1) // ROWS):
        _relax_rows(x, f, inverse, k0, k1, k2, colour, block * ROWS, min((block + 1) * ROWS, total))


def relax(x: Any, f: Any, inverse: Any, faces: Any, colour: int) -> None:
    """Relax the cells of one chessboard colour (0: those whose indices have an even sum), then the others."""
    if x.size >= PARALLEL_CELLS and numba.get_num_threads() > 1:
        _relax_threads(x, f, inverse, *faces, colour)
        _relax_threads(x, f, inverse, *faces, 1 - colour)
    elif x.shape[0] == 1:
        _both_colours(x, f, inverse, faces[1], faces[2], colour)
    else:
        total = x.shape[0] * x.shape[1]
        _relax_rows(x, f, inverse, *faces, colour, 0, total)
        _relax_rows(x, f, inverse, *faces, 1 - colour, 0, total)


@njit
def _divergence_row(x: Any, k0: Any, k1: Any, k2: Any, i: int, j: int, out: Any) -> None:
    """Write -div(k grad x) in row (i, j)."""
    layers, rows, n = x.shape
    up, down = j + 1 if j + 1 < rows else 0, j - 1 if j > 0 else rows - 1
    row, above, below, upper, lower, side = x[i, j], x[i, up], x[i, down], k1[i, j], k1[i, down], k2[i, j]
    for m in range(n):
        out[m] = upper[m] * (row[m] - above[m]) + lower[m] * (row[m] - below[m])
    for m in range(1, n - 1):
        out[m] += side[m] * (row[m] - row[m + 1]) + side[m - 1] * (row[m] - row[m - 1])
    if n > 1:
        out[0] += side[0] * (row[0] - row[1]) + side[n - 1] * (row[0] - row[n - 1])
        out[n - 1] += side[n - 1] * (row[n - 1] - row[0]) + side[n - 2] * (row[n - 1] - row[n - 2])
    if layers > 1:
        right, left = i + 1 if i + 1 < layers else 0, i - 1 if i > 0 else layers - 1
        ahead, behind, front, back = x[right, j], x[left, j], k0[i, j], k0[left, j]
        for m in range(n):
            out[m] += front[m] * (row[m] - ahead[m]) + back[m] * (row[m] - behind[m])


@njit
def _apply_rows(x: Any, a: Any, k0: Any, k1: Any, k2: Any, out: Any, first: int, last: int) -> None:
    rows, n = x.shape[1], x.shape[2]
    for r in range(first, last):
        i, j = r // rows, r % rows
        _divergence_row(x, k0, k1, k2, i, j, out[i, j])
        for m in range(n):
            out[i, j, m] += a[i, j, m] * x[i, j, m]


@njit(parallel=True)
def _apply_threads(x: Any, a: Any, k0: Any, k1: Any, k2: Any, out: Any) -> None:
    total = x.shape[0] * x.shape[1]
    for block in numba.prange((total + ROWS - 1) // ROWS):
        _apply_rows(x, a, k0, k1, k2, out, block * ROWS, min((block + 1) * ROWS, total))


def apply(x: Any, a: Any, faces: Any, out: Any) -> None:
    """Write a x - div(k grad x) to `out`."""
    if x.size >= PARALLEL_CELLS and numba.get_num_threads() > 1:
        _apply_threads(x, a, *faces, out)
    else:
        _apply_rows(x, a, *faces, out, 0, x.shape[0] * x.shape[1])


@njit
def _restrict_rows(
    x: Any, f: Any, a: Any, k0: Any, k1: Any, k2: Any, ratio: Any, out: Any, buffer: Any, first: int, last: int
) -> None:
    """Write sums of residuals f - A x over the children of coarse cells."""
    layers, rows, n = x.shape
    for r in range(first, last):
        coarse = out[r // out.shape[1], r % out.shape[1]]
        coarse[:] = 0.0
        start, begin = r // out.shape[1] * ratio[0], r % out.shape[1] * ratio[1]
        for i in range(start, min(start + ratio[0], layers)):
            for j in range(begin, min(begin + ratio[1], rows)):
                _divergence_row(x, k0, k1, k2, i, j, buffer)
                for m in range(n):
                    buffer[m] = f[i, j, m] - buffer[m] - a[i, j, m] * x[i, j, m]
                if ratio[2] == 1:
                    for m in range(n):
                        coarse[m] += buffer[m]
                else:
                    for m in range(n // 2):
                        coarse[m] += buffer[2 * m] + buffer[2 * m + 1]
                    if n % 2:
                        coarse[n // 2] += buffer[n - 1]


@njit(parallel=True)
def _restrict_threads(x: Any, f: Any, a: Any, k0: Any, k1: Any, k2: Any, ratio: Any, out: Any, buffers: Any) -> None:
    total = out.shape[0] * out.shape[1]
    for block in numba.prange((total + ROWS - 1) // ROWS):
        last = min((block + 1) * ROWS, total)
        _restrict_rows(x, f, a, k0, k1, k2, ratio, out, buffers[block], block * ROWS, last)


def restrict(x: Any, f: Any, a: Any, faces: Any, ratio: Any, out: Any, buffers: Any) -> None:
    """Write the residual f - A x, summed over blocks of ratio[k] cells along each axis, to `out`.

    `buffers` has a row of x.shape[2] numbers for every `ROWS` rows of `out`.
    """
    if x.size >= PARALLEL_CELLS and numba.get_num_threads() > 1:
        _restrict_threads(x, f, a, *faces, ratio, out, buffers)
    else:
        _restrict_rows(x, f, a, *faces, ratio, out, buffers[0], 0, out.shape[0] * out.shape[1])


@njit
def prolong(coarse: Any, ratio: Any, x: Any) -> None:
    """Add to every cell what its coarse cell has."""
    layers, rows, n = x.shape
    for i in range(layers):
        for j in range(rows):
            source, row = coarse[i // ratio[0], j // ratio[1]], x[i, j]
            if ratio[2] == 1:
                for m in range(n):
                    row[m] += source[m]
            else:
                for m in range(n // 2):
                    row[2 * m] += source[m]
                    row[2 * m + 1] += source[m]
                if n % 2:
                    row[n - 1] += source[n // 2]


@njit
def block_sums(x: Any, ratio: Any, out: Any) -> None:
    """Write the sums of x over blocks of ratio[k] cells along each axis."""
    layers, rows, n = x.shape
    out[:] = 0.0
    for i in range(layers):
        for j in range(rows):
            coarse, row = out[i // ratio[0], j // ratio[1]], x[i, j]
            if ratio[2] == 1:
                for m in range(n):
                    coarse[m] += row[m]
            else:
                for m in range(n // 2):
                    coarse[m] += row[2 * m] + row[2 * m + 1]
                if n % 2:
                    coarse[n // 2] += row[n - 1]


@njit
def reciprocal(a: Any, around: Any, out: Any) -> None:
    """Write 1 / (a + around), or 0 where that is 0."""
    a_, around_, out_ = a.ravel(), around.ravel(), out.ravel()
    for i in range(a_.size):
        total = a_[i] + around_[i]
        out_[i] = 1.0 / total if total > 0.0 else 0.0


@njit
def dot(a: Any, b: Any) -> float:
    """Return the inner product of two arrays of one shape, summed in a fixed order on one thread."""
    x, y, total = a.ravel(), b.ravel(), 0.0
    for i in range(x.size):
        total += x[i] * y[i]
    return total


@njit
def descend(x: Any, r: Any, p: Any, q: Any, step: float) -> float:
    """Add step p to x and -step q to r; return |r|^2."""
    x_, r_, p_, q_, total = x.ravel(), r.ravel(), p.ravel(), q.ravel(), 0.0
    for i in range(x_.size):
        x_[i] += step * p_[i]
        r_[i] -= step * q_[i]
        total += r_[i] * r_[i]
    return total


@njit
def turn(p: Any, z: Any, share: float) -> None:
    """Set p to z + share p."""
    p_, z_ = p.ravel(), z.ravel()
    for i in range(p_.size):
        p_[i] = z_[i] + share * p_[i]
