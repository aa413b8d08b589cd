"""Exact steps of histograms below a density cap: Newton's method for the dual, two ways.

Without internal energy the dual is solved in the pressure first (`proximal.crowd_pressure`). With it, or where that stalls,
`proximal.dual_transport` takes the step, with a centre that moves: the conjugate of a capped energy is that of
`measureflow.proximal.crowd_cells`. Newton's method ascends the dual for a centre and a sigma until the law rho(phi) and the
push-forward p(phi) are close; then the centre becomes rho(phi), sigma is halved, and so on (the proximal point method). It starts
from the solution on cells twice as wide. Together with Entropy, KL or PowerEntropy there is no kink and no centre.

What comes back is rho(phi), or what the pressure gives: its mass is 1 and its density at most the cap, exactly. The residual is
the sum of two lengths:

* a bound of W1(rho(phi), p(phi)), found on boxes of 2^k cells; the plan that sends mu to p(phi) is optimal;
* the root of twice the duality gap of the capped energy at rho(phi) and phi, as if that were the push-forward.

The functional at rho(phi) is above its least value by at most k^2/2 + (3/2 L + slope of phi) w, with w and k these two lengths
and L the diameter of the box: glue the plan of mu and p(phi) to that of p(phi) and rho(phi).

The search ends where the residual is at most a share of the distance moved, or of a cell's width if that is larger: steps that
move mass by less blur it by a part of a cell anyway. The share is that of `dual_transport`: 3e-3 for a tolerance of 1e-10.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast, final

import numpy as np

from measureflow.energies import Congestion, Energy
from measureflow.errors import UnsupportedError
from measureflow.proximal.base import Step, Tolerance, not_converged
from measureflow.proximal.caps import with_mass
from measureflow.proximal.crowd_cells import CappedCells
from measureflow.proximal.crowd_pressure import Pressure, spread
from measureflow.proximal.dual_transport import (
    FEW,
    FORCING,
    LARGEST,
    LOOSE,
    MOVED,
    RAISE,
    Dual,
    Point,
    coarser,
    prolonged,
    search,
)
from measureflow.proximal.grid_conjugates import CellEnergy, cell_energy
from measureflow.proximal.lbfgs import inner
from measureflow.proximal.stages import pushed, stages_of, transformed
from measureflow.states import Histogram

WIDTH = 1.0
"""Width of the first kink, sigma cap, in units of a cell's width times the distance moved."""
SHARPER = 0.5
LEAST = 1e-5
"""Least damping: more would slow down the long waves of the pressure of a saturated law."""
NESTED, NESTED_STEPS = 0.01, 40
"""Residual on coarser grids, as a share of the distance moved, and iterations there at most."""
QUICK = 60
"""Iterations of the search for the pressure at most."""
STALLED = 1e-7
"""Residual that is accepted, and reported, where rounding ends the search."""


def crowd_step(energy: Energy, cap: float, x: Histogram, tau: float, tolerance: Tolerance) -> Step:
    """Return the step of a histogram under an energy and a density cap.

    Raises
    ------
    ConvergenceError
        If the residual stays too large.
    UnsupportedError
        If the energy has no such step.
    ValueError
        If the grid holds no mass 1 below the cap.
    """
    Congestion(cap).require_room(x)
    cells = cell_energy(energy, x, tau)
    if cells is None:
        raise UnsupportedError(
            "exact steps of histograms below a density cap take sums of Entropy, KL, one PowerEntropy, Potential and Quadratic "
            f"with it, got {energy!r}"
        )
    share, most, spent = min(LOOSE, MOVED * tolerance.residual), tolerance.max_iterations, 0
    if not cells.internal:
        quick = Pressure(cells, cap, x).solve(tolerance.residual, share, min(most, QUICK))
        if quick.residual <= quick.goal:
            law = x.replace(quick.masses.reshape(x.grid.shape))
            return Step(law, quick.distance, quick.residual, quick.iterations, "dual Newton, pressure")
        spent = quick.iterations
    found = _Crowd(cells, cap, x).solve(tolerance.residual, share, most - spent)
    if found.residual > max(found.goal, STALLED):
        raise not_converged(found.residual, found.goal, spent + found.iterations)
    law = x.replace((cells.volume * found.point.density).reshape(x.grid.shape))
    return Step(law, found.distance, found.residual, spent + found.iterations, "dual Newton, moving centre")


@final
@dataclass(eq=False)
class _Found:
    """Where the search ended."""

    point: Point
    residual: float
    goal: float
    distance: float
    iterations: int


@final
class _Crowd:
    """One step on one grid."""

    def __init__(self, cells: CellEnergy, cap: float, base: Histogram) -> None:
        self.cells, self.cap, self.base = cells, cap, base
        self.shape, self.spacing = (base.grid.shape + (1, 1))[:3], float(np.min(base.grid.spacing))
        self._take(1.0, np.zeros(self.shape))

    def solve(self, tolerance: float, share: float, most: int) -> _Found:
        """Search until the residual is below the tolerance, or a share of the distance moved or of a cell's width."""
        phi = self._start()
        point, masses, width = self._first(phi)
        damping, iteration = LEAST, 0
        while True:
            rest = masses - self.cells.volume * point.density
            apart = spread(rest, self.base.grid.spacing)
            kink = float(np.sqrt(2.0 * max(self.local.excess(point.theta, point.density), 0.0)))
            distance = self.dual.distance(point, masses)
            goal = max(tolerance, share * max(distance, self.spacing))
            if apart + kink <= goal or iteration >= most or damping > LARGEST:
                return _Found(point, apart + kink, goal, distance, iteration)
            if apart < kink:
                width *= SHARPER
                point = self._at(point.phi, width, point.density)
            iteration += 1
            direction, _ = self.dual.direction(point, masses, FORCING, damping)
            trial, length = search(self._valued, point, direction, rest)
            damping = RAISE * damping if length < 1.0 else max(0.1 * damping, LEAST)
            if trial is not None:
                point = trial
                masses = self.dual.pushed(point)

    def _start(self) -> np.ndarray:
        """Return the solution on cells twice as wide, interpolated; on few cells the potential, under which nothing is pushed."""
        wide = coarser(self.cells, self.base) if self.base.masses.size > FEW else None
        if wide is None:
            return self.cells.potential.reshape(self.shape).copy()
        below = _Crowd(wide[0], self.cap, wide[1])
        return prolonged(below.solve(0.0, NESTED, NESTED_STEPS).point.phi, self.base.grid)

    def _first(self, phi: np.ndarray) -> tuple[Point, np.ndarray, float]:
        """Return the first point, its push-forward and width: the centre is the push-forward, cut off at the cap."""
        stages = stages_of(self.base.grid)
        u, masses = transformed(stages, phi), pushed(stages, self.dual.masses)
        moved = float(np.sqrt(max(2.0 * (inner(self.dual.masses, u) - inner(phi, masses)), 0.0)))
        volume = self.cells.volume
        centre = with_mass(np.minimum(masses / volume, self.cap), self.cap, np.ones(self.shape, dtype=bool), 1.0 / volume)
        above = spread(masses - volume * centre, self.base.grid.spacing)
        width = WIDTH * self.spacing * max(moved, above, 1e-3 * self.spacing)
        point = self._at(phi, width, centre)
        return point, self.dual.pushed(point), width

    def _at(self, phi: np.ndarray, width: float, centre: np.ndarray) -> Point:
        """Return phi as a point of the dual with this width of its kink and this centre."""
        self._take(width, centre)
        point = self._valued(phi)
        if point is None:
            raise UnsupportedError("the energy must be finite where every cell has mass")
        return point

    def _take(self, width: float, centre: np.ndarray) -> None:
        """Take the dual with this width and centre; CappedCells has what `Dual` asks of a CellEnergy."""
        self.local = CappedCells(self.cells, self.cap, width / self.cap, centre)
        self.dual = Dual(cast(CellEnergy, self.local), self.base)

    def _valued(self, phi: np.ndarray) -> Point | None:
        """Return the dual at phi, with the value of the capped energy's conjugate; None where it is not finite."""
        point = self.dual.at(phi)
        if point is not None:
            point.value = inner(self.dual.masses, point.u) - self.local.conjugates(point.theta, point.density)
        return point
