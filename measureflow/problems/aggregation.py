"""Interactions that keep a family of laws on the whole space: Gaussians, profiles of Barenblatt and uniform balls.

Around the mean, which stays, QuadraticInteraction(a) acts as the potential a |x - mean|^2/2. On the two families with a radius R
the flow is R' = push R^(1-q) - a R, so that R^q = R_0^q e^(-a q t) + push (1 - e^(-a q t))/a, and a minimizing movement, the
linear map by R+/R, solves (1 + a tau) R+ - tau push R+^(1-q) = R.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy, Entropy, Interaction, PowerEntropy, QuadraticInteraction
from measureflow.problems import barenblatt
from measureflow.problems.base import Problem
from measureflow.recipes import named
from measureflow.states import Gaussian, Grid, Histogram, moments


@named("minus the logarithm of the distance")
def _minus_log(z: np.ndarray) -> np.ndarray:
    return np.asarray(-0.5 * np.log(np.sum(z**2, axis=-1)))


@named("slope of minus the logarithm of the distance")
def _minus_log_slope(z: np.ndarray) -> np.ndarray:
    return np.asarray(-z / np.sum(z**2, axis=-1, keepdims=True))


@named("inverse distance")
def _inverse(z: np.ndarray) -> np.ndarray:
    return np.asarray(1.0 / np.sqrt(np.sum(z**2, axis=-1)))


@named("slope of the inverse distance")
def _inverse_slope(z: np.ndarray) -> np.ndarray:
    return np.asarray(-z / np.sum(z**2, axis=-1, keepdims=True) ** 1.5)


def newtonian(dim: int) -> Interaction:
    """Return the interaction of W = -log|z| in the plane, 1/|z| in space, with grad W = -z/|z|^d (S7 on the line)."""
    plane = check.choice("dim", dim, (2, 3)) == 2
    return Interaction(*((_minus_log, _minus_log_slope) if plane else (_inverse, _inverse_slope)), singular=True)


def uniform_ball(radius: float, grid: Grid, samples: int = 8) -> Histogram:
    """Return cell averages of the uniform law on a ball around the grid's centre, by samples^d points a cell.

    Examples
    --------
    >>> uniform_ball(1.0, Grid([(-2.0, 2.0)], (4,))).masses
    array([0. , 0.5, 0.5, 0. ])
    """
    fine = Grid(grid.bounds, tuple(n * samples for n in grid.shape))
    centre = np.mean(np.array(grid.bounds), axis=1)
    values = (np.sum((fine.centres - centre) ** 2, axis=-1) < radius**2).astype(float)
    for k, n in enumerate(grid.shape):
        values = values.reshape((*values.shape[:k], n, samples, *values.shape[k + 1 :])).sum(axis=k + 1)
    return Histogram(values / values.sum(), grid)


def radius_of(law: Histogram, m: float = np.inf) -> float:
    """Return R from the second moment R^2 d/(d + 2 + 2/(m-1)) of (1 - r^2/R^2)^(1/(m-1)), mass even in each cell."""
    second = float(np.trace(law.covariance())) + float(np.sum(law.grid.spacing**2)) / 12.0
    return float(np.sqrt(second * (law.dim + 2.0 + 2.0 / (m - 1.0)) / law.dim))


def radius_at(radius: float, t: float, push: float, a: float, q: float) -> float:
    """Return R(t) for R' = push R^(1-q) - a R; 0 after a collapse.

    Examples
    --------
    >>> radius_at(1.0, 0.5, 3.0, 0.0, 2.0)
    2.0
    """
    gained = t if a == 0.0 else -np.expm1(-a * q * t) / (a * q)
    return float(max(radius**q * np.exp(-a * q * t) + q * push * gained, 0.0) ** (1.0 / q))


def minimizing_radius(radius: float, tau: float, push: float, a: float, q: float) -> float:
    """Return the R+ with (1 + a tau) R+ - tau push R+^(1-q) = R, the larger one if push < 0.

    Raises
    ------
    ValueError
        If the ball collapses within the step.
    """
    from scipy.optimize import brentq

    pull = 1.0 + a * tau
    least = 0.0 if push >= 0.0 else ((q - 1.0) * -push * tau / pull) ** (1.0 / q)
    most = max(radius, radius_at(radius, tau, push, 0.0, q)) + max(push, 0.0) * tau * radius ** (1.0 - q)

    def excess(r: float) -> float:
        return float(pull * r - tau * push * r ** (1.0 - q) - radius)

    low = max(least, 1e-12 * radius)
    if excess(low) > 0.0:
        raise ValueError(f"tau must be so small that the ball does not collapse within a step, got {tau:g}")
    return float(brentq(excess, low, most, xtol=1e-15 * most, rtol=1e-15))


def gaussian(
    temperature: float = 0.5, strength: float = 1.0, deviations: Any = (1.2, 0.4), n: int | None = None, t: float = 1.0
) -> Problem:
    """AGG-G: entropy T and the attraction (a/2) tr cov: S' = 2 T - 2 a S around a fixed mean, to S = T/a (S2 about the mean).

    The law is a Gaussian with these standard deviations along the axes, or with `n` its cell averages on n^d cells.
    A minimizing movement of a deviation is (s + (s^2 + 4 tau T (1 + a tau))^(1/2))/(2 (1 + a tau)).
    """
    T, a = check.scalar("temperature", temperature, above=0.0), check.scalar("strength", strength, above=0.0)
    s0 = np.atleast_1d(check.array("deviations", deviations, ndim=(0, 1)))
    if s0.min() <= 0.0:
        raise ValueError(f"deviations must be positive, got {s0.tolist()}")
    mean = 0.25 * np.arange(1.0, len(s0) + 1.0)
    reach = 6.0 * max(float(s0.max()), float(np.sqrt(T / a)))
    cells = check.integer("n", 1 if n is None else n, least=1)
    grid = None if n is None else Grid([(m - reach, m + reach) for m in mean], (cells,) * len(s0))

    def law(s: np.ndarray, centre: np.ndarray) -> Any:
        return Gaussian(centre, np.diag(s**2)) if grid is None else _cells_of_a_gaussian(s, centre, grid)

    def minimizing(state: Any, tau: float) -> Any:
        centre, cov = moments(state)
        s = np.sqrt(np.diag(cov) + (0.0 if grid is None else grid.spacing**2 / 12.0))
        return law((s + np.sqrt(s**2 + 4.0 * tau * T * (1.0 + a * tau))) / (2.0 * (1.0 + a * tau)), centre)

    return Problem(
        label="AGG-G",
        title=f"entropy and quadratic attraction, T = {T:g}",
        source="theory.md, 9.2 S2 and S6",
        problem=Entropy(T) + QuadraticInteraction(a),
        initial=law(s0, mean),
        t_span=(0.0, t),
        exact=lambda time: law(np.sqrt(T / a + (s0**2 - T / a) * np.exp(-2.0 * a * time)), mean),
        exact_step={"jko": minimizing},
        invariants={f"mean[{k}]": _mean_entry(k) for k in range(len(s0))},
        constants={"variance": T / a},
    )


def _cells_of_a_gaussian(s: np.ndarray, centre: np.ndarray, grid: Grid) -> Histogram:
    from scipy.special import ndtr

    masses = np.ones(())
    for k, edges in enumerate(grid.edges):
        masses = np.multiply.outer(masses, np.diff(ndtr((edges - centre[k]) / s[k])))
    return Histogram(masses / masses.sum(), grid)


def porous_medium(n: int = 24, dim: int = 2, m: float = 2.0, steady: float = 1.2, start: float = 1.6, t: float = 0.1) -> Problem:
    """AGG-B: PowerEntropy(m) and quadratic attraction a, from the Barenblatt profile of radius `start` to that of `steady`.

    R' = K/(p R^(p-1)) - a R with K and p of PME-B, and R^p = K/(a p) at last. n^dim cells on [-2, 2]^dim.
    """
    free = barenblatt.porous_medium(n, dim, m)
    r0, last = check.scalar("start", start, above=0.0), check.scalar("steady", steady, above=0.0)
    if not max(r0, last) <= 2.0:
        raise ValueError(f"start and steady must be radii of at most 2, got {r0:g} and {last:g}")
    t = check.scalar("t", t, above=0.0)
    q, grid = free.constants["p"], Grid([(-2.0, 2.0)] * dim, (n,) * dim)
    push = free.constants["K"] / q
    a = push / last**q
    return _of_radius(
        "AGG-B",
        f"porous medium equation with quadratic attraction, m = {m:g}, in dimension {dim}",
        "theory.md, 9.2 S4 and S6",
        PowerEntropy(m) + QuadraticInteraction(a),
        (push, a, q),
        (r0, t),
        lambda r: barenblatt.profile(r, grid, m),
        lambda law: radius_of(law, m),
    )


def ball(n: int = 24, dim: int = 2, push: float = 0.5, strength: float = 1.0, start: float = 0.4, t: float = 1.0) -> Problem:
    """AGG-N: Newtonian repulsion (attraction if push < 0) with quadratic attraction a from the uniform law on a ball.

    E = push/2 iint W + (a/2) tr cov with W = -log|z| or 1/|z|. In a uniform ball -grad W*rho = x/R^d, so that R' = push R^(1-d)
    - a R and the law stays uniform, to R^d = push/a; with push < 0 it collapses. n^dim cells on [-1, 1]^dim.
    """
    n, energy = check.integer("n", n, least=2), newtonian(dim)
    c, a = check.scalar("push", push), check.scalar("strength", strength)
    r0 = check.scalar("start", start, above=0.0)
    end = radius_at(r0, check.scalar("t", t, above=0.0), c, a, float(dim))
    if not 0.0 < end <= 1.0 or not r0 <= 1.0:
        raise ValueError(f"start must be such that the radius stays positive and at most 1, got {r0:g} (then {end:g})")
    grid = Grid([(-1.0, 1.0)] * dim, (n,) * dim)
    return _of_radius(
        "AGG-N",
        f"Newtonian {'repulsion' if c > 0.0 else 'attraction'} of a uniform ball in dimension {dim}",
        "theory.md, 9.2 S6 and S7; Bertozzi, Laurent and Leger 2012",
        c * energy + QuadraticInteraction(a),
        (c, a, float(dim)),
        (r0, t),
        lambda r: uniform_ball(r, grid),
        radius_of,
    )


def _of_radius(
    label: str,
    title: str,
    source: str,
    energy: Energy,
    forces: tuple[float, float, float],
    span: tuple[float, float],
    law: Callable[[float], Histogram],
    radius: Callable[[Histogram], float],
) -> Problem:
    """Return the problem of a family of laws with a radius: forces (push, a, q), span (first radius, last time)."""
    (push, a, q), (r0, t) = forces, span
    steady = (push / a) ** (1.0 / q) if push > 0.0 and a > 0.0 else 0.0
    first = law(r0)
    return Problem(
        label=label,
        title=title,
        source=source,
        problem=energy,
        initial=first,
        t_span=(0.0, t),
        exact=lambda time: law(radius_at(r0, time, push, a, q)),
        exact_step={"jko": lambda state, tau: law(minimizing_radius(radius(state), tau, push, a, q))},
        invariants={f"mean[{k}]": _mean_entry(k) for k in range(first.dim)},
        constants={"R(t)": radius_at(r0, t, push, a, q), "steady radius": steady},
    )


def _mean_entry(k: int) -> Callable[[Any], float]:
    return lambda state: float(moments(state)[0][k])
