"""The V-cycle for springs between neighbouring cells (`kernels.springs`): one chessboard sweep down, and its adjoint up.

Cells whose indices have an even sum are red, the others black. Down, from x = 0: red, then black. Red cells then have x = f
times the inverse of the diagonal, and what is missing in their equations is the pull of the black ones; black cells miss nothing.
Up: the coarse solution is added to red cells only, as black ones, relaxed first, forget what they had. Layers (rows in the plane)
go through the cache once: a block of them is worked off in a wave; what its first and last layers lack is done after all blocks.

An axis that is glued and has an odd number of cells cannot be coloured: there a damped sweep of Jacobi takes the place.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from measureflow._numba import njit
from measureflow.kernels.coarsening import CHESS, JOINED, grid, substitute
from measureflow.kernels.springs import pull

LEAST = 8
"""Layers of a block at least."""
DAMPING = 0.8


@njit
def _scale(x: Any, f: Any, inverse: Any, i: int, share: float) -> None:
    """Set layer i to share times f over the diagonal."""
    n = x.shape[2]
    for j in range(x.shape[1]):
        row, load, scale = x[i, j], f[i, j], inverse[i, j]
        for m in range(n):
            row[m] = share * scale[m] * load[m]


@njit
def _follow(x: Any, inverse: Any, k0: Any, k1: Any, k2: Any, i: int, buffer: Any) -> None:
    """Relax the black cells of layer i, at f over the diagonal so far."""
    n = x.shape[2]
    for j in range(x.shape[1]):
        row, scale, first = x[i, j], inverse[i, j], (i + j + 1) % 2
        pull(x, k0, k1, k2, i, j, buffer)
        for m in range(n):
            row[m] += scale[m] * buffer[m] if m & 1 == first else 0.0


@njit
def _relax(x: Any, f: Any, inverse: Any, k0: Any, k1: Any, k2: Any, black: bool, i: int, buffer: Any) -> None:
    """Relax the cells of one colour in layer i."""
    n = x.shape[2]
    for j in range(x.shape[1]):
        row, load, scale, first = x[i, j], f[i, j], inverse[i, j], (i + j + black) % 2
        pull(x, k0, k1, k2, i, j, buffer)
        for m in range(n):
            row[m] = scale[m] * (load[m] + buffer[m]) if m & 1 == first else row[m]


@njit
def _gather(x: Any, k0: Any, k1: Any, k2: Any, ratio: Any, out: Any, top: int, buffer: Any) -> None:
    """Write to layer `top` of the coarse box the sums of what is missing in red cells."""
    layers, rows, n = x.shape
    for low in range(out.shape[1]):
        coarse = out[top, low]
        coarse[:] = 0.0
        for i in range(top * ratio[0], min((top + 1) * ratio[0], layers)):
            for j in range(low * ratio[1], min((low + 1) * ratio[1], rows)):
                pull(x, k0, k1, k2, i, j, buffer)
                first = (i + j) % 2
                if ratio[2] == 2:
                    for q in range((n - first + 1) // 2):
                        coarse[q] += buffer[2 * q + first]
                else:
                    for m in range(first, n, 2):
                        coarse[m] += buffer[m]


@njit
def _lift(coarse: Any, ratio: Any, x: Any, i: int) -> None:
    """Add the coarse solution to the red cells of layer i."""
    n = x.shape[2]
    for j in range(x.shape[1]):
        source, row, first = coarse[i // ratio[0], j // ratio[1]], x[i, j], (i + j) % 2
        if ratio[2] == 2:
            for q in range((n - first + 1) // 2):
                row[2 * q + first] += source[q]
        else:
            for m in range(first, n, 2):
                row[m] += source[m]


@njit
def _down_block(x: Any, f: Any, inverse: Any, k0: Any, k1: Any, k2: Any, ratio: Any, out: Any, first: int, last: int) -> None:
    """Sweep layers first to last - 1 and restrict what is missing, as far as other layers are not needed."""
    buffer = np.empty(x.shape[2])
    top = (first + 2 + ratio[0] - 1) // ratio[0]
    _scale(x, f, inverse, first, 1.0)
    for i in range(first + 1, last):
        _scale(x, f, inverse, i, 1.0)
        if i > first + 1:
            _follow(x, inverse, k0, k1, k2, i - 1, buffer)
        while (top + 1) * ratio[0] <= i - 1:
            _gather(x, k0, k1, k2, ratio, out, top, buffer)
            top += 1


@njit
def _down_seam(x: Any, inverse: Any, k0: Any, k1: Any, k2: Any, ratio: Any, out: Any, end: int, start: int) -> None:
    """Do what is left between a block that ends before layer `end` and the next one, from layer `start`."""
    buffer, r = np.empty(x.shape[2]), ratio[0]
    _follow(x, inverse, k0, k1, k2, end - 1, buffer)
    _follow(x, inverse, k0, k1, k2, start, buffer)
    for top in range((end - 2) // r, (end + r - 1) // r):
        _gather(x, k0, k1, k2, ratio, out, top, buffer)
    for top in range(start // r, (start + 2 + r - 1) // r):
        _gather(x, k0, k1, k2, ratio, out, top, buffer)


@njit
def _up_block(x: Any, f: Any, inverse: Any, k0: Any, k1: Any, k2: Any, ratio: Any, coarse: Any, first: int, last: int) -> None:
    """Add the coarse solution and sweep back, as `_down_block`."""
    buffer = np.empty(x.shape[2])
    _lift(coarse, ratio, x, first)
    for i in range(first + 1, last):
        _lift(coarse, ratio, x, i)
        if i > first + 1:
            _relax(x, f, inverse, k0, k1, k2, True, i - 1, buffer)
        if i > first + 3:
            _relax(x, f, inverse, k0, k1, k2, False, i - 2, buffer)


@njit
def _up_seam(x: Any, f: Any, inverse: Any, k0: Any, k1: Any, k2: Any, end: int, start: int) -> None:
    """Do what `_up_block` left between two blocks."""
    buffer = np.empty(x.shape[2])
    for i in (end - 1, start):
        _relax(x, f, inverse, k0, k1, k2, True, i, buffer)
    for i in (end - 2, end - 1, start, start + 1):
        _relax(x, f, inverse, k0, k1, k2, False, i, buffer)


@njit
def _down_jacobi(x: Any, f: Any, inverse: Any, k0: Any, k1: Any, k2: Any, ratio: Any, out: Any) -> None:
    """Take the first step of Jacobi and restrict what is missing."""
    layers, rows, n = x.shape
    buffer = np.empty(n)
    out[:] = 0.0
    for i in range(layers):
        _scale(x, f, inverse, i, DAMPING)
    for i in range(layers):
        for j in range(rows):
            coarse = out[i // ratio[0], j // ratio[1]]
            pull(x, k0, k1, k2, i, j, buffer)
            for m in range(n):
                coarse[m // ratio[2]] += (1.0 - DAMPING) * f[i, j, m] + buffer[m] if inverse[i, j, m] > 0.0 else 0.0


@njit
def _up_jacobi(x: Any, f: Any, inverse: Any, k0: Any, k1: Any, k2: Any, ratio: Any, coarse: Any) -> None:
    """Add the coarse solution and take a step of Jacobi."""
    layers, rows, n = x.shape
    total, buffer = np.empty(x.shape), np.empty(n)
    for i in range(layers):
        for j in range(rows):
            source = coarse[i // ratio[0], j // ratio[1]]
            for m in range(n):
                total[i, j, m] = x[i, j, m] + source[m // ratio[2]] if inverse[i, j, m] > 0.0 else 0.0
    for i in range(layers):
        for j in range(rows):
            pull(total, k0, k1, k2, i, j, buffer)
            for m in range(n):
                step = inverse[i, j, m] * (f[i, j, m] + buffer[m])
                x[i, j, m] = (1.0 - DAMPING) * total[i, j, m] + DAMPING * step


@njit
def _cut(layers: int, blocks: int, block: int) -> int:
    """Return the first layer, an even number, of a block."""
    return layers if block == blocks else block * layers // blocks // 2 * 2


@njit
def _blocks(table: Any, level: int) -> int:
    """Return how a grid is swept on one thread: as one block, 0 if it has few layers, -1 if it has no colours."""
    return -1 if table[level, CHESS] == 0 else 1 if table[level, 0] >= LEAST else 0


@njit
def down(x: Any, f: Any, inverse: Any, k0: Any, k1: Any, k2: Any, ratio: Any, blocks: int, out: Any) -> None:
    """Sweep once from x = 0, and write what is missing, summed over coarse cells, to `out`."""
    layers = x.shape[0]
    for b in range(blocks):
        _down_block(x, f, inverse, k0, k1, k2, ratio, out, _cut(layers, blocks, b), _cut(layers, blocks, b + 1))
    for b in range(1, blocks + 1):
        _down_seam(x, inverse, k0, k1, k2, ratio, out, _cut(layers, blocks, b), _cut(layers, blocks, b % blocks))
    if blocks == 0:
        buffer = np.empty(x.shape[2])
        for i in range(layers):
            _scale(x, f, inverse, i, 1.0)
        for i in range(layers):
            _follow(x, inverse, k0, k1, k2, i, buffer)
        for top in range(out.shape[0]):
            _gather(x, k0, k1, k2, ratio, out, top, buffer)
    elif blocks < 0:
        _down_jacobi(x, f, inverse, k0, k1, k2, ratio, out)


@njit
def up(x: Any, f: Any, inverse: Any, k0: Any, k1: Any, k2: Any, ratio: Any, blocks: int, coarse: Any) -> None:
    """Add the coarse solution and sweep once, in the opposite order."""
    layers = x.shape[0]
    for b in range(blocks):
        _up_block(x, f, inverse, k0, k1, k2, ratio, coarse, _cut(layers, blocks, b), _cut(layers, blocks, b + 1))
    for b in range(1, blocks + 1):
        _up_seam(x, f, inverse, k0, k1, k2, _cut(layers, blocks, b), _cut(layers, blocks, b % blocks))
    if blocks == 0:
        buffer = np.empty(x.shape[2])
        for i in range(layers):
            _lift(coarse, ratio, x, i)
        for i in range(layers):
            _relax(x, f, inverse, k0, k1, k2, True, i, buffer)
        for i in range(layers):
            _relax(x, f, inverse, k0, k1, k2, False, i, buffer)
    elif blocks < 0:
        _up_jacobi(x, f, inverse, k0, k1, k2, ratio, coarse)


@njit
def cycle(
    x: Any, f: Any, top: Any, k0: Any, k1: Any, k2: Any, level: int, table: Any, springs: Any, flat: Any, factors: Any
) -> None:
    """Write the V-cycle's approximate solution for the load f on a grid to x.

    Parameters
    ----------
    x, f, top, k0, k1, k2 : ndarray, three axes
        Solution, load, inverse diagonal and conductances of the grid.
    level : int
        Its number in the table of `coarsening.build`.
    springs, flat : ndarray, shape (2 or 3, room), (3, room)
        Conductances, and inverse diagonals, loads and solutions of the coarse grids.
    factors : ndarray
        Of the coarsest grid, see `coarsening.factorise`.
    """
    last = level
    while table[last, JOINED] > 0:
        last += 1
    for turn in range(2 * (last - level) + 1):
        k = level + min(turn, 2 * (last - level) - turn)
        u, load, inverse, s0, s1, s2 = x, f, top, k0, k1, k2
        if k > level:
            inverse, load, u = grid(flat[0], table, k), grid(flat[1], table, k), grid(flat[2], table, k)
            s0, s1, s2 = grid(springs[0], table, k), grid(springs[-2], table, k), grid(springs[-1], table, k)
        if k == last:
            substitute(factors, load, u)
        elif turn < last - level:
            down(u, load, inverse, s0, s1, s2, table[k, 3:6], _blocks(table, k), grid(flat[1], table, k + 1))
        else:
            up(u, load, inverse, s0, s1, s2, table[k, 3:6], _blocks(table, k), grid(flat[2], table, k + 1))


@njit(parallel=True)
def down_threads(x: Any, f: Any, inverse: Any, k0: Any, k1: Any, k2: Any, ratio: Any, out: Any, blocks: int) -> None:
    """Do the same as `down` by blocks of layers, at least `LEAST` each, on several threads."""
    layers = x.shape[0]
    for index in numba.prange(blocks):
        b = np.int64(index)
        _down_block(x, f, inverse, k0, k1, k2, ratio, out, _cut(layers, blocks, b), _cut(layers, blocks, b + 1))
    for index in numba.prange(blocks):
        b = np.int64(index) + 1
        _down_seam(x, inverse, k0, k1, k2, ratio, out, _cut(layers, blocks, b), _cut(layers, blocks, b % blocks))


@njit(parallel=True)
def up_threads(x: Any, f: Any, inverse: Any, k0: Any, k1: Any, k2: Any, ratio: Any, coarse: Any, blocks: int) -> None:
    """Do the same as `up` by blocks of layers on several threads."""
    layers = x.shape[0]
    for index in numba.prange(blocks):
        b = np.int64(index)
        _up_block(x, f, inverse, k0, k1, k2, ratio, coarse, _cut(layers, blocks, b), _cut(layers, blocks, b + 1))
    for index in numba.prange(blocks):
        b = np.int64(index) + 1
        _up_seam(x, f, inverse, k0, k1, k2, _cut(layers, blocks, b), _cut(layers, blocks, b % blocks))
