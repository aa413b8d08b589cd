"""Multigrid for (diag(a) - div(k grad)) u = f on grids with walls, glued sides and blocked cells.

Cells are joined in pairs (`kernels.coarsening`), sums go down and constants come up. A V-cycle has one chessboard Gauss-Seidel
sweep before and one after the coarse correction, in opposite order (`kernels.multigrid`), so that it is symmetric, and
preconditions conjugate gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from measureflow.kernels.coarsening import CHESS, COARSEST, LEVELS, START, build, factorise
from measureflow.kernels.multigrid import LEAST, cycle, down_threads, up_threads
from measureflow.kernels.springs import apply, blocks, descend, dot, threaded, turn

Faces = tuple[np.ndarray, np.ndarray, np.ndarray]


@final
class Elliptic:
    """The operator A u = a u - div(k grad u) on a box of cells, and its V-cycle.

    Parameters
    ----------
    a : ndarray, shape of the grid (1 to 3 axes)
        Nonnegative.
    faces : sequence of ndarray, one an axis, each of the shape of a
        Conductance of the face between a cell and the next one along the axis, cyclically: the last one joins the last cell with
        the first (0 at walls). Cells of which all faces and a are 0 take no part: u = 0 there. Arrays are kept, not copied.

    Notes
    -----
    With a = 0 the operator is singular; right sides must have sum 0 on every connected part, and solutions are shifted to sum 0.
    """

    def __init__(self, a: np.ndarray, faces: Sequence[np.ndarray]) -> None:
        self.shape = a.shape
        long = [n for n in a.shape if n > 1]
        self._solid = solid = (long[0], 1, long[1]) if len(long) == 2 else (1,) * (3 - len(long)) + tuple(long)
        self._table = np.zeros((LEVELS, 8), dtype=np.int64)
        self._top, self._room = np.empty(solid), _room(a.shape)
        self._allocate()
        self.update(a, faces)

    def _allocate(self) -> None:
        """Make room for the coarse grids: conductances; inverse diagonals, loads and solutions."""
        self._springs, self._flat = np.empty((3 if self._solid[1] > 1 else 2, self._room)), np.empty((3, self._room))

    def update(self, a: np.ndarray, faces: Sequence[np.ndarray]) -> None:
        """Replace all coefficients, on the same grid."""
        none = np.zeros((1, 1, 1))
        long = [k for k, n in zip(faces, self.shape, strict=True) if n > 1]
        found: list[np.ndarray] = [_plain(k).reshape(self._solid) for k in long]
        if len(found) < 2:
            found = [np.zeros(self._solid), none, *found, np.zeros(self._solid)][:3]
        elif len(found) == 2:
            found.insert(1, none)
        self._faces: Faces = (found[0], found[1], found[2])
        self._build(a, 0)

    def ground(self, a: np.ndarray) -> None:
        """Replace the coefficient a of u itself."""
        self._build(a, self._levels)

    def _build(self, a: np.ndarray, keep: int) -> None:
        self._a = _plain(a).reshape(self._solid)
        while True:
            flat = self._flat
            levels = build(self._a, *self._faces, keep, self._table, self._top, self._springs, flat[0], flat[1])
            if levels > 0:
                break
            self._room = 2 * max(self._room, -levels)
            self._allocate()
        self._levels = int(levels)
        last = self._levels - 1
        inverse, faces = (self._top, self._faces) if last == 0 else (self._grid(self._flat[0], last), self._coarse(last))
        self._factors = np.empty((inverse.size, inverse.size))
        factorise(inverse, *faces, self._factors)
        self.singular = not bool(np.any(self._a > 0.0))

    def _grid(self, flat: np.ndarray, level: int) -> np.ndarray:
        """Return the numbers of a coarse grid."""
        shape, start = self._table[level, :3].tolist(), int(self._table[level, START])
        return flat[start : start + shape[0] * shape[1] * shape[2]].reshape(shape)

    def _coarse(self, level: int) -> Faces:
        """Return the conductances of a coarse grid."""
        springs = self._springs
        return self._grid(springs[0], level), self._grid(springs[-2], level), self._grid(springs[-1], level)

    def apply(self, u: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Return A u, in the contiguous array `out` if there is one."""
        out = np.empty(self.shape) if out is None else out
        apply(_plain(u).reshape(self._solid), self._a, self._faces, out.reshape(self._solid))
        return out

    def divergence(self, u: np.ndarray) -> np.ndarray:
        """Return -div(k grad u)."""
        out = np.empty(self._solid)
        apply(_plain(u).reshape(self._solid), None, self._faces, out)
        return out.reshape(self.shape)

    def cycle(self, f: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Return about the solution of A u = f, by one symmetric V-cycle, in the contiguous array `out` if there is one."""
        out = np.empty(self.shape) if out is None else out
        load = _plain(f).reshape(self._solid)
        self._cycle(0, out.reshape(self._solid), load, self._top, self._faces)
        return out

    def _cycle(self, level: int, x: np.ndarray, f: np.ndarray, inverse: np.ndarray, faces: Faces) -> None:
        """Write a V-cycle's solution on a grid to x, the largest grids on several threads."""
        description = self._table[level]
        parts = blocks(x.shape[0], LEAST) if threaded(x.size) and description[CHESS] else 1
        if parts == 1 or level == self._levels - 1:
            cycle(x, f, inverse, *faces, level, self._table, self._springs, self._flat, self._factors)
            return
        below = [self._grid(flat, level + 1) for flat in self._flat]
        down_threads(x, f, inverse, *faces, description[3:6], below[1], parts)
        self._cycle(level + 1, below[2], below[1], below[0], self._coarse(level + 1))
        up_threads(x, f, inverse, *faces, description[3:6], below[2], parts)

    def solve(self, f: np.ndarray, rtol: float = 1e-10, limit: int = 100) -> tuple[np.ndarray, float, int]:
        """Solve A u = f by conjugate gradients; return u, the relative residual |f - A u| / |f| and the iterations."""
        r = np.array(f, dtype=float, order="C")
        size = float(np.sqrt(dot(r, r)))
        u, p, z = np.zeros(self.shape), np.zeros(self.shape), np.empty(self.shape)
        before, residual, count = 0.0, size, 0
        while residual > rtol * size and count < limit:
            now = dot(r, self.cycle(r, z))
            if not now > 0.0:
                break
            turn(p, z, now / before if before > 0.0 else 0.0)
            bend = dot(p, self.apply(p, z))
            if not bend > 0.0:
                break
            residual = float(np.sqrt(descend(u, r, p, z, now / bend)))
            before, count = now, count + 1
        if self.singular:
            held = self._top.reshape(self.shape) > 0.0
            u -= np.where(held, float(np.sum(u)) / max(int(np.count_nonzero(held)), 1), 0.0)
        return u, residual / size if size > 0.0 else 0.0, count


def _plain(a: np.ndarray) -> np.ndarray:
    """Return an array as kernels are compiled for: contiguous and writable floats."""
    return np.require(a, float, ["C", "W"])


def _room(shape: tuple[int, ...]) -> int:
    """Return the cells of all coarse grids if every axis is coarsened each time."""
    total = 0
    while int(np.prod(shape)) > COARSEST:
        shape = tuple(-(-n // 2) for n in shape)
        total += int(np.prod(shape))
    return total
