"""Sums over pairs of near points: a mollified density at atoms and the gradients of functions of it, in any dimension.

For atoms x_i of weights w_i, a radial mollifier p(|z|^2) that is 0 from |z|^2 = reach^2 on, and numbers a_i,

    u_i = sum_j w_j p(|x_i - x_j|^2),        g_i = sum_j w_j (a_i + a_j) grad p(|x_i - x_j|^2).

Atoms are sorted into rows: cells of half the reach in the second and third coordinate, in each of which they lie in the order of
the first. The neighbours of an atom are then at most 25 contiguous ranges (5 in the plane, 1 on the line), as tight as the rows
allow, over which the compiled loops run without a test. Memory is linear in the number of atoms, also with outliers. Each atom's
sum is one thread's: the bits do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, final

import numba
import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from measureflow._numba import njit
from measureflow.kernels.elementary import exp2_negative64, select_less

Floats = NDArray[np.float64]

SLACK = 1.0 + 1e-9  # ranges are wider by this factor than the reach, so that rounding loses no pair
WIDEST = 2**30  # rows in one direction, of larger size where there would be more
PARALLEL_PAIRS = 4_000_000
LN2 = float(np.log(2.0))
CUT = 30.0
FLOOR = 2.0**-CUT


class Bump(NamedTuple):
    """(1 - q)^3 for q < 1. The class is what the compiler specialises on."""

    reach: Any


class Bell(NamedTuple):
    """2^(-q) less its tangent at q = 30, for q < 30: positive and once continuously differentiable."""

    reach: Any


def profile(mollifier: Any, q: Any) -> tuple[Any, Any]:
    """Return p(q) and its derivative at the squared distance q."""
    raise NotImplementedError("only inside compiled code")


@overload(profile, inline="always")
def _profile(mollifier: Any, q: Any) -> Any:
    def bump(mollifier: Any, q: Any) -> Any:
        inside = select_less(q, 1.0, 1.0 - q, 0.0)
        return inside * inside * inside, -3.0 * inside * inside

    def bell(mollifier: Any, q: Any) -> Any:
        left = select_less(q, CUT, CUT - q, 0.0)
        value = exp2_negative64(select_less(q, CUT, q, CUT))
        return value - FLOOR * (1.0 + LN2 * left), -LN2 * (value - FLOOR)

    return {Bump: bump, Bell: bell}[mollifier.instance_class]


MOLLIFIERS: dict[str, Bump | Bell] = {"compact": Bump(1.0), "gaussian": Bell(float(np.sqrt(CUT)))}


@njit
def _find(keys: Any, key: int) -> Any:
    """Return the index of a key in sorted keys, -1 if it is not there."""
    k = np.searchsorted(keys, key)
    return k if k < keys.size and keys[k] == key else -1


@njit
def _outside(y: float, low: float, side: float) -> float:
    """Return the distance of y from [low, low + side]."""
    return max(low - y, y - low - side, 0.0)


@njit
def _fill_ranges(
    keys: Any, starts: Any, stride: int, x: Any, y: Any, z: Any, sides: Any, spans: Any, reach: float, ranges: Any
) -> None:
    """Fill the ranges [lo, hi) (n, rows, 2) of sorted atoms within reach; y and z are counted from the first row."""
    for r in range(keys.size):
        row, column = keys[r] // stride, keys[r] % stride
        k = 0
        for a in range(-spans[0], spans[0] + 1):
            for b in range(-spans[1], spans[1] + 1):
                q = _find(keys, (row + a) * stride + column + b)
                if q >= 0:
                    start, stop = starts[q], starts[q + 1]
                    lo = hi = start
                    for i in range(starts[r], starts[r + 1]):
                        dy = _outside(y[i], (row + a) * sides[0], sides[0])
                        dz = _outside(z[i], (column + b - spans[1]) * sides[1], sides[1])
                        left = reach * reach - dy * dy - dz * dz
                        if left > 0.0:
                            half = np.sqrt(left)
                            first, last = x[i] - half, x[i] + half
                            while lo < stop and x[lo] < first:
                                lo += 1
                            while lo > start and x[lo - 1] >= first:
                                lo -= 1
                            while hi < stop and x[hi] <= last:
                                hi += 1
                            while hi > start and x[hi - 1] > last:
                                hi -= 1
                            ranges[i, k, 0], ranges[i, k, 1] = lo, hi
                k += 1


@njit
def _densities2(mollifier: Any, ranges: Any, x: Any, w: Any, u: Any, first: int, last: int) -> None:
    for i in range(first, last):
        x0, x1, total = x[0, i], x[1, i], 0.0
        for k in range(ranges.shape[1]):
            lo, hi = ranges[i, k, 0], ranges[i, k, 1]
            y0, y1, v = x[0, lo:hi], x[1, lo:hi], w[lo:hi]
            for j in range(v.size):
                d0, d1 = x0 - y0[j], x1 - y1[j]
                total += v[j] * profile(mollifier, d0 * d0 + d1 * d1)[0]
        u[i] = total


@njit
def _densities3(mollifier: Any, ranges: Any, x: Any, w: Any, u: Any, first: int, last: int) -> None:
    for i in range(first, last):
        x0, x1, x2, total = x[0, i], x[1, i], x[2, i], 0.0
        for k in range(ranges.shape[1]):
            lo, hi = ranges[i, k, 0], ranges[i, k, 1]
            y0, y1, y2, v = x[0, lo:hi], x[1, lo:hi], x[2, lo:hi], w[lo:hi]
            for j in range(v.size):
                d0, d1, d2 = x0 - y0[j], x1 - y1[j], x2 - y2[j]
                total += v[j] * profile(mollifier, d0 * d0 + d1 * d1 + d2 * d2)[0]
        u[i] = total


@njit
def _densities_any(mollifier: Any, ranges: Any, x: Any, w: Any, u: Any, first: int, last: int) -> None:
    for i in range(first, last):
        total = 0.0
        for k in range(ranges.shape[1]):
            for j in range(ranges[i, k, 0], ranges[i, k, 1]):
                q = 0.0
                for c in range(x.shape[0]):
                    q += (x[c, i] - x[c, j]) ** 2
                total += w[j] * profile(mollifier, q)[0]
        u[i] = total


@njit
def _slopes2(mollifier: Any, ranges: Any, x: Any, w: Any, wa: Any, a: Any, g: Any, first: int, last: int) -> None:
    for i in range(first, last):
        x0, x1, own, g0, g1 = x[0, i], x[1, i], a[i], 0.0, 0.0
        for k in range(ranges.shape[1]):
            lo, hi = ranges[i, k, 0], ranges[i, k, 1]
            y0, y1, v, va = x[0, lo:hi], x[1, lo:hi], w[lo:hi], wa[lo:hi]
            for j in range(v.size):
                d0, d1 = x0 - y0[j], x1 - y1[j]
                weighted = (own * v[j] + va[j]) * profile(mollifier, d0 * d0 + d1 * d1)[1]
                g0 += weighted * d0
                g1 += weighted * d1
        g[0, i], g[1, i] = g0, g1


@njit
def _slopes3(mollifier: Any, ranges: Any, x: Any, w: Any, wa: Any, a: Any, g: Any, first: int, last: int) -> None:
    for i in range(first, last):
        x0, x1, x2, own = x[0, i], x[1, i], x[2, i], a[i]
        g0, g1, g2 = 0.0, 0.0, 0.0
        for k in range(ranges.shape[1]):
            lo, hi = ranges[i, k, 0], ranges[i, k, 1]
            y0, y1, y2, v, va = x[0, lo:hi], x[1, lo:hi], x[2, lo:hi], w[lo:hi], wa[lo:hi]
            for j in range(v.size):
                d0, d1, d2 = x0 - y0[j], x1 - y1[j], x2 - y2[j]
                weighted = (own * v[j] + va[j]) * profile(mollifier, d0 * d0 + d1 * d1 + d2 * d2)[1]
                g0 += weighted * d0
                g1 += weighted * d1
                g2 += weighted * d2
        g[0, i], g[1, i], g[2, i] = g0, g1, g2


@njit
def _slopes_any(mollifier: Any, ranges: Any, x: Any, w: Any, wa: Any, a: Any, g: Any, first: int, last: int) -> None:
    for i in range(first, last):
        for k in range(ranges.shape[1]):
            for j in range(ranges[i, k, 0], ranges[i, k, 1]):
                q = 0.0
                for c in range(x.shape[0]):
                    q += (x[c, i] - x[c, j]) ** 2
                weighted = (a[i] * w[j] + wa[j]) * profile(mollifier, q)[1]
                for c in range(x.shape[0]):
                    g[c, i] += weighted * (x[c, i] - x[c, j])


_LOOPS: dict[int, tuple[Callable[..., None], Callable[..., None]]] = {2: (_densities2, _slopes2), 3: (_densities3, _slopes3)}


def _cells(y: Floats, side: float) -> tuple[NDArray[np.int64], Floats, float]:
    """Return the cell of every coordinate, the coordinates counted from the first cell, and the side of the cells."""
    from_first = y - y.min()
    side = max(side, float(from_first.max()) / WIDEST)
    return (from_first / side).astype(np.int64), from_first, side


@final
class Neighbours:
    """Atoms in the order of rows with the ranges of their neighbours; made once for all sums over the same atoms.

    Parameters
    ----------
    name : "compact" or "gaussian"
        p(q) = (1 - q)^3 for q < 1; or 2^(-q) less its tangent at q = 30, for q < 30.
    points : array of shape (n, d)
        In units in which p is as stated.
    weights : array of shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> near = Neighbours("compact", np.array([[0.0], [0.5], [3.0]]), np.ones(3))
    >>> near.density()
    array([1.421875, 1.421875, 1.      ])
    """

    def __init__(self, name: str, points: NDArray[Any], weights: NDArray[Any]) -> None:
        self.mollifier = MOLLIFIERS[name]
        n, d = points.shape
        reach = self.mollifier.reach * SLACK
        wide = np.zeros((n, max(d, 2)))
        wide[:, :d] = points
        keys, stride, y, z, sides, spans = self._rows(wide, d, 0.5 * reach)
        self.order = np.lexsort((wide[:, 0], keys))
        self.x = np.ascontiguousarray(wide[self.order].T)
        self.weights = np.ascontiguousarray(weights[self.order], dtype=np.float64)
        row_keys, starts = np.unique(keys[self.order], return_index=True)
        self.ranges = np.zeros((n, int(np.prod(2 * spans + 1)), 2), np.int32)
        y, z = y[self.order], z[self.order]
        _fill_ranges(row_keys, np.append(starts, n), stride, self.x[0], y, z, sides, spans, reach, self.ranges)
        self.pairs = int(np.sum(self.ranges[:, :, 1] - self.ranges[:, :, 0], dtype=np.int64))
        self._density, self._slope = _LOOPS.get(len(self.x), (_densities_any, _slopes_any))
        self.dim = d

    @staticmethod
    def _rows(wide: Floats, d: int, side: float) -> tuple[Any, int, Floats, Floats, Floats, NDArray[np.int64]]:
        n, nothing = len(wide), np.zeros(len(wide))
        if d == 1:
            return np.zeros(n, np.int64), 1, nothing, nothing, np.ones(2), np.zeros(2, np.int64)
        rows, y, side_y = _cells(wide[:, 1], side)
        if d == 2:
            return rows, 1, y, nothing, np.array([side_y, 1.0]), np.array([2, 0])
        columns, z, side_z = _cells(wide[:, 2], side)
        stride = int(columns.max()) + 5  # two empty columns at either side: neighbours do not wrap around
        return rows * stride + columns + 2, stride, y, z, np.array([side_y, side_z]), np.array([2, 2])

    def _spread(self, loop: Callable[[int, int], None]) -> None:
        """Run loop(first, last) over all atoms, in pieces of about equally many on numba's number of threads."""
        n, threads = len(self.order), numba.get_num_threads() if self.pairs > PARALLEL_PAIRS else 1
        if threads == 1:
            return loop(0, n)
        cuts = np.linspace(0, n, 8 * threads + 1).astype(int).tolist()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(loop, cuts[:-1], cuts[1:]))

    def _unsorted(self, values: Floats) -> Floats:
        result = np.empty_like(values)
        result[self.order] = values
        return result

    def density(self) -> Floats:
        """Return u_i = sum_j w_j p(|x_i - x_j|^2), shape (n,)."""
        u = np.empty(len(self.order))
        self._spread(lambda first, last: self._density(self.mollifier, self.ranges, self.x, self.weights, u, first, last))
        return self._unsorted(u)

    def slope(self, a: Floats) -> Floats:
        """Return g_i = sum_j w_j (a_i + a_j) grad p(|x_i - x_j|^2) for numbers a (n,), shape (n, d)."""
        own = np.ascontiguousarray(a[self.order])
        mixed, g = self.weights * own, np.zeros(self.x.shape)
        self._spread(
            lambda first, last: self._slope(self.mollifier, self.ranges, self.x, self.weights, mixed, own, g, first, last)
        )
        return self._unsorted(2.0 * g[: self.dim].T)
