"""Laws on the line as chains of springs: the parts of Newton's method on quantiles, each one pass over memory."""

from __future__ import annotations

import numpy as np

from measureflow._numba import njit


@njit
def solve_chain(ground: np.ndarray, spring: np.ndarray, load: np.ndarray, out: np.ndarray) -> None:
    """Solve (diag(ground) + D' diag(spring) D) out = load, where D takes differences of neighbours.

    The elimination runs from both ends to the middle, so that its two chains of divisions overlap. It keeps the ground stiffness
    apart from the springs: nothing cancels, however stiff the springs are.

    Parameters
    ----------
    ground : ndarray, shape (n,)
        Positive.
    spring : ndarray, shape (n - 1,)
        Nonnegative.
    load : ndarray, shape (n,)
    out : ndarray, shape (n,)
        The solution; may be `load` itself.
    """
    n = len(ground)
    middle = n // 2
    share = np.empty(n)
    pivot = np.empty(n)
    low, high = ground[0], ground[n - 1]
    force_low, force_high = load[0], load[n - 1]
    for i in range(middle):
        j = n - 1 - i
        up = 1.0 / (low + spring[i])
        pivot[i] = force_low * up
        share[i] = spring[i] * up
        low = ground[i + 1] + share[i] * low
        force_low = load[i + 1] + share[i] * force_low
        if j > middle:
            down = 1.0 / (high + spring[j - 1])
            pivot[j] = force_high * down
            share[j] = spring[j - 1] * down
            high = ground[j - 1] + share[j] * high
            force_high = load[j - 1] + share[j] * force_high
    if n > 1:
        low = low + high - ground[middle]
        force_low = force_low + force_high - load[middle]
    out[middle] = force_low / low
    for i in range(middle):
        k, j = middle - 1 - i, middle + 1 + i
        out[k] = pivot[k] + share[k] * out[k + 1]
        if j < n:
            out[j] = pivot[j] + share[j] * out[j - 1]


@njit
def densities(u: np.ndarray, out: np.ndarray) -> float:
    """Write the densities 1/(n gap) of quantiles u (n,) to out (n - 1,); return the smallest gap (inf if n = 1)."""
    n = len(u)
    smallest = np.inf
    for k in range(n - 1):
        gap = u[k + 1] - u[k]
        out[k] = 1.0 / (n * gap)
        if not gap > smallest:
            smallest = gap
    return smallest


@njit
def assemble(
    u: np.ndarray,
    x: np.ndarray,
    stiffness: float,
    load: float,
    density: np.ndarray,
    pressure: np.ndarray,
    curvature: np.ndarray,
    gradient: np.ndarray,
    spring: np.ndarray,
) -> float:
    """Write gradient (n,) and springs (n - 1,) of the internal and quadratic parts of an inner problem on the line.

    Parameters
    ----------
    u, x : ndarray, shape (n,)
        Point and base point.
    stiffness, load : float
        The quadratic energy stiffness u^2/2 + load u of every atom, beside |u - x|^2/2.
    density, pressure, curvature : ndarray, shape (n - 1,)
        Densities 1/(n gap); pressure over density and second derivative times gap^2 of the internal energy.

    Returns
    -------
    float
        The sum over the atoms of the quadratic energies.
    """
    n = len(u)
    total, before = 0.0, 0.0
    for k in range(n):
        offset = u[k] - x[k]
        total += 0.5 * (offset * offset + stiffness * u[k] * u[k]) + load * u[k]
        gradient[k] = offset + stiffness * u[k] + load
    for k in range(n - 1):
        inverse = n * density[k]
        push = pressure[k] * inverse
        spring[k] = curvature[k] * inverse * inverse
        gradient[k] += push - before
        before = push
    gradient[n - 1] -= before
    return total


@njit
def fastest_shrinking(density: np.ndarray, direction: np.ndarray) -> float:
    """Return the largest relative shrinking of a gap per unit of a direction (n,); 0 if none shrinks."""
    n = len(direction)
    fastest = 0.0
    for k in range(n - 1):
        rate = (direction[k] - direction[k + 1]) * density[k]
        if rate > fastest:
            fastest = rate
    return fastest * n
