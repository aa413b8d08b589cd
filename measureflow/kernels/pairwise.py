"""Sums of a kernel over all pairs of two point sets, and their gradients, without the n x m matrix.

For signed weights w of the sources y,

    u_i = sum_j w_j k(x_i, y_j),        g_i = sum_j w_j grad_1 k(x_i, y_j),

with k one of exp(-|x - y|^2 / (2 s^2)) ("gaussian"), exp(-|x - y| / s) ("laplace") and -|x - y| ("energy"). Where x = y
the gradient of |x - y| is taken as 0. Coordinates are scaled first, so that k is 2^(-|x - y|^2), 2^(-|x - y|) or
|x - y| (the result is that of points moved by half a unit in their last place; "energy" needs no scaling). Differences
are formed before anything is squared: there is no |x|^2 - 2 x.y + |y|^2, which loses close points far from the origin.

Each row is summed by one thread, tile after tile: the bits do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from measureflow._numba import njit
from measureflow.kernels.elementary import exp2_negative32, exp2_negative64, select_less

TILE = 1024  # sources summed at a time; they stay in the first-level cache
TILE_NUMBERS = 32768  # in higher dimension a tile holds about this many coordinates: a quarter of a megabyte
ROWS = 64  # targets a thread takes at a time
PARALLEL_PAIRS = 20_000_000  # about 20 ms of one thread; below that threads cost more than they save


class Gaussian(NamedTuple):
    """2^(-q) of the squared distance q. The class is what the compiler specialises on."""

    tiny: Any  # the least squared distance that is told from 0


class Laplace(NamedTuple):
    """2^(-r) of the distance r."""

    tiny: Any


class Energy(NamedTuple):
    """The distance r itself; the sign comes with the last scaling."""

    tiny: Any


def profile(kernel: Any, q: Any) -> tuple[Any, Any]:
    """Return (value, factor) at squared distance q: factor * (x - y) is the gradient of the value, up to a constant."""
    raise NotImplementedError("only inside compiled code")


@overload(profile, inline="always")
def _profile(kernel: Any, q: Any) -> Any:
    exp2, one = (exp2_negative32, np.float32(1)) if q == types.float32 else (exp2_negative64, 1.0)

    def gaussian(kernel: Any, q: Any) -> Any:
        value = exp2(q)
        return value, value

    def laplace(kernel: Any, q: Any) -> Any:
        r = np.sqrt(select_less(q, kernel.tiny, kernel.tiny, q))
        value = exp2(r)
        return value, value / r

    def energy(kernel: Any, q: Any) -> Any:
        r = np.sqrt(select_less(q, kernel.tiny, kernel.tiny, q))
        return r, one / r

    return {Gaussian: gaussian, Laplace: laplace, Energy: energy}[kernel.instance_class]


@njit
def _rows1(kernel: Any, x: Any, y: Any, w: Any, u: Any, g: Any, first: int, last: int) -> None:
    zero = w.dtype.type(0)
    for start in range(0, w.size, TILE):
        y0, v = y[0, start : start + TILE], w[start : start + TILE]
        for i in range(first, last):
            x0 = x[0, i]
            total, g0 = zero, zero
            for j in range(v.size):
                d0 = x0 - y0[j]
                value, factor = profile(kernel, d0 * d0)
                total += v[j] * value
                g0 += v[j] * factor * d0
            u[i] += total
            if g is not None:
                g[0, i] += g0


@njit
def _rows2(kernel: Any, x: Any, y: Any, w: Any, u: Any, g: Any, first: int, last: int) -> None:
    zero = w.dtype.type(0)
    for start in range(0, w.size, TILE):
        y0, y1, v = y[0, start : start + TILE], y[1, start : start + TILE], w[start : start + TILE]
        for i in range(first, last):
            x0, x1 = x[0, i], x[1, i]
            total, g0, g1 = zero, zero, zero
            for j in range(v.size):
                d0, d1 = x0 - y0[j], x1 - y1[j]
                value, factor = profile(kernel, d0 * d0 + d1 * d1)
                weighted = v[j] * factor
                total += v[j] * value
                g0 += weighted * d0
                g1 += weighted * d1
            u[i] += total
            if g is not None:
                g[0, i] += g0
                g[1, i] += g1


@njit
def _rows3(kernel: Any, x: Any, y: Any, w: Any, u: Any, g: Any, first: int, last: int) -> None:
    zero = w.dtype.type(0)
    for start in range(0, w.size, TILE):
        stop = start + TILE
        y0, y1, y2, v = y[0, start:stop], y[1, start:stop], y[2, start:stop], w[start:stop]
        for i in range(first, last):
            x0, x1, x2 = x[0, i], x[1, i], x[2, i]
            total, g0, g1, g2 = zero, zero, zero, zero
            for j in range(v.size):
                d0, d1, d2 = x0 - y0[j], x1 - y1[j], x2 - y2[j]
                value, factor = profile(kernel, d0 * d0 + d1 * d1 + d2 * d2)
                weighted = v[j] * factor
                total += v[j] * value
                g0 += weighted * d0
                g1 += weighted * d1
                g2 += weighted * d2
            u[i] += total
            if g is not None:
                g[0, i] += g0
                g[1, i] += g1
                g[2, i] += g2


@njit
def _squared_distances(x: Any, y: Any, out: Any) -> None:
    """Squared distances of the point x (d,) to the first b columns of y, four coordinates a pass over `out` (b,)."""
    d, b, zero = x.size, out.size, out.dtype.type(0)
    for j in range(out.size):
        out[j] = zero
    for c in range(0, d - d % 4, 4):
        x0, x1, x2, x3 = x[c], x[c + 1], x[c + 2], x[c + 3]
        y0, y1, y2, y3 = y[c, :b], y[c + 1, :b], y[c + 2, :b], y[c + 3, :b]
        for j in range(out.size):
            d0, d1, d2, d3 = x0 - y0[j], x1 - y1[j], x2 - y2[j], x3 - y3[j]
            out[j] += d0 * d0 + d1 * d1 + d2 * d2 + d3 * d3
    for c in range(d - d % 4, d):
        x0, y0 = x[c], y[c, :b]
        for j in range(out.size):
            d0 = x0 - y0[j]
            out[j] += d0 * d0


@njit
def _add_differences(x: Any, y: Any, weighted: Any, out: Any) -> None:
    """Add sum_j weighted_j (x - y_j) over the first b columns of y to `out` (d,), four coordinates a pass over them."""
    d, b, zero = x.size, weighted.size, weighted.dtype.type(0)
    for c in range(0, d - d % 4, 4):
        x0, x1, x2, x3 = x[c], x[c + 1], x[c + 2], x[c + 3]
        y0, y1, y2, y3 = y[c, :b], y[c + 1, :b], y[c + 2, :b], y[c + 3, :b]
        g0, g1, g2, g3 = zero, zero, zero, zero
        for j in range(weighted.size):
            g0 += weighted[j] * (x0 - y0[j])
            g1 += weighted[j] * (x1 - y1[j])
            g2 += weighted[j] * (x2 - y2[j])
            g3 += weighted[j] * (x3 - y3[j])
        out[c] += g0
        out[c + 1] += g1
        out[c + 2] += g2
        out[c + 3] += g3
    for c in range(d - d % 4, d):
        x0, y0, g0 = x[c], y[c, :b], zero
        for j in range(weighted.size):
            g0 += weighted[j] * (x0 - y0[j])
        out[c] += g0


@njit
def _rows_any(kernel: Any, x: Any, y: Any, w: Any, u: Any, g: Any, first: int, last: int) -> None:
    d, zero = x.shape[0], w.dtype.type(0)
    tile = max(64, min(TILE, TILE_NUMBERS // d))
    sources, buffer, point = np.empty((d, tile), w.dtype), np.empty(tile, w.dtype), np.empty(d, w.dtype)
    for start in range(0, w.size, tile):
        v = w[start : start + tile]
        q = buffer[: v.size]
        for c in range(d):  # side by side in memory: rows of y may be a page apart
            for j in range(v.size):
                sources[c, j] = y[c, start + j]
        for i in range(first, last):
            for c in range(d):
                point[c] = x[c, i]
            _squared_distances(point, sources, q)
            total = zero
            for j in range(v.size):
                value, factor = profile(kernel, q[j])
                total += v[j] * value
                q[j] = v[j] * factor
            u[i] += total
            if g is not None:
                _add_differences(point, sources, q, g[:, i])


@njit(parallel=True)
def _threads1(kernel: Any, x: Any, y: Any, w: Any, u: Any, g: Any, first: int, last: int) -> None:
    for block in numba.prange((last - first + ROWS - 1) // ROWS):
        _rows1(kernel, x, y, w, u, g, first + block * ROWS, min(first + (block + 1) * ROWS, last))


@njit(parallel=True)
def _threads2(kernel: Any, x: Any, y: Any, w: Any, u: Any, g: Any, first: int, last: int) -> None:
    for block in numba.prange((last - first + ROWS - 1) // ROWS):
        _rows2(kernel, x, y, w, u, g, first + block * ROWS, min(first + (block + 1) * ROWS, last))


@njit(parallel=True)
def _threads3(kernel: Any, x: Any, y: Any, w: Any, u: Any, g: Any, first: int, last: int) -> None:
    for block in numba.prange((last - first + ROWS - 1) // ROWS):
        _rows3(kernel, x, y, w, u, g, first + block * ROWS, min(first + (block + 1) * ROWS, last))


@njit(parallel=True)
def _threads_any(kernel: Any, x: Any, y: Any, w: Any, u: Any, g: Any, first: int, last: int) -> None:
    for block in numba.prange((last - first + ROWS - 1) // ROWS):
        _rows_any(kernel, x, y, w, u, g, first + block * ROWS, min(first + (block + 1) * ROWS, last))


_LOOPS: dict[int, tuple[Callable[..., None], Callable[..., None]]] = {
    1: (_rows1, _threads1),
    2: (_rows2, _threads2),
    3: (_rows3, _threads3),
}
_KERNELS: dict[str, type] = {"gaussian": Gaussian, "laplace": Laplace, "energy": Energy}


def _scales(name: str, bandwidth: float) -> tuple[float, float, float]:
    """Return what coordinates, potential and gradient are multiplied by."""
    if name == "gaussian":
        scale = np.sqrt(0.5 / np.log(2.0)) / bandwidth
        return scale, 1.0, -1.0 / (scale * bandwidth) / bandwidth
    if name == "laplace":
        return 1.0 / (np.log(2.0) * bandwidth), 1.0, -1.0 / bandwidth
    return 1.0, -1.0, -1.0


def potential_and_gradient(
    name: str,
    x: NDArray[Any],
    y: NDArray[Any],
    wy: NDArray[Any],
    bandwidth: float = 1.0,
    want_gradient: bool = True,
) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Sum a kernel over sources: u_i = sum_j wy_j k(x_i, y_j) and its gradient in x_i.

    Parameters
    ----------
    name : "gaussian", "laplace" or "energy"
        k = exp(-|x - y|^2 / (2 s^2)), exp(-|x - y| / s) or -|x - y|, with s the bandwidth (not used by "energy").
    x : array of shape (n, d)
        Targets.
    y : array of shape (m, d)
        Sources.
    wy : array of shape (m,)
        Weights of the sources, of any sign: the witness of two laws is one call on both laws put together.
    bandwidth : float
        Positive length s.
    want_gradient : bool
        False saves the work of the gradient.

    Returns
    -------
    u : array of shape (n,)
        Potential.
    g : array of shape (n, d), or None without `want_gradient`
        Gradient; |x - y| counts as flat where x = y (and below a distance of 1e-145, in float32 1e-18).

    Raises
    ------
    ValueError
        When `name` is not one of the three kernels.

    Notes
    -----
    float32 in, float32 out, when all arrays are; everything else is done in float64. Above 2e7 pairs the targets are
    shared among numba's threads, with the same bits for any number of threads.

    Examples
    --------
    >>> import numpy as np
    >>> u, g = potential_and_gradient("energy", np.zeros((1, 2)), np.array([[3.0, 4.0]]), np.ones(1))
    >>> u, g
    (array([-5.]), array([[0.6, 0.8]]))
    """
    if name not in _KERNELS:
        raise ValueError(f"name must be one of {', '.join(_KERNELS)}, got {name!r}")
    dtype = np.float32 if x.dtype == y.dtype == wy.dtype == np.float32 else np.float64
    (n, d), m = x.shape, len(y)
    scale, sign, slope = _scales(name, bandwidth)
    targets, sources = (np.ascontiguousarray((points * scale).T, dtype=dtype) for points in (x, y))
    weights = np.ascontiguousarray(wy, dtype=dtype)
    potential = np.zeros(n)
    gradient = np.zeros((d, n)) if want_gradient else None
    serial, threaded = _LOOPS.get(d, (_rows_any, _threads_any))
    loop = threaded if n * m > PARALLEL_PAIRS and numba.get_num_threads() > 1 else serial
    kernel = _KERNELS[name](dtype(1e-290 if dtype is np.float64 else 1e-36))
    loop(kernel, targets, sources, weights, potential, gradient, 0, n)
    u = (sign * potential).astype(dtype, copy=False)
    return u, None if gradient is None else np.ascontiguousarray((slope * gradient.T).astype(dtype, copy=False))
