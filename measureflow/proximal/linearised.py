"""Linearised minimizing movements of histograms: implicit finite volumes, on grids of 1 to 3 dimensions.

W2 is replaced by the length of the step in the weighted H^-1 norm, |rho - mu|^2 = tau^2 sum M |grad(phi + V)|^2, to which it is
equal up to terms of higher order in tau (Cances, Gallouet and Todeschi, arXiv 1907.08305). The step is of first order in tau,
as JKO.
"""

from __future__ import annotations

import numpy as np

from measureflow.energies import (
    KL,
    CellPotential,
    Energy,
    Entropy,
    Obstacle,
    Potential,
    PowerEntropy,
    Quadratic,
)
from measureflow.errors import UnsupportedError
from measureflow.kernels.fluxes import dissipation
from measureflow.metrics import Metric
from measureflow.metrics.wasserstein import is_w2
from measureflow.proximal.base import Step, Tolerance, not_converged
from measureflow.proximal.caps import with_mass, without_cap
from measureflow.proximal.finite_volumes import implicit_step
from measureflow.proximal.frozen import Split, require_descent, separate, settle
from measureflow.proximal.medium import Medium
from measureflow.states import Histogram, State

STALLED = 1e-7
"""Residual, relative to the box, that is accepted (and reported) where rounding ends the search."""
METHOD = "finite volumes"


def linearised(
    energy: Energy,
    metric: Metric,
    x: State,
    tau: float,
    tolerance: Tolerance,
    masses: np.ndarray | None = None,
    near: np.ndarray | None = None,
) -> Step:
    """Return the implicit finite-volume step of a histogram, from `masses` if they are given (BDF2 extrapolates).

    Interactions are in it with the law at the end of the step (`proximal.frozen`). The search starts at the masses `near`.

    The residual is the mass that is missing in the equations of the cells times the diameter of the box.

    Raises
    ------
    ConvergenceError
        If the residual stays above the tolerance, and above 1e-7 of the box where rounding ends the search.
    UnsupportedError
        If the energy or the metric has no such step, or there is mass in blocked cells.
    """
    if not isinstance(x, Histogram) or not is_w2(metric):
        raise UnsupportedError(f"linearised steps are those of a Histogram under Wasserstein(p=2), got {x!r} under {metric!r}")
    parts = separate(energy)
    if parts is not None:
        return _settled(parts, metric, x, tau, tolerance, masses)
    medium = medium_of(energy, x)
    start = x.masses if masses is None else masses
    if np.any(start[~medium.free] > 0.0):
        raise UnsupportedError("mass must be in free cells only: an obstacle, or an empty cell of a KL target, holds some")
    mean = float(np.mean(x.masses))
    lengths = np.array([hi - lo for lo, hi in x.grid.bounds])
    diameter = float(np.sqrt(np.sum(lengths**2)))
    volume = x.grid.cell_volume
    mu = start / volume
    scale = diameter * volume * x.masses.size
    goal = tolerance.residual * max(1.0, diameter)
    guess = None if near is None or medium.cap < np.inf else near / volume
    solved = implicit_step(medium, mu, tau, goal / scale, tolerance.max_iterations, guess)
    residual = solved.missing * scale
    if not residual <= max(goal, STALLED * diameter):
        raise not_converged(residual, goal, solved.iterations)
    p = solved.rho * (mean * x.masses.size / float(np.sum(solved.rho)))
    if medium.cap < np.inf:
        p = with_mass(solved.rho, medium.cap, medium.free, 1.0 / volume) * volume
    return Step(
        x.replace(p), length(medium, solved.rho, medium.potential + solved.push, tau, volume), residual, solved.iterations, METHOD
    )


def _settled(parts: Split, metric: Metric, x: Histogram, tau: float, tolerance: Tolerance, masses: np.ndarray | None) -> Step:
    """Return the step whose potential is that of its own law; a step from x itself must lower the energy."""

    def local(frozen: Energy, accuracy: Tolerance, near: np.ndarray | None) -> Step:
        return linearised(frozen, metric, x, tau, accuracy, masses, near)

    diameter = float(np.sqrt(sum((hi - lo) ** 2 for lo, hi in x.grid.bounds)))
    goal = tolerance.residual * max(1.0, diameter)
    step = settle(parts, x if masses is None else x.replace(masses), tau, tolerance, local, lambda _: goal)
    if masses is None:
        require_descent(parts.whole, x, tau, step)
    return step


def medium_of(energy: Energy, x: Histogram) -> Medium:
    """Sort an energy into pressure, potential, obstacles and cap on the grid of a histogram."""
    coef: list[float] = []
    power: list[float] = []
    potential, blocked = np.zeros(x.grid.shape), np.zeros(x.grid.shape, dtype=bool)
    cap, rest = without_cap(energy)
    for c, term in rest.terms():
        if c == 0.0:
            continue
        if isinstance(term, (Entropy, KL)):
            coef, power = [*coef, c * getattr(term, "temperature", 1.0)], [*power, 1.0]
        elif isinstance(term, PowerEntropy):
            coef, power = [*coef, c], [*power, term.m]
        elif isinstance(term, Obstacle):
            term.value(x)
            blocked |= term.blocked
        elif not isinstance(term, (Potential, Quadratic, CellPotential)):
            raise UnsupportedError(
                "linearised steps know Entropy, PowerEntropy, KL, Potential, Quadratic, CellPotential, Obstacle, "
                "Congestion, Interaction, QuadraticInteraction, MMD and EnergyDistance, "
                f"got {type(term).__name__}"
            )
        if isinstance(term, KL):
            term.value(x)
            if isinstance(term.target, Histogram):
                blocked |= term.target.masses == 0.0
                density = np.where(term.target.masses > 0.0, term.target.density, 1.0)
                potential -= c * np.log(density)
            elif term.potential is not None:
                potential += c * term.potential.gradient(x)
        elif isinstance(term, (Potential, Quadratic, CellPotential)):
            potential += c * term.gradient(x)
    if min(coef, default=1.0) < 0.0:
        raise UnsupportedError(f"linearised steps need internal energies with positive factors, got {min(coef):g}")
    spacing = tuple(float(h) for h in x.grid.spacing)
    potential = np.where(blocked, 0.0, potential)
    room = cap * x.grid.cell_volume * int(np.count_nonzero(~blocked))
    if not room > 1.0:
        raise UnsupportedError(f"density_cap must be above 1/volume of the free cells, {cap / room:g}, got {cap:g}")
    return Medium(spacing, x.grid.periodic, np.array(coef), np.array(power), potential, ~blocked, cap)


def length(medium: Medium, rho: np.ndarray, potential: np.ndarray, tau: float, volume: float) -> float:
    """Return tau |grad(phi + V)| in L2 of the mobility, for densities rho and the potential V."""
    flat = rho.reshape(-1), potential.reshape(-1)
    pairs = zip(medium.axes(), medium.faces, strict=True)
    total = sum(dissipation(*flat, k.reshape(-1), medium.still, medium.coef, medium.power, shape) for shape, k in pairs)
    return tau * float(np.sqrt(max(total, 0.0) * volume))
