"""What a critic sees of a batch, in compiled code: tuples of points, blurred by noise; and forces on inputs back to points.

A view is (orders, offsets, shares, whether orders are drawn, whether offsets are). Tuple i holds point i and the points
orders[0, i], orders[1, i], ...; orders are permutations, so that each point is in every place once. Input r = i k + q is tuple
i moved by an offset, with the share shares[q], q < k: offsets are the k nodes of a cubature rule; or drawn, k = 1, one normal
random vector a tuple. What is drawn is drawn anew for each update.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from measureflow._numba import njit
from measureflow.kernels.draws import normals, shuffle
from measureflow.kernels.product import keep_apart

Array = NDArray[Any]


@njit
def redraw(view: Any, seed: int, update: int, side: int, noise: float) -> None:
    """Draw the tuples and the noise of a view; sides have streams of their own, those of batches are 0 and 1."""
    orders, offsets, _, tuples_drawn, noise_drawn = view
    if tuples_drawn:
        for k in range(orders.shape[0]):
            shuffle(seed, update, 2 * (k + 1) + side, orders[k])
    if noise_drawn and offsets.shape[0] > 0:
        normals(seed, update, 2 * (orders.shape[0] + 1) + side, noise, offsets)


@njit
def take(source: Array, indices: Array, low: int, into: Array, rows: int) -> None:
    """Copy rows indices[low], ... of `source` to the first columns of `into`."""
    for r in range(rows):
        i = indices[low + r]
        for j in range(source.shape[1]):
            into[r, j] = source[i, j]


@njit
def look(source: Array, indices: Array, view: Any, low: int, into: Array, rows: int) -> None:
    """Fill the first rows of `into` with the inputs low, low + 1, ... made of the rows `indices` of `source`."""
    keep_apart()
    orders, offsets, shares, _, _ = view
    d, nodes, kinds = source.shape[1], shares.size, offsets.shape[0]
    if orders.shape[0] == 0 and kinds == 0:
        take(source, indices, low, into, rows)
        return
    for r in range(rows):
        i = (low + r) // nodes
        for p in range(orders.shape[0] + 1):
            k = indices[i] if p == 0 else indices[orders[p - 1, i]]
            for j in range(d):
                into[r, p * d + j] = source[k, j]
        if kinds > 0:
            at = (low + r) % kinds
            for j in range(offsets.shape[1]):
                into[r, j] += offsets[at, j]


@njit
def weigh(view: Any, low: int, rows: int, factors: Array) -> None:
    """Multiply the factors of inputs by their shares."""
    shares = view[2]
    if shares.size > 1:
        for r in range(rows):
            factors[r] *= shares[(low + r) % shares.size]


@njit
def push_back(slopes: Array, factors: Array, view: Any, low: int, rows: int, forces: Array) -> None:
    """Add the slopes at inputs, times their factors and shares, to the forces on points."""
    keep_apart()
    orders, _, shares, _, _ = view
    d, nodes = forces.shape[1], shares.size
    for r in range(rows):
        i, factor = (low + r) // nodes, factors[r] * shares[(low + r) % nodes]
        for p in range(orders.shape[0] + 1):
            k = i if p == 0 else orders[p - 1, i]
            for j in range(d):
                forces[k, j] += factor * slopes[r, p * d + j]
