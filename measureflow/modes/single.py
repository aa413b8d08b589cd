"""Single flows of particles to data: what generators follow whose critic is infinitely fast (theory, section 7.2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow.energies import MMD, Energy, SlicedEnergyDistance, SlicedWasserstein, SquaredWasserstein
from measureflow.modes.laws import draws, spread_of, stride
from measureflow.modes.run import Run
from measureflow.modes.targets import Target
from measureflow.schemes import Explicit, Langevin, Scheme
from measureflow.solve import solve
from measureflow.states import Particles


def single_flow(
    target: Target,
    seed: int,
    method: str,
    energy: Energy,
    first: Particles,
    tau: float,
    steps: int,
    *,
    scheme: Scheme | None = None,
    renewed: bool = False,
    rows: int = 48,
    progress: bool = False,
) -> Run:
    """Solve the flow of one energy by explicit steps; `renewed`: sliced energies take new directions in each step."""
    batch: dict[str, Any] = {"batch": len(first), "seed": seed} if renewed else {}
    chosen: Any = Explicit() if scheme is None else scheme
    keep = stride(check.integer("steps", steps, least=1), rows)
    sol = solve(energy, first, steps * tau, tau, scheme=chosen, save_at=keep, progress=progress, throw=False, **batch)
    return Run(method, target, seed, sol, int(sol.info["steps"]))


def sliced_flow(
    target: Target,
    seed: int = 0,
    *,
    particles: int | None = None,
    steps: int | None = None,
    rows: int = 48,
    progress: bool = False,
) -> Run:
    """Solve the flow of the sliced W2 distance, new orthogonal lines in each step.

    A step as long as the number of lines gives the particles on every line the places of the data there (Pitie, Kokaram and
    Dahyot, Automated colour grading using colour distribution transfer, 2007). So few lines are noise, which takes strays out of
    the places between modes, where the pulls of many fixed lines cancel, and which dies away at the data. In many dimensions
    half of the lines are differences of data: uniform lines, all nearly orthogonal to the few directions that part the modes, see
    but one bump.

    Examples
    --------
    >>> from measureflow.modes import targets
    >>> sliced_flow(targets.grid(), 0, steps=500).covers
    True
    """
    data, first = draws(target, _count(target, particles), check.seed("seed", seed), 0.5)
    count = lines_of(target.dim)
    energy = SlicedWasserstein(Particles(data), count, seed, _adapted(target.dim))
    steps = _steps(target) if steps is None else steps
    return single_flow(target, seed, "sliced", energy, first, float(count), steps, renewed=True, rows=rows, progress=progress)


def energy_distance_flow(
    target: Target,
    seed: int = 0,
    *,
    particles: int | None = None,
    steps: int | None = None,
    rows: int = 48,
    progress: bool = False,
) -> Run:
    """Solve the flow of the energy distance, the critic in the space of the kernel -|x - y|, on random lines.

    The lines are those of `sliced_flow`; with all of them the energy is the energy distance times the mean of |cos| over the
    sphere. On a line of density f the force 2 (F - G) moves a stiff cluster by 2 f times its displacement, so that steps above
    1/f shake it: steps are 0.8/f, f the largest density of the data on a typical line (`crest`).

    Examples
    --------
    >>> from measureflow.modes import targets
    >>> energy_distance_flow(targets.ring(4, std=0.05), particles=200, steps=300).final.modes
    4
    """
    data, first = draws(target, _count(target, particles), check.seed("seed", seed), 0.5)
    count = lines_of(target.dim)
    energy = SlicedEnergyDistance(Particles(data), count, seed, _adapted(target.dim))
    tau = count * 0.8 / crest(data @ energy.directions.T)
    steps = _steps(target) if steps is None else steps
    return single_flow(target, seed, "energy-distance", energy, first, tau, steps, renewed=True, rows=rows, progress=progress)


def lines_of(dim: int) -> int:
    """Return the number of lines of a step: d up to 64 dimensions, beyond 8 sqrt(d).

    Examples
    --------
    >>> [lines_of(dim) for dim in (2, 192, 1200)]
    [2, 111, 277]
    """
    return min(dim, round(8.0 * math.sqrt(dim)))


def crest(z: np.ndarray) -> float:
    """Return the median over k lines of the largest density of data z (n, k) on a line, averaged over a 25th of the data.

    Lines on which the data hardly differ are left out.

    Examples
    --------
    >>> float(round(crest(np.linspace(0.0, 2.0, 1000)[:, None]), 2))
    0.5
    """
    ordered, count = np.sort(z, axis=0), max(1, len(z) // 25)
    size = np.ptp(ordered, axis=0)
    gaps = np.min(ordered[count:] - ordered[:-count], axis=0)[size > 1e-3 * size.max()]
    return float(np.median(count / len(z) / np.maximum(gaps, 1e-6 * size.max())))


def _adapted(dim: int) -> float:
    return 0.0 if dim <= 2 else 0.5


def _steps(target: Target) -> int:
    """Return the number of steps, 2000/sqrt(d): beyond 64 dimensions steps times lines stay the same."""
    return round(2000.0 / math.sqrt(target.dim))


def transport_flow(
    target: Target, seed: int = 0, *, particles: int | None = None, steps: int = 8, rows: int = 48, progress: bool = False
) -> Run:
    """Solve the flow of W2^2/2, exact: every particle goes straight to its own datum, d/dt W2 = -W2 (theory, S13).

    An explicit step of length tau <= 1 is the flow's own geodesic, 1 - tau of the way left: here 0.1. Only the first plan is
    solved for, in about n^2.3 operations; the next ones are proved to be the same.

    Examples
    --------
    >>> from measureflow.modes import targets
    >>> transport_flow(targets.ring(), 0, particles=300).final.modes
    8
    """
    data, first = draws(target, _count(target, particles), check.seed("seed", seed), 0.5)
    return single_flow(
        target, seed, "transport", SquaredWasserstein(Particles(data)), first, 0.9, steps, rows=rows, progress=progress
    )


def noisy_mmd_flow(
    target: Target,
    seed: int = 0,
    *,
    particles: int | None = None,
    steps: int = 400,
    noise: float = 0.01,
    rows: int = 48,
    progress: bool = False,
) -> Run:
    """Solve the flow of MMD^2/2 of a Gaussian kernel with a little noise on the particles (Langevin).

    The kernel is as wide as a quarter of the spread, s/4: it does not see what is much finer, and modes stay blurred.
    `noise` is the temperature over that of the kernel's own force.

    Examples
    --------
    >>> from measureflow.modes import targets
    >>> noisy_mmd_flow(targets.ring(), 0, steps=200).final.visited
    8
    """
    data, first = draws(target, _count(target, particles), check.seed("seed", seed), 0.5)
    width = 0.25 * spread_of(data) * math.sqrt(0.5 * target.dim)
    scheme = Langevin(check.scalar("noise", noise, least=0.0) / len(target), seed=seed)
    energy = MMD(Particles(data), "gaussian", width)
    return single_flow(target, seed, "mmd-noise", energy, first, width**2, steps, scheme=scheme, rows=rows, progress=progress)


def _count(target: Target, particles: int | None) -> int:
    """Return the number of particles and data: 1000, and eight a mode.

    No flow to n data covers a mode without a datum. Of k equally likely modes n data miss k exp(-n/k) in the mean: of 1000 modes
    seven at n = 5000, one at 7000, and one in three times at 8000.
    """
    return max(1000, 8 * len(target)) if particles is None else check.integer("particles", particles, least=2)


Flow = Callable[..., Run]
