"""Bringing an axis of an array to its end, in blocks that fit the cache."""

from __future__ import annotations

from typing import Any

from measureflow._numba import njit

BLOCK = 8  # a cache line of doubles


@njit
def exchange(a: Any, out: Any) -> None:
    """Fill out (outer, m, n) with a (outer, n, m), its last two axes exchanged."""
    outer, n, m = a.shape
    for k in range(outer):
        for i0 in range(0, n, BLOCK):
            for j0 in range(0, m, BLOCK):
                for i in range(i0, min(i0 + BLOCK, n)):
                    for j in range(j0, min(j0 + BLOCK, m)):
                        out[k, j, i] = a[k, i, j]
