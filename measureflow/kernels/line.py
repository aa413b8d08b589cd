"""Energy distance and its potential on the real line, by sorting, in O((n + m) log(n + m)).

On the line E|X - Y| - E|X - X'|/2 - E|Y - Y'|/2 = int (F_X - F_Y)^2, with F the distribution functions: a sum of
positive terms once all points are sorted, so that two laws close to each other lose no digits to cancellation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from measureflow._numba import njit

Floats = NDArray[np.float64]


@njit
def _sweep(z: Any, h: Any, potential: Any, slope: Any) -> float:
    """Sweep the sorted atoms z (N,) of the signed weights h (N,) from left to right, equal atoms together.

    Fills potential_i = sum_j h_j |z_i - z_j| (unless None) and slope_i = sum_j h_j sign(z_i - z_j), and returns the
    integral of H^2 from the least to the greatest atom, H(t) = sum of h_j over z_j <= t.
    """
    n, left = z.size, z[0]
    total, height, integral, before = 0.0, 0.0, 0.0, 0.0
    for j in range(n):
        total += h[j]
        height += h[j] * (z[j] - left)
    k = 0
    while k < n:
        here = z[k]
        gap = here - left
        integral += before * before * gap
        height += (2.0 * before - total) * gap
        inside, stop = h[k], k + 1
        while stop < n and z[stop] == here:
            inside += h[stop]
            stop += 1
        for i in range(k, stop):
            slope[i] = 2.0 * before + inside - total
            if potential is not None:
                potential[i] = height
        before += inside
        left, k = here, stop
    return integral


def _sort_and_sweep(z: Floats, h: Floats, n: int, want_potential: bool) -> tuple[float, Floats | None, Floats]:
    """Return the integral of H^2, and the potential (or None) and slope of h at the first n of the atoms z."""
    order = np.argsort(z)
    slope = np.empty(len(z))
    potential = np.empty(len(z)) if want_potential else None
    integral = _sweep(z[order], h[order], potential, slope)
    back = np.empty(len(z), dtype=np.intp)
    back[order] = np.arange(len(z))
    return integral, None if potential is None else potential[back[:n]], slope[back[:n]]


def _join(first: NDArray[Any], second: NDArray[Any]) -> Floats:
    """Both arrays one after the other, in float64."""
    return np.concatenate([first, second], dtype=np.float64)


def energy_line(x: NDArray[Any], wx: NDArray[Any], y: NDArray[Any], wy: NDArray[Any]) -> tuple[float, Floats]:
    """Energy distance of two laws on the line, and its Wasserstein gradient at the atoms of the first.

    Parameters
    ----------
    x, wx : arrays of shape (n,)
        Atoms and weights (sum 1) of the first law X.
    y, wy : arrays of shape (m,)
        Atoms and weights (sum 1) of the second law Y.

    Returns
    -------
    value : float
        E|X - Y| - E|X - X'|/2 - E|Y - Y'|/2 = int (F_X - F_Y)^2.
    gradient : array of shape (n,)
        Derivative of the first variation E|x - Y| - E|x - X'| at each x_i, with sign(0) = 0:
        sum_j wy_j sign(x_i - y_j) - sum_j wx_j sign(x_i - x_j).

    Examples
    --------
    >>> import numpy as np
    >>> value, gradient = energy_line(np.array([0.0]), np.ones(1), np.array([-1.0, 3.0]), np.array([0.25, 0.75]))
    >>> value, gradient
    (1.75, array([-0.5]))
    """
    value, _, slope = _sort_and_sweep(_join(x, y), _join(np.negative(wx), wy), len(x), False)
    return value, slope


def interaction_line(x: NDArray[Any], y: NDArray[Any], wy: NDArray[Any]) -> tuple[Floats, Floats]:
    """Potential of signed weights on the line and its derivative.

    Parameters
    ----------
    x : array of shape (n,)
        Targets.
    y, wy : arrays of shape (m,)
        Sources and their weights, of any sign.

    Returns
    -------
    u : array of shape (n,)
        sum_j wy_j |x_i - y_j|.
    slope : array of shape (n,)
        sum_j wy_j sign(x_i - y_j), with sign(0) = 0.

    Examples
    --------
    >>> import numpy as np
    >>> interaction_line(np.array([1.0]), np.array([0.0, 1.0, 4.0]), np.array([1.0, 5.0, -2.0]))
    (array([-5.]), array([3.]))
    """
    _, u, slope = _sort_and_sweep(_join(x, y), _join(np.zeros(len(x)), wy), len(x), True)
    assert u is not None
    return u, slope
