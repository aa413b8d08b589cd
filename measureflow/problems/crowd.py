"""Crowd motion: laws with density at most a cap, moved by a potential (Maury, Roudneff-Chupin and Santambrogio 2010).

Where the density is below the cap mass follows -grad V; where it is at the cap it moves with -grad (V + p), p >= 0. Minimizing
movements are those of V followed by a projection in W2 where that keeps the order of the line.
"""

from __future__ import annotations

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Box, Congestion, Quadratic
from measureflow.problems.base import Problem
from measureflow.states import Grid, Histogram, Quantiles

KINDS = ("quantiles", "histogram")


def contracting_ball(
    kind: str = "quantiles", dim: int = 1, ratio: float = 2.0, radius: float = 1.0, n: int = 200, t: float = 1.0
) -> Problem:
    """C1: V = |x|^2/2 from the uniform law of a ball of radius R at 0, cap = ratio times its density.

    The ball keeps a uniform density, and its radius is R e^(-t) until the density is the cap, at t = log(ratio)/dim; then it
    rests. A minimizing movement has the radius max(r/(1 + tau), R ratio^(-1/dim)).

    `kind` is "quantiles" (on the line, n of them) or "histogram" (dim 1 or 2, n cells along each side of [-1.25 R, 1.25 R]^dim).
    """
    dim, n = check.integer("dim", dim, least=1, most=2), check.integer("n", n, least=2)
    ratio, radius = check.scalar("ratio", ratio, above=1.0), check.scalar("radius", radius, above=0.0)
    quantiles = check.choice("kind", kind, KINDS) == "quantiles"
    if quantiles and dim != 1:
        raise ValueError(f"dim must be 1 for quantiles, got {dim}")
    volume = 2.0 * radius if dim == 1 else np.pi * radius**2
    least = ratio ** (-1.0 / dim)
    grid = Grid([(-1.25 * radius, 1.25 * radius)] * dim, (n,) * dim)
    levels = (np.arange(n) + 0.5) / n

    def law(factor: float) -> Quantiles | Histogram:
        r = radius * max(factor, least)
        return Quantiles((2.0 * levels - 1.0) * r) if quantiles else uniform_ball(grid, r)

    def shrunk(state: Quantiles, by: float) -> Quantiles:
        half = (1.0 - 1.0 / n) * radius
        return state.replace(state.values * max(by, least * half / float(state.values[-1])))

    steps = {
        "jko": lambda state, tau: shrunk(state, 1.0 / (1.0 + tau)),
        "explicit": lambda state, tau: shrunk(state, 1.0 - tau),
    }
    return Problem(
        label="C1",
        title=f"a crowd contracts to a {'disk' if dim == 2 else 'block'}, {kind}",
        source="theory.md, 9.2 C1; Maury, Roudneff-Chupin and Santambrogio 2010",
        problem=Quadratic() + Congestion(ratio / volume),
        initial=law(1.0),
        t_span=(0.0, t),
        exact=lambda time: law(float(np.exp(-time))),
        exact_step=steps if quantiles else {},
        constants={"time of rest": float(np.log(ratio)) / dim, "radius at rest": radius * least},
    )


def drift_against_a_wall(
    kind: str = "quantiles", ratio: float = 2.0, speed: float = 1.0, n: int = 200, t: float = 0.6
) -> Problem:
    """C2: V = speed x on [0, 1] with a wall at 0, from the uniform law, cap = ratio > 1.

    A block of density `ratio` grows at the wall, and what it has not reached moves on: the quantile function at time t is
    max(s - speed t, s/ratio). The front of the block moves with speed/(ratio - 1) until t = (1 - 1/ratio)/speed, when all is in
    the block. Minimizing movements are exact at their times, and so are explicit steps with projection.

    `kind` is "quantiles" (n of them) or "histogram" (n cells).
    """
    ratio, n = check.scalar("ratio", ratio, above=1.0), check.integer("n", n, least=2)
    speed = check.scalar("speed", speed, above=0.0)
    quantiles = check.choice("kind", kind, KINDS) == "quantiles"
    levels = (np.arange(n) + 0.5) / n
    grid = Grid([(0.0, 1.0)], n)
    energy = Quadratic(0.0, linear=[speed]) + Congestion(ratio)
    if quantiles:
        energy = energy + Box(0.5 / (n * ratio), 2.0)

    def law(time: float) -> Quantiles | Histogram:
        if quantiles:
            return Quantiles(np.maximum(levels - speed * time, levels / ratio))
        below = np.minimum(np.minimum(ratio * grid.edges[0], grid.edges[0] + speed * time), 1.0)
        return Histogram(np.diff(below), grid)

    def moved(state: Quantiles, tau: float) -> Quantiles:
        return state.replace(np.maximum(state.values - speed * tau, levels / ratio))

    return Problem(
        label="C2",
        title=f"a crowd against a wall, {kind}",
        source="theory.md, 9.2 C2; Maury, Roudneff-Chupin and Santambrogio 2010",
        problem=energy,
        initial=law(0.0),
        t_span=(0.0, t),
        exact=law,
        exact_step={"jko": moved, "explicit": moved} if quantiles else {},
        constants={"speed of the front": speed / (ratio - 1.0), "time of rest": (1.0 - 1.0 / ratio) / speed},
    )


def uniform_ball(grid: Grid, r: float) -> Histogram:
    """Return the uniform law of the interval or disk of radius r at 0, inside the box of the grid, with exact masses."""
    corners = [np.clip(edges, -r, r) for edges in grid.edges]
    if grid.dim == 1:
        masses = np.diff(corners[0]) / (2.0 * r)
    else:
        area = _below(corners[0][:, None], corners[1][None, :], r)
        masses = np.maximum(np.diff(np.diff(area, axis=0), axis=1), 0.0) / (np.pi * r**2)
    return Histogram(masses / masses.sum(), grid)


def _below(x: np.ndarray, y: np.ndarray, r: float) -> np.ndarray:
    """Return the areas of the disk's points with coordinates at most x and y, both in [-r, r]."""

    def under(z: np.ndarray) -> np.ndarray:
        """Return the integral of sqrt(r^2 - z^2) from -r."""
        return np.asarray(0.5 * (z * np.sqrt(np.maximum(r * r - z * z, 0.0)) + r * r * (np.arcsin(z / r) + 0.5 * np.pi)))

    c = np.sqrt(np.maximum(r * r - y * y, 0.0))
    inside = np.clip(x, -c, c)
    middle = y * (inside + c) + under(inside) - under(-c)
    sides = 2.0 * (under(np.minimum(x, -c)) + under(np.maximum(x, c)) - under(c))
    return middle + np.where(y > 0.0, sides, 0.0)
