"""A critic that is a law of neurons: values, gradient in the points and gradient in the atoms, in one traversal.

The critic is D(x) = sum_j v_j a_j act(w_j . x + b_j) with atoms (a_j, w_j, b_j) and weights v_j (theory.md, section
7.3, the mean-field critic). The matrix of all pairs is never stored. Rows (points) are cut into blocks and neurons into
tiles, both chosen from the shapes alone. Every block has its own sum over rows, the blocks' sums are added in order in
float64, and threads run the same machine code on whole blocks: the bits do not depend on the number of threads.

Up to three dimensions the pairs are formed by vector loops over the neurons, four rows at a time. Above that the work
is three matrix products a tile, on one BLAS thread: more would change the bits and, at these sizes, mostly wait for each
other.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import numba
import numpy as np
from numba.core import types
from numba.extending import overload
from numpy.typing import NDArray

from measureflow._numba import njit
from measureflow._threads import one_blas_thread
from measureflow.kernels.elementary import tanh32, tanh64

NEURONS = 512  # at most so many neurons a tile: four rows of them stay in the first cache
ROWS = 256  # rows after which a sum in the dtype of the points goes into the sum in float64
MAX_BLOCKS = 64
THREADED_WORK = 2.0e7  # nanoseconds of serial work from which threads are worth their start
ACTIVATIONS = ("tanh", "relu")

Array = NDArray[Any]


# The arguments laid out for the loops, in one dtype, padded with zeros that add nothing; k = max(d, 2), 4 divides M:
# points (M, k); charges (M, k + 1), the points times the coefficients q and q itself; tiles (T, 2k + 2, W) of W
# neurons, whose rows are w (k), b, v a, v a w (k). A plain tuple: numba is slow to recognise a named one.
Packed = tuple[Array, Array, Array]


def _tanh(z: Any) -> Any:
    """Hyperbolic tangent of the dtype of z."""
    raise NotImplementedError("compiled code only")


@overload(_tanh)
def _tanh_compiled(z: Any) -> Callable[..., Any]:
    def single(z: Any) -> Any:
        return tanh32(z)

    def double(z: Any) -> Any:
        return tanh64(z)

    return single if z == types.float32 else double


@njit
def _activate(z: Any, zero: Any, smooth: Any) -> Any:
    """Activation at z: tanh, or relu where `smooth` is None (a type: compiled apart); NaN stays NaN."""
    if smooth is None:
        return zero if z <= zero else z
    return _tanh(z)


@njit
def _slope(t: Any, zero: Any, one: Any, smooth: Any) -> Any:
    """Derive act' from t = act: 1 - t^2, or where `smooth` is None 1 for t > 0 and else t, which is 0 or NaN."""
    if smooth is None:
        return one if t > zero else t
    return one - t * t


@njit
def _forward(points: Array, i: int, tile: Array, acts: Array, rows: Array, slopes: Any, space: Any, smooth: Any) -> None:
    """Rows i to i + 3 under one tile: store the activations in `acts`, add values and gradients to `rows`.

    The plane where `space` is None, no gradients where `slopes` is None: types, so that each case is compiled apart.
    """
    zero, one = tile.dtype.type(0), tile.dtype.type(1)
    k = 2 if space is None else 3
    w0, w1, w2, b, c = tile[0], tile[1], tile[k - 1], tile[k], tile[k + 1]
    v0, v1, v2 = tile[k + 2], tile[k + 3], tile[2 * k + 1]
    for r in range(4):
        x0, x1, x2 = points[i + r, 0], points[i + r, 1], points[i + r, k - 1]
        value = g0 = g1 = g2 = zero
        for j in range(b.size):
            z = b[j] + w0[j] * x0 + w1[j] * x1
            if space is not None:
                z += w2[j] * x2
            t = _activate(z, zero, smooth)
            acts[r, j] = t
            value += c[j] * t
            if slopes is not None:
                s = _slope(t, zero, one, smooth)
                g0 += v0[j] * s
                g1 += v1[j] * s
                if space is not None:
                    g2 += v2[j] * s
        rows[i + r, 0] += value
        rows[i + r, 1] += g0
        rows[i + r, 2] += g1
        if space is not None:
            rows[i + r, 3] += g2


@njit
def _backward(charges: Array, i: int, acts: Array, sums: Array, space: Any, smooth: Any) -> None:
    """Add to `sums` (k + 2, W) what rows i to i + 3 give: q act, q x act' (k of them), q act'."""
    zero, one = sums.dtype.type(0), sums.dtype.type(1)
    k = 2 if space is None else 3
    first, s0, s1, s2, last = sums[0], sums[1], sums[2], sums[k], sums[k + 1]
    a0, a1, a2, a3 = acts[0], acts[1], acts[2], acts[3]
    x0, x1, x2, x3 = charges[i, 0], charges[i + 1, 0], charges[i + 2, 0], charges[i + 3, 0]
    y0, y1, y2, y3 = charges[i, 1], charges[i + 1, 1], charges[i + 2, 1], charges[i + 3, 1]
    z0, z1, z2, z3 = charges[i, k - 1], charges[i + 1, k - 1], charges[i + 2, k - 1], charges[i + 3, k - 1]
    q0, q1, q2, q3 = charges[i, k], charges[i + 1, k], charges[i + 2, k], charges[i + 3, k]
    for j in range(first.size):
        t0, t1, t2, t3 = a0[j], a1[j], a2[j], a3[j]
        first[j] += (q0 * t0 + q1 * t1) + (q2 * t2 + q3 * t3)
        t0, t1 = _slope(t0, zero, one, smooth), _slope(t1, zero, one, smooth)
        t2, t3 = _slope(t2, zero, one, smooth), _slope(t3, zero, one, smooth)
        s0[j] += (x0 * t0 + x1 * t1) + (x2 * t2 + x3 * t3)
        s1[j] += (y0 * t0 + y1 * t1) + (y2 * t2 + y3 * t3)
        if space is not None:
            s2[j] += (z0 * t0 + z1 * t1) + (z2 * t2 + z3 * t3)
        last[j] += (q0 * t0 + q1 * t1) + (q2 * t2 + q3 * t3)


@njit
def _direct(
    packed: Packed, rows: Array, total: Array, start: int, stop: int, slopes: Any, atoms: bool, space: Any, smooth: Any
) -> None:
    """Rows start to stop by vector loops, in two or three dimensions: fill `rows`, add to `total` (T, k + 2, W)."""
    points, charges, tiles = packed
    acts = np.empty((4, tiles.shape[2]), tiles.dtype)
    sums = np.empty((total.shape[1], total.shape[2]), tiles.dtype)
    for t in range(tiles.shape[0]):
        for low in range(start, stop, ROWS):
            sums[:] = 0
            for i in range(low, min(low + ROWS, stop), 4):
                _forward(points, i, tiles[t], acts, rows, slopes, space, smooth)
                if atoms:
                    _backward(charges, i, acts, sums, space, smooth)
            if atoms:
                for m in range(sums.shape[0]):
                    for j in range(sums.shape[1]):
                        total[t, m, j] += sums[m, j]


@njit
def _bend(z: Array, tile: Array, charges: Array, rows: Array, sums: Array, smooth: Any) -> None:
    """Put act'(z + b) in place of z = w . x; add values to `rows`, q act and q act' to `sums` (2, W)."""
    zero, one = tile.dtype.type(0), tile.dtype.type(1)
    k = charges.shape[1] - 1
    b, c, first, last = tile[k], tile[k + 1], sums[0], sums[1]
    for i in range(z.shape[0]):
        value, row, q = zero, z[i], charges[i, k]
        for j in range(b.size):
            t = _activate(row[j] + b[j], zero, smooth)
            s = _slope(t, zero, one, smooth)
            value += c[j] * t
            first[j] += q * t
            last[j] += q * s
            row[j] = s
        rows[i, 0] += value


def _product(packed: Packed, rows: Array, total: Array, start: int, stop: int, slopes: Any, atoms: bool, smooth: Any) -> None:
    """Rows start to stop by matrix products, in any dimension: fill `rows`, add to `total` (T, k + 2, W)."""
    points, charges, tiles = packed
    k = points.shape[1]
    buffer = np.empty((min(ROWS, stop - start), tiles.shape[2]), tiles.dtype)
    for tile, into in zip(tiles, total, strict=True):
        for low in range(start, stop, ROWS):
            cut = slice(low, min(low + ROWS, stop))
            sums = np.zeros((2, tile.shape[1]), tiles.dtype)
            z = np.matmul(points[cut], tile[:k], out=buffer[: cut.stop - low])
            _bend(z, tile, charges[cut], rows[cut], sums, smooth)
            if slopes is not None:
                rows[cut, 1:] += z @ tile[k + 2 :].T
            if atoms:
                into[1:-1] += charges[cut, :k].T @ z
                into[[0, -1]] += sums


def _pack(points: Array, coefficients: Array, atoms: Array, weights: Array) -> Packed:
    """Lay the arguments out for the loops."""
    (n, d), h, dtype = points.shape, atoms.shape[0], points.dtype
    k, m = max(d, 2), n + -n % 4
    columns, charges = np.zeros((m, k), dtype), np.zeros((m, k + 1), dtype)
    columns[:n, :d] = points
    charges[:n, k] = coefficients
    charges[:n, :k] = columns[:n] * charges[:n, k:]
    count = max(1, -(-h // NEURONS))
    width = -(-max(h, 1) // (8 * count)) * 8
    rows = np.zeros((2 * k + 2, count * width), dtype)
    rows[:d, :h] = atoms[:, 1:-1].T
    rows[k, :h] = atoms[:, -1]
    rows[k + 1, :h] = weights * atoms[:, 0]
    rows[k + 2 :] = rows[k + 1] * rows[:k]
    return columns, charges, np.ascontiguousarray(rows.reshape(-1, count, width).transpose(1, 0, 2))


def _threads(pairs: int, d: int, itemsize: int) -> int:
    """Threads that the work is worth: one below about 20 ms."""
    work = pairs * itemsize * (0.3 + (0.03 * d if d > 3 else 0.0))
    return int(numba.get_num_threads()) if work > THREADED_WORK else 1


def over_blocks(m: int, shape: tuple[int, ...], work: Callable[[Array, int, int], None], threads: int) -> Array:
    """Let `work` add what blocks of m rows give to float64 arrays of their own; return the sum in order."""
    size = ROWS * max(1, -(-m // (ROWS * MAX_BLOCKS)))

    def block(start: int) -> Array:
        part = np.zeros(shape)
        work(part, start, min(start + size, m))
        return part

    total = np.zeros(shape)
    if threads == 1:
        for start in range(0, m, size):
            total += block(start)
        return total
    with ThreadPoolExecutor(threads) as pool:
        for part in pool.map(block, range(0, m, size)):
            total += part
    return total


def evaluate(
    points: Array,
    coefficients: Array,
    atoms: Array,
    weights: Array,
    activation: str,
    want_points: bool = True,
    want_atoms: bool = True,
) -> tuple[Array, Array | None, Array | None]:
    """Values of the critic D(x) = sum_j v_j a_j act(w_j . x + b_j), its gradient in x, and the gradient in its atoms.

    Parameters
    ----------
    points : (N, d), float32 or float64, the dtype of the work and of the results; all numbers finite, or NaN: NaN out
    coefficients : (N,), signed q of the pairing sum_i q_i D(x_i); used for the gradient in the atoms only
    atoms : (H, d + 2), columns a, w (d of them), b
    weights : (H,), v of the law
    activation : "tanh" or "relu" (with derivative 0 at 0)
    want_points, want_atoms : which gradients to compute

    Returns
    -------
    values : (N,), D(x_i)
    grad_points : (N, d), sum_j v_j a_j act'(w_j . x_i + b_j) w_j; or None
    grad_atoms : (H, d + 2), the gradient in theta_j of a_j sum_i q_i act(w_j . x_i + b_j), without a factor v_j: the
        Wasserstein gradient at the atom of sum_i q_i D(x_i) (theory.md, sections 1 and 7.3); or None

    Raises
    ------
    ValueError
        An unknown activation, or shapes that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> atoms = np.array([[2.0, 1.0, 0.5]])
    >>> evaluate(np.array([[1.0]]), np.ones(1), atoms, np.ones(1), "relu")
    (array([3.]), array([[2.]]), array([[1.5, 2. , 2. ]]))
    """
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {ACTIVATIONS}, got {activation!r}")
    x = np.asarray(points, None if getattr(points, "dtype", None) == np.float32 else np.float64)
    q, theta, v = (np.asarray(values, x.dtype) for values in (coefficients, atoms, weights))
    (n, d), h = x.shape, theta.shape[0]
    if theta.shape != (h, d + 2) or v.shape != (h,) or q.shape != (n,):
        shapes = f"points {x.shape}, coefficients {q.shape}, atoms {theta.shape}, weights {v.shape}"
        raise ValueError(f"shapes must be (N, d), (N,), (H, d + 2), (H,), got {shapes}")
    packed = _pack(x, q, theta, v)
    k = packed[0].shape[1]
    rows = np.zeros((packed[0].shape[0], k + 1), x.dtype)
    threads = _threads(n * h, d, x.itemsize)
    slopes, space, smooth = want_points or None, k == 3 or None, activation == "tanh" or None

    def block(part: Array, start: int, stop: int) -> None:
        if k <= 3:
            _direct(packed, rows, part, start, stop, slopes, bool(want_atoms), space, smooth)
        else:
            _product(packed, rows, part, start, stop, slopes, bool(want_atoms), smooth)

    with nullcontext() if k <= 3 else one_blas_thread(look_again=False):
        total = over_blocks(len(packed[0]), (len(packed[2]), k + 2, packed[2].shape[2]), block, threads)
    values, grad_points = rows[:n, 0].copy(), rows[:n, 1 : d + 1].copy() if want_points else None
    if not want_atoms:
        return values, grad_points, None
    sums = total.transpose(0, 2, 1).reshape(-1, k + 2)[:h, [*range(d + 1), k + 1]]
    sums[:, 1:] *= theta[:, :1]
    return values, grad_points, sums.astype(x.dtype)
