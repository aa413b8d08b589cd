"""Distances of laws on many lines at once: projections, a radix sort, and one-dimensional transport and energy distances.

Positions are sorted through whole numbers of 22 bits, linear in the position, in two passes of a least-significant-digit radix
sort; what falls into the same bucket is put in order by insertion. Where that would take many moves (clusters on several scales,
outliers) the merge sort of numba takes over. Both are stable, so that the order is that of `np.argsort(kind="stable")`.

Directions are spread over threads in batches; every direction is one thread's, and batches are added up direction after
direction: the bits do not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from measureflow._numba import njit

Floats = NDArray[np.float64]

BITS = 11
BUCKETS = 1 << BITS
SHORTEST, LONGEST = 1e-290, 1e290  # of half the range of positions, for which buckets are computed
SMALL = 192  # entries for which insertion alone is best
MOVES = 8  # moves per entry that insertion may take before merge sort takes over
BATCH = 16  # directions whose slopes are held at once
TILE_NUMBERS = 16384
PARALLEL_NUMBERS = 200_000  # projected atoms above which threads pay


class Room(NamedTuple):
    """Working memory for one direction, each array with an entry more than there are atoms."""

    packed: Any
    order: Any
    xs: Any
    ws: Any
    ys: Any
    vs: Any
    spare: Any


def _room(n: int, m: int) -> Room:
    k = max(n, m) + 1
    sizes = (n + 1, n + 1, m + 1, m + 1, k)
    return Room(np.empty(k, np.int64), np.empty(k, np.int32), *(np.empty(size) for size in sizes))


@njit
def _insert(zs: Any, order: Any, n: int, budget: int) -> bool:
    """Bring nearly sorted zs (n,) into order, stably, and `order` with it; False if that takes more than budget moves."""
    for k in range(1, n):
        value, index, j = zs[k], order[k], k
        while j > 0 and zs[j - 1] > value:
            zs[j], order[j] = zs[j - 1], order[j - 1]
            j -= 1
        zs[j], order[j] = value, index
        budget -= k - j
        if budget < 0:
            return False
    return True


@njit
def _starts(counts: Any) -> None:
    """Turn the counts of buckets into their first places."""
    total = 0
    for b in range(counts.size):
        here = counts[b]
        counts[b] = total
        total += here


@njit
def _by_buckets(z: Any, lo: float, scale: float, packed: Any, order: Any, zs: Any) -> None:
    """Sort z by the whole numbers (z - lo) scale < 2^22 in two stable passes, digit and index packed into one number."""
    n = z.size
    low, high = np.zeros(BUCKETS, np.int32), np.zeros(BUCKETS, np.int32)
    for i in range(n):
        key = np.int32((z[i] - lo) * scale)
        low[key & (BUCKETS - 1)] += 1
        high[key >> BITS] += 1
    _starts(low)
    _starts(high)
    for i in range(n):
        key = np.int32((z[i] - lo) * scale)
        b = key & (BUCKETS - 1)
        packed[low[b]] = (np.int64(key >> BITS) << 32) | i
        low[b] += 1
    for k in range(n):
        b, index = packed[k] >> 32, packed[k] & 0xFFFFFFFF
        place = high[b]
        order[place], zs[place] = index, z[index]
        high[b] = place + 1


@njit
def argsort(z: Any, packed: Any, order: Any, zs: Any) -> None:
    """Write the stable order of finite z (n,) into `order`, and z in that order into `zs`."""
    n = z.size
    lo, hi = z[0], z[0]
    for i in range(n):
        lo, hi = min(lo, z[i]), max(hi, z[i])
        order[i], zs[i] = i, z[i]
    if n <= SMALL:
        _insert(zs, order, n, n * n)
        return
    if SHORTEST < 0.5 * hi - 0.5 * lo < LONGEST:
        _by_buckets(z, lo, (BUCKETS * BUCKETS - 1) / (hi - lo), packed, order, zs)
        if _insert(zs, order, n, MOVES * n):
            return
    found = np.argsort(z, kind="mergesort")
    for k in range(n):
        order[k], zs[k] = found[k], z[found[k]]


@njit
def _sort(z: Any, w: Any, packed: Any, order: Any, zs: Any, ws: Any) -> None:
    """Sort z (n,) with weights w into zs and ws (n + 1,), which end in infinity and 0."""
    n = z.size
    argsort(z, packed, order, zs)
    for k in range(n):
        ws[k] = w[order[k]]
    zs[n], ws[n] = np.inf, 0.0


@njit
def _transport(x: Any, a: Any, y: Any, b: Any, room: Any, slope: Any) -> float:
    """Return W2^2/2 of laws on the line and fill slope_i = x_i - mean target of x_i."""
    order, xs, ws, ys, vs = room.order, room.xs, room.ws, room.ys, room.vs
    _sort(y, b, room.packed, order, ys, vs)
    _sort(x, a, room.packed, order, xs, ws)
    n, m = x.size, y.size
    total_x, total_y = 0.0, 0.0
    for i in range(n):
        total_x += ws[i]
        ws[i] = total_x
    for j in range(m):
        total_y += vs[j]
        vs[j] = total_y
    cost, here, j = 0.0, 0.0, 0
    for i in range(n):
        end = 1.0 if i == n - 1 else ws[i] / total_x
        moved, pull = 0.0, 0.0
        while True:
            stop = 1.0 if j == m - 1 else vs[j] / total_y
            mass, gap = max(min(end, stop) - here, 0.0), xs[i] - ys[j]
            moved += mass
            pull += mass * gap
            cost += mass * gap * gap
            here = max(here, min(end, stop))
            if stop > end or j == m - 1:
                break
            j += 1
            if stop == end:
                break
        slope[order[i]] = pull / moved if moved > 0.0 else xs[i] - ys[j]
    return 0.5 * cost


@njit
def _merge(xs: Any, ws: Any, ys: Any, vs: Any, before: Any) -> tuple[float, bool]:
    """Sweep two sorted laws, whose last entries are infinite, without a branch.

    Fills before_i = (F_y - F_x)(x_i-) and returns int (F_x - F_y)^2 and whether two of all atoms are equal.
    """
    i, j, gap, integral, tied = 0, 0, 0.0, 0.0, False
    left, last = min(xs[0], ys[0]), -np.inf
    for _ in range(xs.size + ys.size - 2):
        x, y = xs[i], ys[j]
        mine = x <= y
        here = x if mine else y
        before[i] = gap
        integral += gap * gap * (here - left)
        tied |= here == last
        gap += -ws[i] if mine else vs[j]
        i += 1 if mine else 0
        j += 0 if mine else 1
        left = last = here
    return integral, tied


@njit
def _merge_ties(xs: Any, ws: Any, ys: Any, vs: Any, order: Any, slope: Any) -> None:
    """Fill the slopes of two sorted laws, equal atoms together."""
    n, m = xs.size - 1, ys.size - 1
    i, j, gap = 0, 0, 0.0
    while i < n:
        here, first, jump = min(xs[i], ys[j]), i, 0.0
        while i < n and xs[i] == here:
            jump -= ws[i]
            i += 1
        while j < m and ys[j] == here:
            jump += vs[j]
            j += 1
        for k in range(first, i):
            slope[order[k]] = 2.0 * gap + jump
        gap += jump


@njit
def _energy(x: Any, a: Any, y: Any, b: Any, room: Any, slope: Any) -> float:
    """Return int (F_x - F_y)^2 of laws on the line and fill slope_i = 2 (F_y - F_x)(x_i), F in the middle of its jumps."""
    order, xs, ws, ys, vs = room.order, room.xs, room.ws, room.ys, room.vs
    _sort(y, b, room.packed, order, ys, vs)
    _sort(x, a, room.packed, order, xs, ws)
    integral, tied = _merge(xs, ws, ys, vs, room.spare)
    if tied:
        _merge_ties(xs, ws, ys, vs, order, slope)
    else:
        for k in range(x.size):
            slope[order[k]] = 2.0 * room.spare[k] - ws[k]
    return integral


@njit
def _project(directions: Any, points: Any, z: Any, first: int, last: int) -> None:
    """Fill columns [first, last) of z (k, n) with the projections of points (d, n) on directions (k, d), tile after tile."""
    d = points.shape[0]
    tile = max(64, TILE_NUMBERS // d)
    for start in range(first, last, tile):
        stop = min(start + tile, last)
        for k in range(directions.shape[0]):
            line = z[k, start:stop]
            line[:] = 0.0
            for c in range(d):
                share, row = directions[k, c], points[c, start:stop]
                for i in range(line.size):
                    line[i] += share * row[i]


@njit
def _add(directions: Any, slopes: Any, gradient: Any, first: int, last: int) -> None:
    """Add sum_k slopes_ki directions_kc to columns [first, last) of gradient (d, n), tile after tile."""
    d = gradient.shape[0]
    tile = max(64, TILE_NUMBERS // d)
    for start in range(first, last, tile):
        stop = min(start + tile, last)
        for k in range(directions.shape[0]):
            slope = slopes[k, start:stop]
            for c in range(d):
                share, row = directions[k, c], gradient[c, start:stop]
                for i in range(slope.size):
                    row[i] += share * slope[i]


@njit
def _distances(
    transport: bool, u: Any, a: Any, v: Any, b: Any, room: Any, values: Any, slopes: Any, first: int, last: int
) -> None:
    """Fill values and slopes of the directions [first, last) from the projections u (k, n) and v (k, m)."""
    for k in range(first, last):
        if transport:
            values[k] = _transport(u[k], a, v[k], b, room, slopes[k])
        else:
            values[k] = _energy(u[k], a, v[k], b, room, slopes[k])


KINDS = {"transport": True, "energy": False}
Run = Callable[..., Iterable[None]]


def _pieces(n: int, threads: int) -> tuple[list[int], list[int]]:
    cuts = np.linspace(0, n, threads + 1).astype(int).tolist()
    return cuts[:-1], cuts[1:]


def sliced(
    name: str, directions: NDArray[Any], x: NDArray[Any], a: NDArray[Any], y: NDArray[Any], b: NDArray[Any]
) -> tuple[float, Floats]:
    """Average a squared distance of two laws over projections on lines.

    Parameters
    ----------
    name : "transport" or "energy"
        W2^2/2, or the energy distance int (F - G)^2 of the distribution functions.
    directions : array of shape (k, d)
        Unit vectors.
    x, a : arrays of shape (n, d) and (n,)
        Atoms and weights (positive, sum 1) of the first law.
    y, b : arrays of shape (m, d) and (m,)
        Atoms and weights of the second law.

    Returns
    -------
    value : float
    gradient : array of shape (n, d)
        Wasserstein gradient at the atoms of the first law.

    Examples
    --------
    >>> import numpy as np
    >>> sliced("transport", np.ones((1, 1)), np.array([[1.0]]), np.ones(1), np.array([[3.0]]), np.ones(1))
    (2.0, array([[-2.]]))
    """
    transport, n, m, count = KINDS[name], len(x), len(y), len(directions)
    sources, goals = np.asfortranarray(x, dtype=np.float64).T, np.asfortranarray(y, dtype=np.float64).T
    unit = np.ascontiguousarray(directions, dtype=np.float64)
    rows = min(BATCH, count)
    u, v, slopes = np.empty((rows, n)), np.empty((rows, m)), np.empty((rows, n))
    gradient, values = np.zeros((x.shape[1], n)), np.empty(count)
    threads = numba.get_num_threads() if count * (n + m) > PARALLEL_NUMBERS else 1
    rooms = [_room(n, m) for _ in range(threads)]

    def batches(run: Run) -> None:
        for start in range(0, count, BATCH):
            lines = unit[start : start + BATCH]

            def distances(i: int, j: int, start: int = start) -> None:
                room = rooms.pop()  # each thread holds one at a time
                _distances(transport, u, a, v, b, room, values[start:], slopes, i, j)
                rooms.append(room)

            list(run(lambda i, j, lines=lines: _project(lines, sources, u, i, j), *_pieces(n, threads)))
            list(run(lambda i, j, lines=lines: _project(lines, goals, v, i, j), *_pieces(m, threads)))
            list(run(distances, *_pieces(len(lines), threads)))
            list(run(lambda i, j, lines=lines: _add(lines, slopes, gradient, i, j), *_pieces(n, threads)))

    if threads == 1:
        batches(map)
    else:
        with ThreadPoolExecutor(threads) as pool:
            batches(pool.map)
    return float(values.sum()) / count, gradient.T / count
