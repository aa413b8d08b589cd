"""Gradient in the neurons of a directional derivative of the critic: what gradient penalties need (no second backward pass).

For D(x) = sum_j v_j a_j act(w_j . x + b_j) and directions u_i the sum S = sum_i u_i . grad D(x_i) has, with z = w . x + b and
p = w . u, the derivative at neuron j (without the factor v_j)

    in a:  sum_i p act'(z),    in w:  a sum_i (u act'(z) + p x act''(z)),    in b:  a sum_i p act''(z).

Sums over points go through fixed blocks, so that the bits do not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from measureflow._numba import njit
from measureflow.kernels.neurons import ROWS, _activate, _slope, over_blocks

THREADED_PAIRS = 5_000_000

Array = NDArray[Any]


@njit
def _rows(x: Array, u: Array, planes: Array, sums: Array, smooth: Any) -> None:
    """Add the rows of x, u (n, d) to sums (2 d + 2, h): p act', u act' (d), p x act'' (d), p act''; planes (d + 1, h): w, b."""
    n, d = x.shape
    h = planes.shape[1]
    zero, one, two = x.dtype.type(0), x.dtype.type(1), x.dtype.type(2)
    z, p, s = np.empty(h, x.dtype), np.empty(h, x.dtype), np.empty(h, x.dtype)
    bias = planes[d]
    for i in range(n):
        for j in range(h):
            z[j] = bias[j]
            p[j] = zero
        for k in range(d):
            w, xk, uk = planes[k], x[i, k], u[i, k]
            for j in range(h):
                z[j] += w[j] * xk
                p[j] += w[j] * uk
        first, last = sums[0], sums[2 * d + 1]
        for j in range(h):
            t = _activate(z[j], zero, smooth)
            s[j] = _slope(t, zero, one, smooth)
            first[j] += p[j] * s[j]
            if smooth is not None:
                p[j] *= -two * t * s[j]
                last[j] += p[j]
        for k in range(d):
            along, bent, xk, uk = sums[1 + k], sums[1 + d + k], x[i, k], u[i, k]
            for j in range(h):
                along[j] += uk * s[j]
                if smooth is not None:
                    bent[j] += xk * p[j]


def directional(points: Array, directions: Array, atoms: Array, activation: str) -> Array:
    """Gradient in the neurons of sum_i u_i . grad D(x_i), a Wasserstein gradient: no factor v_j.

    Parameters
    ----------
    points, directions : (n, d), float32 or float64
    atoms : (h, d + 2), columns a, w, b
    activation : "tanh" or "relu" (whose second derivative is 0)

    Returns
    -------
    (h, d + 2) float64
    """
    (n, d), h = points.shape, len(atoms)
    dtype = points.dtype
    planes = np.ascontiguousarray(atoms[:, 1:].T, dtype=dtype)
    smooth = activation == "tanh" or None

    def block(total: Array, start: int, stop: int) -> None:
        for low in range(start, stop, ROWS):
            part, cut = np.zeros((2 * d + 2, h), dtype), slice(low, min(low + ROWS, stop))
            _rows(points[cut], directions[cut], planes, part, smooth)
            total += part

    threads = int(numba.get_num_threads()) if n * h * d > THREADED_PAIRS else 1
    sums = over_blocks(n, (2 * d + 2, h), block, threads)
    a = np.asarray(atoms[:, 0], np.float64)
    result = np.empty((h, d + 2))
    result[:, 0] = sums[0]
    result[:, 1:-1] = (a * (sums[1 : d + 1] + sums[d + 1 : 2 * d + 1])).T
    result[:, -1] = a * sums[2 * d + 1]
    return result
