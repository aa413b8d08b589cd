"""Single flows of particles to data: what generators follow whose critic is infinitely fast (theory, section 7.2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from measureflow import _validate as check
from measureflow.energies import MMD, Energy, EnergyDistance, SlicedEnergyDistance, SlicedWasserstein, SquaredWasserstein
from measureflow.modes.laws import draws, scales_of, stride
from measureflow.modes.run import Run
from measureflow.modes.targets import Target
from measureflow.schemes import Explicit, Langevin, Scheme
from measureflow.solve import solve
from measureflow.states import Particles

EXACT_DIMENSIONS = 10
"""Beyond, energy distances are taken on random lines."""


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
    target: Target, seed: int = 0, *, particles: int | None = None, steps: int = 120, rows: int = 48, progress: bool = False
) -> Run:
    """Solve the flow of the sliced W2 distance.

    A translate feels 1/d of its pull, so that steps are d/2 (half of the number of directions if there are fewer): they halve the
    distance. Beyond the plane the directions are new ones in each step, since a set of fixed ones leaves too much unseen.

    Examples
    --------
    >>> from measureflow.modes import targets
    >>> sliced_flow(targets.grid(), 0).final.fair_modes
    25
    """
    data, first = draws(target, _count(target, particles), check.seed("seed", seed), 0.5)
    lines = 50 if target.dim <= 2 else min(100, target.dim)
    energy = SlicedWasserstein(Particles(data), lines, seed)
    tau = 0.5 * min(target.dim, lines)
    return single_flow(target, seed, "sliced", energy, first, tau, steps, renewed=target.dim > 2, rows=rows, progress=progress)


def energy_distance_flow(
    target: Target, seed: int = 0, *, particles: int | None = None, steps: int = 800, rows: int = 48, progress: bool = False
) -> Run:
    """Solve the flow of the energy distance, the critic in the space of the kernel -|x - y|.

    Forces are at most 2, whatever the scale, and steps 0.3 times the spread. Beyond ten dimensions it is taken on 100 random
    lines, new ones in each step, divided by the mean of |cos| over the sphere.

    Examples
    --------
    >>> from measureflow.modes import targets
    >>> energy_distance_flow(targets.ring(4, std=0.05), particles=200, steps=300).final.modes
    4
    """
    data, first = draws(target, _count(target, particles), check.seed("seed", seed), 0.5)
    tau = 0.3 * scales_of(data).spread
    sliced = target.dim > EXACT_DIMENSIONS
    energy: Energy = EnergyDistance(Particles(data))
    if sliced:
        d = target.dim
        cosine = math.exp(math.lgamma(0.5 * d) - math.lgamma(0.5 * (d + 1))) / math.sqrt(math.pi)
        energy, tau = SlicedEnergyDistance(Particles(data), 100, seed), tau * math.sqrt(d) / cosine
    return single_flow(target, seed, "energy-distance", energy, first, tau, steps, renewed=sliced, rows=rows, progress=progress)


def transport_flow(
    target: Target, seed: int = 0, *, particles: int | None = None, steps: int = 4, rows: int = 48, progress: bool = False
) -> Run:
    """Solve the flow of W2^2/2, exact: every particle goes straight to its own datum, d/dt W2 = -W2 (theory, S13).

    An explicit step of length tau <= 1 is the flow's own geodesic, 1 - tau of the way left: here 0.1.

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
    width = 0.25 * scales_of(data).spread * math.sqrt(0.5 * target.dim)
    scheme = Langevin(check.scalar("noise", noise, least=0.0) / len(target), seed=seed)
    energy = MMD(Particles(data), "gaussian", width)
    return single_flow(target, seed, "mmd-noise", energy, first, width**2, steps, scheme=scheme, rows=rows, progress=progress)


def _count(target: Target, particles: int | None) -> int:
    """Return the number of particles and data: 1000, and seven a mode, so that hardly one is without a datum."""
    return max(1000, 7 * len(target)) if particles is None else check.integer("particles", particles, least=2)


Flow = Callable[..., Run]
