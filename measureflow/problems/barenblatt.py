"""Barenblatt's solution of the porous medium equation on a grid of one to three dimensions, with exact minimizing movements."""

from __future__ import annotations

from collections.abc import Callable
from math import gamma, pi

import numpy as np

from measureflow import _validate as check
from measureflow.energies import PowerEntropy
from measureflow.problems.base import Problem
from measureflow.states import Grid, Histogram


def profile(radius: float, grid: Grid, m: float, samples: int = 4) -> Histogram:
    """Return cell averages of (1 - |x - c|^2/R^2)_+^(1/(m-1)), c the centre of the grid, by samples^d points a cell."""
    fine = Grid(grid.bounds, tuple(n * samples for n in grid.shape))
    centre = np.mean(np.array(grid.bounds), axis=1)
    values = np.maximum(1.0 - np.sum((fine.centres - centre) ** 2, axis=-1) / radius**2, 0.0) ** (1.0 / (m - 1.0))
    for k, n in enumerate(grid.shape):
        values = values.reshape((*values.shape[:k], n, samples, *values.shape[k + 1 :])).sum(axis=k + 1)
    return Histogram(values / values.sum(), grid)


def porous_medium(n: int = 24, dim: int = 2, m: float = 2.0, start: float = 0.2, end: float = 0.4) -> Problem:
    """PME-B: u_t = Lap(u^m) on [0, 1]^dim from a Barenblatt profile of radius `start` to radius `end` < 1/2, n^dim cells.

    The radius is R(t) = R_0 (t/t_0)^(1/p), p = d (m - 1) + 2; a minimizing movement keeps the family, with the radius
    R+ = R + tau K/(p R+^(p-1)), K = R_0^p/t_0. The radius of a state is taken from its second moment.
    """
    n, dim = check.integer("n", n, least=2), check.integer("dim", dim, least=1)
    m, start = check.scalar("m", m, above=1.0), check.scalar("start", start, above=0.0)
    end = check.scalar("end", end, above=start)
    grid = Grid([(0.0, 1.0)] * dim, (n,) * dim)
    power, speed = dim * (m - 1.0) + 2.0, _speed(dim, m)

    def exact(t: float) -> Histogram:
        return profile(float((speed * t) ** (1.0 / power)), grid, m)

    def minimizing(law: Histogram, tau: float) -> Histogram:
        return profile(minimizing_radius(_radius(law, m), tau, power, speed), grid, m)

    return Problem(
        label="PME-B",
        title=f"porous medium equation, m = {m:g}, in dimension {dim}",
        source="theory.md, 9.2 S4; Barenblatt 1952",
        problem=PowerEntropy(m),
        initial=profile(start, grid, m),
        t_span=(start**power / speed, end**power / speed),
        exact=exact,
        exact_step={"jko": minimizing},
        constants={"K": speed, "p": power},
        invariants={f"mean[{k}]": _mean_entry(k) for k in range(dim)},
    )


def minimizing_radius(radius: float, tau: float, power: float, speed: float) -> float:
    """Return the R+ with R+ = R + tau K/(p R+^(p-1)).

    Examples
    --------
    >>> round(minimizing_radius(1.0, 4.0, 2.0, 1.0), 12)
    2.0
    """
    from scipy.optimize import brentq

    pull = tau * speed / power
    return float(brentq(lambda r: r - radius - pull / r ** (power - 1.0), radius, radius + pull / radius ** (power - 1.0)))


def _speed(dim: int, m: float) -> float:
    """Return K = d(R^p)/dt: the velocity at the edge is 2 A/R, with the pressure m rho^(m-1)/(m - 1) = A (1 - r^2/R^2)."""
    k = 1.0 / (m - 1.0)
    volume = pi ** (dim / 2.0) * gamma(k + 1.0) / gamma(k + 1.0 + dim / 2.0)  # of (1 - r^2)^k in the unit ball
    return float((dim * (m - 1.0) + 2.0) * 2.0 * m / (m - 1.0) * volume ** (1.0 - m))


def _radius(law: Histogram, m: float) -> float:
    """Return the radius from the trace of the covariance of a profile: d R^2/(d + 2 k + 2), k = 1/(m - 1), even in each cell."""
    d = law.dim
    second = float(np.trace(law.covariance())) + float(np.sum(law.grid.spacing**2)) / 12.0
    return float(np.sqrt(second * (d + 2.0 / (m - 1.0) + 2.0) / d))


def _mean_entry(k: int) -> Callable[[Histogram], float]:
    return lambda law: float(law.mean()[k])
