"""Transport of even cells to the atoms of a grid, line by line: the averaged c-transform, its lower envelopes in linear time.

Lines have spacing 1: node j is at j, cell i is [i - 1/2, i + 1/2]. For a function phi of the nodes let
    U_i = int over cell i of min_j ((x - j)^2 / 2 + phi_j) dx - 1/24,
the dual of moving the cell's mass, spread evenly, to the nodes. The parabolas that reach the minimum are the vertices of the
lower convex hull of phi_j + j^2/2 (Felzenszwalb and Huttenlocher 2012); the least parabola changes at the slopes of the hull.
U is concave and continuously differentiable in phi, with derivative the shares of cell i that go to each node.
Lines do not know of each other: blocks of them run on several threads, with the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any

import numba
import numpy as np

from measureflow._numba import njit

PARALLEL_NODES = 1 << 17


def by_lines(kernel: Callable[..., None]) -> Callable[..., None]:
    """Let a kernel whose arrays all have lines as first axis, the first array (lines, n), run on blocks of lines by threads."""

    @wraps(kernel)
    def run(*arguments: Any) -> None:
        lines, threads = len(arguments[0]), int(numba.get_num_threads())
        if arguments[0].size < PARALLEL_NODES or threads == 1 or lines == 1:
            kernel(*arguments)
            return

        def block(k: int) -> None:
            part = slice(k * lines // threads, (k + 1) * lines // threads)
            kernel(*[z[part] if isinstance(z, np.ndarray) else z for z in arguments])

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(block, range(threads)))

    return run


@by_lines
@njit
def envelopes(phi: Any, wrap: int, hull: Any, ends: Any, counts: Any) -> None:
    """Find the parabolas of the lower envelope of every line.

    Parameters
    ----------
    phi : ndarray, shape (lines, n)
    wrap : int
        Nodes by which a periodic line is continued on either side, at most n; 0 for a line with walls.
    hull, ends : ndarray of int32 and of float, shape (lines, n + 2 wrap)
        Filled with the nodes on the hull, -wrap to n - 1 + wrap, and the places up to which each is the least.
    counts : ndarray of int64, shape (lines,)
        Filled with the number of nodes on the hull.
    """
    lines, n = phi.shape
    for line in range(lines):
        top = -1
        for q in range(-wrap, n + wrap):
            value = phi[line, q % n if wrap else q]
            while top >= 0:
                p = hull[line, top]
                end = (value - phi[line, p % n if wrap else p]) / (q - p) + 0.5 * (p + q)
                if top == 0 or end > ends[line, top - 1]:
                    ends[line, top] = end
                    break
                top -= 1
            top += 1
            hull[line, top] = q
        ends[line, top] = n + wrap + 1e300
        counts[line] = top + 1


@by_lines
@njit
def transforms(phi: Any, wrap: int, hull: Any, ends: Any, out: Any) -> None:
    """Fill out (lines, n) with U of every line; phi, wrap, hull and ends as in `envelopes`."""
    lines, n = phi.shape
    for line in range(lines):
        r = 0
        for i in range(n):
            lo, last, total = i - 0.5, i + 0.5, 0.0
            while ends[line, r] <= lo:
                r += 1
            while True:
                p = hull[line, r]
                hi = min(ends[line, r], last)
                a, b = lo - p, hi - p
                total += (hi - lo) * ((a * a + a * b + b * b) / 6.0 + phi[line, p % n if wrap else p])
                if ends[line, r] >= last:
                    break
                lo = hi
                r += 1
            out[line, i] = total - 1.0 / 24.0


@by_lines
@njit
def at_nodes(phi: Any, wrap: int, hull: Any, ends: Any, out: Any) -> None:
    """Fill out (lines, n) with min_j ((i - j)^2 / 2 + phi_j) at the nodes i; phi, wrap, hull and ends as in `envelopes`."""
    lines, n = phi.shape
    for line in range(lines):
        r = 0
        for i in range(n):
            while ends[line, r] < i:
                r += 1
            p = hull[line, r]
            out[line, i] = 0.5 * (i - p) * (i - p) + phi[line, p % n if wrap else p]
