"""Random numbers of compiled code by counters: hashes of a seed, the number of an update, a stream and a place.

Nothing is kept between draws, so that a run can be cut anywhere and a member of an ensemble sees nothing of the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from measureflow._numba import njit
from measureflow.kernels.product import keep_apart

Array = NDArray[Any]


@njit
def _mix(z: Any) -> Any:
    """Hash 64 bits (the finaliser of SplitMix64, Steele, Lea and Flood 2014)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit
def _key(seed: int, update: int, stream: int) -> Any:
    golden = np.uint64(0x9E3779B97F4A7C15)
    return _mix(_mix(np.uint64(seed) + golden) + np.uint64(update) * golden) + _mix(np.uint64(stream) + golden)


@njit
def _below(key: Any, place: int, n: int) -> Any:
    """Return a number below n, of 32 random bits."""
    bits = _mix(key + np.uint64(place + 1) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
    return np.int64((bits * np.uint64(n)) >> np.uint64(32))


@njit
def draw(seed: int, update: int, stream: int, count: int, n: int, indices: Array) -> None:
    """Fill indices[:count] with numbers below n, drawn with replacement; with 0, 1, ... where count = n."""
    keep_apart()
    if count == n:
        for j in range(count):
            indices[j] = j
        return
    key = _key(seed, update, stream)
    for j in range(count):
        indices[j] = _below(key, j, n)


@njit
def shuffle(seed: int, update: int, stream: int, order: Array) -> None:
    """Fill `order` with a random permutation of 0, 1, ... (Fisher and Yates)."""
    keep_apart()
    key = _key(seed, update, stream)
    for j in range(order.size):
        order[j] = j
    for j in range(order.size - 1, 0, -1):
        k = _below(key, j, j + 1)
        order[j], order[k] = order[k], order[j]


@njit
def normals(seed: int, update: int, stream: int, scale: float, out: Array) -> None:
    """Fill `out`, of any shape, with N(0, scale^2) (Box and Muller)."""
    keep_apart()
    key = _key(seed, update, stream)
    flat = out.reshape(out.size)
    golden = np.uint64(0x9E3779B97F4A7C15)
    for j in range(0, flat.size, 2):
        bits = _mix(key + np.uint64(j + 1) * golden)
        u = (np.float64(bits >> np.uint64(32)) + 1.0) / 4294967296.0
        angle = 2.0 * np.pi * np.float64(bits & np.uint64(0xFFFFFFFF)) / 4294967296.0
        size = scale * np.sqrt(-2.0 * np.log(u))
        flat[j] = size * np.cos(angle)
        if j + 1 < flat.size:
            flat[j + 1] = size * np.sin(angle)
