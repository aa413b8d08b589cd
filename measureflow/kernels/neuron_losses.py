"""A critic that is a law of neurons under a loss: values, slopes and the gradient of E phi(D) in the neurons, in one traversal.

The force of point i on the neurons, q_i = s w_i k(s D(x_i)) with a slope k of the loss, is known as soon as the row of the
point has met all neurons; its activations are still at hand then, so that no point is visited twice.

The layout is that of `neurons`.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from measureflow._numba import njit
from measureflow._threads import one_blas_thread
from measureflow.kernels.neurons import (
    ROWS,
    Packed,
    _activate,
    _backward,
    _forward,
    _pack,
    _slope,
    _threads,
    over_blocks,
)

Array = NDArray[Any]

ONE, LOGISTIC, AFFINE, STEP, EXPONENTIAL = range(5)
"""Slopes k(t) of losses: 1, sigma(-t), 1 - t, 1 where t < 1, exp(-t)."""


@njit
def _force(t: float, kind: int) -> float:
    """Return k(t)."""
    if kind == LOGISTIC:
        return 1.0 / (1.0 + np.exp(t)) if t < 0.0 else np.exp(-t) / (1.0 + np.exp(-t))
    if kind == AFFINE:
        return 1.0 - t
    if kind == STEP:
        return 1.0 if t < 1.0 else (0.0 if t >= 1.0 else t)
    if kind == EXPONENTIAL:
        return np.exp(-t)
    return 1.0


@njit
def _direct(
    packed: Packed, rows: Array, total: Array, start: int, stop: int, kind: int, sign: float, slopes: Any, space: Any, smooth: Any
) -> None:
    """Rows start to stop by vector loops, in two or three dimensions: fill `rows`, add to `total` (T, k + 2, W)."""
    points, charges, tiles = packed
    count, width = tiles.shape[0], tiles.shape[2]
    acts = np.empty((count, 4, width), tiles.dtype)
    sums = np.empty((count, total.shape[1], width), tiles.dtype)
    scaled = np.empty((4, charges.shape[1]), tiles.dtype)
    for low in range(start, stop, ROWS):
        sums[:] = 0
        for i in range(low, min(low + ROWS, stop), 4):
            for t in range(count):
                _forward(points, i, tiles[t], acts[t], rows, slopes, space, smooth)
            for r in range(4):
                q = tiles.dtype.type(sign * _force(sign * rows[i + r, 0], kind))
                for m in range(charges.shape[1]):
                    scaled[r, m] = q * charges[i + r, m]
            for t in range(count):
                _backward(scaled, 0, acts[t], sums[t], space, smooth)
        for t in range(count):
            for m in range(total.shape[1]):
                for j in range(width):
                    total[t, m, j] += sums[t, m, j]


@njit
def _bent(z: Array, tile: Array, k: int, rows: Array, smooth: Any) -> None:
    """Put t = act(z + b) in place of z = w . x; add values to `rows`."""
    zero = tile.dtype.type(0)
    b, c = tile[k], tile[k + 1]
    for i in range(z.shape[0]):
        value, row = zero, z[i]
        for j in range(b.size):
            t = _activate(row[j] + b[j], zero, smooth)
            value += c[j] * t
            row[j] = t
        rows[i, 0] += value


@njit
def _charged(z: Array, scaled: Array, sums: Array, smooth: Any) -> None:
    """Add q act and q act' to `sums` (2, W) and put act' in place of act."""
    zero, one = z.dtype.type(0), z.dtype.type(1)
    first, last, k = sums[0], sums[1], scaled.shape[1] - 1
    for i in range(z.shape[0]):
        row, q = z[i], scaled[i, k]
        for j in range(first.size):
            t = row[j]
            s = _slope(t, zero, one, smooth)
            first[j] += q * t
            last[j] += q * s
            row[j] = s


@njit
def _scaled(charges: Array, values: Array, kind: int, sign: float, out: Array) -> None:
    """Put charges times the forces in `out`."""
    for i in range(charges.shape[0]):
        q = charges.dtype.type(sign * _force(sign * values[i], kind))
        for m in range(charges.shape[1]):
            out[i, m] = q * charges[i, m]


def _product(
    packed: Packed, rows: Array, total: Array, start: int, stop: int, kind: int, sign: float, slopes: Any, smooth: Any
) -> None:
    """Rows start to stop by matrix products, in any dimension: fill `rows`, add to `total` (T, k + 2, W)."""
    points, charges, tiles = packed
    k = points.shape[1]
    buffer = np.empty((len(tiles), min(ROWS, stop - start), tiles.shape[2]), tiles.dtype)
    scaled = np.empty((ROWS, charges.shape[1]), tiles.dtype)
    for low in range(start, stop, ROWS):
        cut = slice(low, min(low + ROWS, stop))
        count = cut.stop - low
        for tile, z in zip(tiles, buffer, strict=True):
            _bent(np.matmul(points[cut], tile[:k], out=z[:count]), tile, k, rows[cut], smooth)
        _scaled(charges[cut], rows[cut, 0], kind, sign, scaled[:count])
        for tile, z, into in zip(tiles, buffer, total, strict=True):
            sums = np.zeros((2, tile.shape[1]), tiles.dtype)
            _charged(z[:count], scaled[:count], sums, smooth)
            if slopes is not None:
                rows[cut, 1:] += z[:count] @ tile[k + 2 :].T
            into[1:-1] += scaled[:count, :k].T @ z[:count]
            into[[0, -1]] += sums


def evaluate_loss(
    points: Array,
    shares: Array,
    atoms: Array,
    weights: Array,
    activation: str,
    kind: int,
    sign: float,
    want_points: bool = True,
) -> tuple[Array, Array | None, Array]:
    """Values of the critic D, its gradient in x, and the gradient of sum_i w_i phi(D(x_i)) in its atoms, phi'(t) = s k(s t).

    Parameters
    ----------
    points : (N, d), float32 or float64, the dtype of the work and of the results
    shares : (N,), w
    atoms : (H, d + 2), columns a, w, b
    weights : (H,), v of the law
    activation : "tanh" or "relu"
    kind, sign : k, one of ONE, LOGISTIC, AFFINE, STEP, EXPONENTIAL, and s, 1 or -1
    want_points : whether to compute the gradient in x

    Returns
    -------
    values (N,), gradient in x (N, d) or None, Wasserstein gradient at the atoms (H, d + 2): without a factor v_j

    Examples
    --------
    >>> atoms = np.array([[2.0, 1.0, 0.5]])
    >>> values, slopes, sums = evaluate_loss(np.array([[1.0]]), np.ones(1), atoms, np.ones(1), "relu", AFFINE, 1.0)
    >>> values, slopes, sums
    (array([3.]), array([[2.]]), array([[-3., -4., -4.]]))
    """
    packed = _pack(points, shares.astype(points.dtype, copy=False), atoms, weights)
    (m, k), (n, d), h = packed[0].shape, points.shape, len(atoms)
    rows = np.zeros((m, k + 1), points.dtype)
    slopes, space, smooth = want_points or None, k == 3 or None, activation == "tanh" or None

    def block(part: Array, start: int, stop: int) -> None:
        if k <= 3:
            _direct(packed, rows, part, start, stop, kind, float(sign), slopes, space, smooth)
        else:
            _product(packed, rows, part, start, stop, kind, float(sign), slopes, smooth)

    with nullcontext() if k <= 3 else one_blas_thread(look_again=False):
        shape = (len(packed[2]), k + 2, packed[2].shape[2])
        total = over_blocks(m, shape, block, _threads(n * h, d, points.itemsize))
    sums = total.transpose(0, 2, 1).reshape(-1, k + 2)[:h, [*range(d + 1), k + 1]]
    sums[:, 1:] *= atoms[:, :1]
    values = rows[:n, 0].copy()
    return values, rows[:n, 1 : d + 1].copy() if want_points else None, sums.astype(points.dtype)
