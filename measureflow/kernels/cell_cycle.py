"""Parts of a multigrid cycle for springs between neighbouring cells of a grid in three dimensions.

The operator is  (A v)_i = diagonal_i v_i + sum over faces of i of faces (v_i - v_neighbour);  faces[k] at a cell is the spring to
the next cell along axis k, the first one after the last; 0 for walls. Grids of fewer dimensions have axes of length 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from measureflow._numba import njit


@njit
def inverse_diagonal(diagonal: Any, faces: Any, least: float, out: Any) -> None:
    """Fill out with the inverse of A's diagonal, 0 where that is at most `least`: there v stays 0."""
    _, n0, n1, n2 = faces.shape
    for i in range(n0):
        for j in range(n1):
            for k in range(n2):
                total = diagonal[i, j, k] + faces[0, i, j, k] + faces[1, i, j, k] + faces[2, i, j, k]
                total += faces[0, i - 1, j, k] + faces[1, i, j - 1, k] + faces[2, i, j, k - 1]
                out[i, j, k] = 1.0 / total if total > least else 0.0


@njit
def relax(inverse: Any, faces: Any, load: Any, v: Any, backward: bool) -> None:
    """Do a sweep of Gauss and Seidel for A v = load, forwards or backwards (its adjoint)."""
    _, n0, n1, n2 = faces.shape
    for ii in range(n0):
        i = n0 - 1 - ii if backward else ii
        i_next = i + 1 if i + 1 < n0 else 0
        for jj in range(n1):
            j = n1 - 1 - jj if backward else jj
            j_next = j + 1 if j + 1 < n1 else 0
            for kk in range(n2):
                k = n2 - 1 - kk if backward else kk
                scale = inverse[i, j, k]
                if scale == 0.0:
                    continue
                k_next = k + 1 if k + 1 < n2 else 0
                pull = load[i, j, k] + faces[0, i, j, k] * v[i_next, j, k] + faces[0, i - 1, j, k] * v[i - 1, j, k]
                pull += faces[1, i, j, k] * v[i, j_next, k] + faces[1, i, j - 1, k] * v[i, j - 1, k]
                pull += faces[2, i, j, k] * v[i, j, k_next] + faces[2, i, j, k - 1] * v[i, j, k - 1]
                v[i, j, k] = scale * pull


@njit
def restricted_residual(inverse: Any, faces: Any, load: Any, v: Any, out: Any) -> None:
    """Fill out, of half as many cells along each axis (rounded up), with the sums of load - A v."""
    _, n0, n1, n2 = faces.shape
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            for k in range(out.shape[2]):
                out[i, j, k] = 0.0
    for i in range(n0):
        i_next = i + 1 if i + 1 < n0 else 0
        for j in range(n1):
            j_next = j + 1 if j + 1 < n1 else 0
            for k in range(n2):
                scale = inverse[i, j, k]
                if scale == 0.0:
                    continue
                k_next = k + 1 if k + 1 < n2 else 0
                pull = load[i, j, k] + faces[0, i, j, k] * v[i_next, j, k] + faces[0, i - 1, j, k] * v[i - 1, j, k]
                pull += faces[1, i, j, k] * v[i, j_next, k] + faces[1, i, j - 1, k] * v[i, j - 1, k]
                pull += faces[2, i, j, k] * v[i, j, k_next] + faces[2, i, j, k - 1] * v[i, j, k - 1]
                out[i // 2, j // 2, k // 2] += pull - v[i, j, k] / scale


@njit
def add_prolonged(coarse: Any, inverse: Any, v: Any) -> None:
    """Add to v the value of the coarse cell that contains the cell."""
    n0, n1, n2 = v.shape
    for i in range(n0):
        for j in range(n1):
            for k in range(n2):
                if inverse[i, j, k] != 0.0:
                    v[i, j, k] += coarse[i // 2, j // 2, k // 2]


@njit
def coarsen(diagonal: Any, faces: Any, coarse_diagonal: Any, coarse_faces: Any) -> None:
    """Fill the operator of cells twice as wide: sums of the diagonal, springs of doubled length."""
    _, n0, n1, n2 = faces.shape
    coarse_diagonal[:] = 0.0
    coarse_faces[:] = 0.0
    sizes = np.array([n0, n1, n2])
    for i in range(n0):
        for j in range(n1):
            for k in range(n2):
                a, b, c = i // 2, j // 2, k // 2
                coarse_diagonal[a, b, c] += diagonal[i, j, k]
                for axis in range(3):
                    at = i if axis == 0 else j if axis == 1 else k
                    if (at % 2 == 1 or at == sizes[axis] - 1) and sizes[axis] > 2:
                        coarse_faces[axis, a, b, c] += 0.5 * faces[axis, i, j, k]
