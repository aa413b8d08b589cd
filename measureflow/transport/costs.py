"""The matrix of transport costs |x_i - y_j|^p, scaled so that nothing overflows and no absolute tolerance bites."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from measureflow.transport.plan import exponent

MAX_COST_BYTES = 2**30  # largest cost matrix that is formed: 1 GiB, 11585 x 11585 atoms
BLOCK_ENTRIES = 2**20  # entries of the cost matrix that are worked on at a time
SCALED = 40  # the largest scaled cost lies in [2^39, 2^40): POT's network simplex stops too early on small costs


def require_room(n: int, m: int) -> None:
    """Raise ValueError if a cost matrix (n, m) would take more than `MAX_COST_BYTES`."""
    needed = 8 * n * m
    if needed > MAX_COST_BYTES:
        raise ValueError(
            f"x and y must have a cost matrix of at most {MAX_COST_BYTES} bytes, "
            f"got n = {n} and m = {m} atoms, which need {needed} bytes"
        )


def cost_matrix(x: np.ndarray, y: np.ndarray, p: int) -> tuple[np.ndarray, int]:
    """Return scaled costs (n, m) and e, where the costs ``|x_i - y_j|^p`` are the scaled ones times ``2^e``.

    Differences are taken directly, coordinate by coordinate, so that equal points cost exactly 0 and close points far
    from the origin lose no digits; both scalings are by powers of two and round nothing.

    Parameters
    ----------
    x, y : ndarray, shapes (n, d) and (m, d)
        Positions, finite.
    p : int
        1 or 2.
    """
    from scipy.spatial.distance import cdist

    require_room(len(x), len(y))
    size = exponent(x, y)
    cost = cdist(np.ldexp(x, -size), np.ldexp(y, -size), "sqeuclidean" if p == 2 else "euclidean")
    shift = SCALED - math.frexp(float(cost.max()))[1]
    np.multiply(cost, math.ldexp(1.0, shift), out=cost)
    power = p * size - shift
    if power + SCALED + 2 > 1023:
        raise ValueError(f"x and y must be so close that |x - y|^{p} is finite, got coordinates up to 2^{size}")
    return cost, power


def _row_blocks(cost: np.ndarray) -> Iterator[slice]:
    rows = max(1, BLOCK_ENTRIES // cost.shape[1])
    return (slice(start, start + rows) for start in range(0, len(cost), rows))


def conjugate_rows(cost: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Return f (n,), f_i = min_j cost_ij - g_j: the largest f feasible with g (m,); -inf leaves a column out."""
    return np.concatenate([(cost[rows] - g).min(axis=1) for rows in _row_blocks(cost)])


def conjugate_columns(cost: np.ndarray, f: np.ndarray) -> np.ndarray:
    """Return g (m,), g_j = min_i cost_ij - f_i: the largest g feasible with f (n,)."""
    result = np.full(cost.shape[1], np.inf)
    for rows in _row_blocks(cost):
        np.minimum(result, (cost[rows] - f[rows, None]).min(axis=0), out=result)
    return result
