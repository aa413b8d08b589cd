"""Proof that atoms which move a little move optimally: small moves are cyclically monotone."""

from __future__ import annotations

import numpy as np

LARGEST_DIM = 64
"""Dimensions up to which a linear part of the move is looked for."""
ROUNDING = 1e-9


def labels_optimal(x: np.ndarray, y: np.ndarray) -> bool:
    """Return whether it is certain that moving every atom x_i to y_i is an optimal transport for the squared distance.

    Whatever the weights, a plan is optimal if its support is cyclically monotone: sum <y_i, x_i - x_i'> >= 0 over every cycle
    i -> i' (Villani, Topics in optimal transportation, theorem 2.12). Write y_i - x_i = c + A (x_i - m) + r_i with A symmetric.
    Over a cycle c and m drop out, and for symmetric B = 1 + A, as sum <B x_i, x_i - x_i'> = sum <B (x_i - x_i'), x_i - x_i'> / 2,

        sum <y_i, x_i - x_i'> = sum <B (x_i - x_i'), x_i - x_i'> / 2 + sum <r_i, x_i - x_i'>
                             >= sum ((1 + a) |x_i - x_i'| / 2 - |r_i|) |x_i - x_i'|,   a the least eigenvalue of A.

    So it is enough that |r_i| <= (1 + a) d_i / 2 for every atom, d_i the distance to its nearest neighbour. This is tried for
    A = 0 and for the A of least squares. It is sufficient only: False says nothing.

    Parameters
    ----------
    x, y : ndarray, shape (n, d)
        Atoms before and after.

    Returns
    -------
    bool
    """
    if len(x) == 1 or np.array_equal(x, y):
        return True
    from scipy.spatial import cKDTree

    room = 0.5 * (1.0 - ROUNDING) * cKDTree(x).query(x, k=2)[0][:, 1]
    move = (y - x) - np.mean(y - x, axis=0)
    if bool(np.all(np.linalg.norm(move, axis=1) <= room)):
        return True
    if x.shape[1] > LARGEST_DIM:
        return False
    centred = x - np.mean(x, axis=0)
    a = _symmetric_fit(centred, move)
    least = 1.0 + float(np.linalg.eigvalsh(a)[0])
    rest = np.linalg.norm(move - centred @ a, axis=1)
    return least > 0.0 and bool(np.all(rest <= least * room))


def _symmetric_fit(x: np.ndarray, move: np.ndarray) -> np.ndarray:
    """Return the symmetric A of least |move - x A|^2: A C + C A = B + B^T with C = x^T x, B = x^T move."""
    squares, basis = np.linalg.eigh(x.T @ x)
    squares = np.maximum(squares, 0.0)
    b = basis.T @ (x.T @ move) @ basis
    sums = squares[:, None] + squares[None, :]
    floor = 1e-12 * max(float(squares[-1]), 1e-300)
    a = np.divide(b + b.T, sums, out=np.zeros_like(b), where=sums > floor)
    return np.asarray(basis @ a @ basis.T)
