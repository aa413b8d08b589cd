"""Multigrid for (diag(a) - div(k grad)) u = f on grids with walls, glued sides and blocked cells.

Cells are joined in pairs along each axis (or along the strong axes only), sums go down and constants come up. The coarse
conductances are those of the joined faces, divided by the ratio of distances: with a cell's unknown at its centre this, not the
plain Galerkin product, is the coarse flux. A V-cycle has one chessboard Gauss-Seidel sweep before and one after the coarse
correction, in opposite order, so that it is symmetric, and preconditions conjugate gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from measureflow.kernels.multigrid import ROWS, apply, block_sums, descend, dot, prolong, reciprocal, relax, restrict, turn

COARSEST = 16
"""Cells at which the coarsest system is solved by a dense matrix."""
STRONG = 0.3
"""Axes whose conductances reach this share of the strongest axis are coarsened."""
DAMPING = 0.8

Faces = tuple[np.ndarray, np.ndarray, np.ndarray]


class _Level:
    """One grid: coefficients, and room for a right side, a solution and a residual."""

    def __init__(self, faces: Faces, widths: Sequence[np.ndarray]) -> None:
        self.faces, self.widths = faces, widths
        self.shape = shape = faces[0].shape
        self.around = sum((k + np.roll(k, 1, axis) for axis, k in enumerate(faces)), np.zeros(shape))
        glued = [bool(np.take(k, -1, axis).any()) for axis, k in enumerate(faces)]
        self.chess = not any(g and n % 2 for g, n in zip(glued, shape, strict=True))
        strength = [float(np.max(k)) for k in faces]
        pairs = [2 if n > 1 and s >= STRONG * max(strength) else 1 for n, s in zip(shape, strength, strict=True)]
        self.ratio = np.array(pairs if max(pairs) == 2 else [2 if n > 1 else 1 for n in shape])
        self.coarse_shape = tuple(-(-n // int(r)) for n, r in zip(shape, self.ratio, strict=True))
        self.a, self.inverse, self.f, self.x, self.spare = (np.zeros(shape) for _ in range(5))
        self.buffers = np.empty((-(-self.coarse_shape[0] * self.coarse_shape[1] // ROWS), shape[2]))

    def coarser(self) -> _Level:
        """Return the next grid."""
        faces, widths = list(self.faces), list(self.widths)
        for axis in range(3):
            if self.ratio[axis] == 1:
                continue
            w = widths[axis]
            pairs = np.arange(0, len(w), 2)
            wide = np.add.reduceat(w, pairs)
            near, far = 0.5 * (w + np.roll(w, -1)), 0.5 * (wide + np.roll(wide, -1))  # distances to the next cell
            last = np.minimum(pairs + 1, len(w) - 1)  # the face behind a pair
            share = (near[last] / far).reshape([-1 if k == axis else 1 for k in range(3)])
            faces = [
                np.take(k, last, axis) * share if d == axis else np.add.reduceat(k, pairs, axis) for d, k in enumerate(faces)
            ]
            widths[axis] = wide
            if len(wide) == 1:
                faces[axis] = np.zeros_like(faces[axis])
        return _Level(_three(faces), widths)

    def ground(self, a: np.ndarray) -> None:
        """Take a as the coefficient of u itself."""
        self.a[...] = a
        reciprocal(self.a, self.around, self.inverse)

    def smooth(self, forward: bool) -> None:
        if self.chess:
            relax(self.x, self.f, self.inverse, self.faces, 0 if forward else 1)
            return
        apply(self.x, self.a, self.faces, self.spare)
        self.x += DAMPING * self.inverse * (self.f - self.spare)


@final
class Elliptic:
    """The operator A u = a u - div(k grad u) on a box of cells, and its V-cycle.

    Parameters
    ----------
    a : ndarray, shape of the grid (1 to 3 axes)
        Nonnegative.
    faces : sequence of ndarray, one an axis, each of the shape of a
        Conductance of the face between a cell and the next one along the axis, cyclically: the last one joins the last cell with
        the first (0 at walls). Cells of which all faces and a are 0 take no part: u = 0 there.

    Notes
    -----
    With a = 0 the operator is singular; right sides must have sum 0 on every connected part, and so has the solution.
    """

    def __init__(self, a: np.ndarray, faces: Sequence[np.ndarray]) -> None:
        self.shape = a.shape
        solid = (1,) * (3 - a.ndim) + a.shape
        self._none = none = np.zeros(solid)
        padded = [none] * (3 - a.ndim) + [np.ascontiguousarray(k, dtype=float).reshape(solid) for k in faces]
        padded = [k if n > 1 else none for k, n in zip(padded, solid, strict=True)]
        level = _Level(_three(padded), [np.ones(n) for n in solid])
        self.levels = [level]
        while level.a.size > COARSEST:
            level = level.coarser()
            self.levels.append(level)
        self.ground(a)

    def ground(self, a: np.ndarray) -> None:
        """Replace the coefficient a of u itself."""
        top = self.levels[0]
        top.ground(np.asarray(a, dtype=float).reshape(top.shape))
        for level, below in zip(self.levels[:-1], self.levels[1:], strict=True):
            block_sums(level.a, level.ratio, below.f)
            below.ground(below.f)
        self.singular = not bool(np.any(top.a > 0.0))
        self._inverse = _pseudo_inverse(self.levels[-1])

    def apply(self, u: np.ndarray) -> np.ndarray:
        """Return A u."""
        top = self.levels[0]
        out = np.empty_like(top.a)
        apply(np.ascontiguousarray(u).reshape(top.a.shape), top.a, top.faces, out)
        return out.reshape(self.shape)

    def divergence(self, u: np.ndarray) -> np.ndarray:
        """Return -div(k grad u)."""
        top = self.levels[0]
        out = np.empty(top.shape)
        apply(np.ascontiguousarray(u).reshape(top.shape), self._none, top.faces, out)
        return out.reshape(self.shape)

    def cycle(self, f: np.ndarray) -> np.ndarray:
        """Return the approximate solution of A u = f that one symmetric V-cycle makes."""
        top = self.levels[0]
        top.f[...] = f.reshape(top.a.shape)
        self._descend(0)
        return top.x.reshape(self.shape).copy()

    def _descend(self, depth: int) -> None:
        level = self.levels[depth]
        if depth == len(self.levels) - 1:
            level.x[...] = (self._inverse @ level.f.ravel()).reshape(level.a.shape)
            return
        level.x[...] = 0.0
        level.smooth(True)
        below = self.levels[depth + 1]
        restrict(level.x, level.f, level.a, level.faces, level.ratio, below.f, level.buffers)
        self._descend(depth + 1)
        prolong(below.x, level.ratio, level.x)
        level.x *= level.inverse > 0.0
        level.smooth(False)

    def solve(self, f: np.ndarray, rtol: float = 1e-10, limit: int = 100) -> tuple[np.ndarray, float, int]:
        """Solve A u = f by conjugate gradients; return u, the relative residual |f - A u| / |f| and the iterations."""
        r = np.array(f, dtype=float)
        size = float(np.sqrt(dot(r, r)))
        u, p, before, residual, count = np.zeros(self.shape), np.zeros(self.shape), 0.0, size, 0
        while residual > rtol * size and count < limit:
            z = self.cycle(r)
            now = dot(r, z)
            if not now > 0.0:
                break
            turn(p, z, now / before if before > 0.0 else 0.0)
            q = self.apply(p)
            bend = dot(p, q)
            if not bend > 0.0:
                break
            residual = float(np.sqrt(descend(u, r, p, q, now / bend)))
            before, count = now, count + 1
        if self.singular:
            u -= np.where(self.levels[0].inverse.reshape(self.shape) > 0.0, _mean(u, self.levels[0].inverse), 0.0)
        return u, residual / size if size > 0.0 else 0.0, count


def _mean(u: np.ndarray, inverse: np.ndarray) -> float:
    return float(np.sum(u)) / max(int(np.count_nonzero(inverse)), 1)


def _three(faces: Sequence[np.ndarray]) -> Faces:
    return np.ascontiguousarray(faces[0]), np.ascontiguousarray(faces[1]), np.ascontiguousarray(faces[2])


def _pseudo_inverse(level: _Level) -> np.ndarray:
    n = level.a.size
    columns = np.empty((n, n))
    for k in range(n):
        unit, out = np.zeros(n), np.empty(level.a.shape)
        unit[k] = 1.0
        apply(unit.reshape(level.a.shape), level.a, level.faces, out)
        columns[:, k] = out.ravel()
    from scipy.linalg import pinvh

    return np.asarray(pinvh(0.5 * (columns + columns.T)))
