"""Exact steps of crowds without diffusion: the potential's dual in the pressure of a density cap.

    min over rho <= cap of  tau int V drho + W2^2(rho, mu)/2  =  max over pi >= 0 of  sum_i mu_i U_i(tau V + pi) - cap int pi,

U the least cost as in `proximal.dual_transport`. The derivative is p(pi) - cap, the push-forward p of mu and the cap: at the
maximum p is at the cap where pi > 0, below it elsewhere, and the step itself. There is nothing else to smooth or to bound.

Projected Newton: cells that push or hold too much change their pressure, others have none. In place of the second derivative
stand springs between neighbours, which bound it from above (mass that is cut by a long edge of the hull pulls at every node
below it). Nodes that hardly any mass reaches have weak springs, or none: a ground makes up for what they lack of a share of a
full cell's, so that the pressure there falls by about a cell's square in an iteration. Steps that do not ascend raise the share.

Potentials that are rough, or steep over a step, ask for more iterations than they are worth: a search that stalls is given up.

The start is the solution on cells twice as wide: its U, interpolated, says where the cells of mu go; the pressure is that of the
conjugate of U. What comes back is p, cut off at the cap; the residual is that of `proximal.crowd`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from measureflow.kernels.ctransform import at_nodes
from measureflow.proximal.caps import with_mass
from measureflow.proximal.dual_transport import FEW, block_sums, coarser, prolonged
from measureflow.proximal.elliptic import Elliptic
from measureflow.proximal.grid_conjugates import CellEnergy
from measureflow.proximal.lbfgs import inner
from measureflow.proximal.stages import Stage, pushed, springs, stages_of, transformed
from measureflow.states import Histogram

GROUND, MOST_GROUND, RAISE = 0.25, 1e9, 2.0
"""Least stiffness of a cell as a share of a full one's, the largest share, and the factor after a shorter step."""
RIDGE = 1e-8
FORCING, SOLVES = 0.2, 10
HALVINGS = 2
PATIENCE, PROGRESS = 10, 0.8
"""A search ends where so many iterations leave more than this share of the residual."""
NESTED, NESTED_STEPS = 0.01, 40
"""Residual on coarser grids, as a share of the distance moved, and iterations there at most."""
HELD, FAR = 1e-8, 1e4
"""Share of the largest mass from which on a cell counts at the start, and the potential of others, in squares of the diameter."""


@final
@dataclass(eq=False)
class Found:
    """Where a search ended: masses, residual, the residual aimed at, the distance moved, iterations, the pressure, and U."""

    masses: np.ndarray
    residual: float
    goal: float
    distance: float
    iterations: int
    pressure: np.ndarray
    u: np.ndarray


@final
@dataclass(eq=False)
class _Point:
    """The dual at a pressure, with the push-forward of mu."""

    pressure: np.ndarray
    stages: list[Stage]
    u: np.ndarray
    value: float
    masses: np.ndarray


@final
class Pressure:
    """One step on one grid."""

    def __init__(self, cells: CellEnergy, cap: float, base: Histogram) -> None:
        self.cells, self.cap, self.base, self.grid = cells, cap, base, base.grid
        self.shape = (base.grid.shape + (1, 1))[:3]
        self.masses = base.masses.reshape(self.shape)
        potential = cells.potential.reshape(self.shape)
        self.potential = potential - float(np.min(potential))
        self.room = cap * cells.volume
        squares = zip(base.grid.spacing, base.grid.shape, strict=True)
        self.stiff = 2.0 * self.room * sum(float(h) ** -2.0 for h, n in squares if n > 1)

    def solve(self, tolerance: float, share: float, most: int) -> Found:
        """Search until the residual is below the tolerance, or a share of the distance moved or of a cell's width."""
        point, ground, iteration = self._at(self._start()), GROUND, 0
        width, residuals = float(np.min(self.grid.spacing)), [np.inf] * PATIENCE
        while True:
            law = self._law(point)
            slack = float(np.sqrt(max(2.0 * inner(point.pressure, self.room - law), 0.0)))
            residual = spread(point.masses - law, self.grid.spacing) + slack
            distance = self._distance(point)
            goal = max(tolerance, share * max(distance, width))
            slow = residual > PROGRESS * residuals[-PATIENCE]
            if residual <= goal or slow or iteration >= most or ground > MOST_GROUND:
                return Found(law, residual, goal, distance, iteration, point.pressure, point.u)
            residuals.append(residual)
            iteration += 1
            trial, length = self._search(point, self._direction(point, ground))
            ground = max(ground / RAISE, GROUND) if length == 1.0 else ground * (RAISE if trial else RAISE**2)
            point = trial or point

    def _start(self) -> np.ndarray:
        """Return the pressure that the solution on cells twice as wide gives; none on few cells."""
        wide = coarser(self.cells, self.base) if self.base.masses.size > FEW else None
        if wide is None:
            return np.zeros(self.shape)
        u = prolonged(Pressure(wide[0], self.cap, wide[1]).solve(0.0, NESTED, NESTED_STEPS).u, self.grid)
        far = FAR * sum((hi - lo) ** 2 for lo, hi in self.grid.bounds)
        held = self.masses > HELD * float(np.max(self.masses))
        return -transformed(stages_of(self.grid), np.where(held, -u, far), at_nodes) - self.potential

    def _at(self, pressure: np.ndarray) -> _Point:
        """Return the dual at the positive part of a pressure, without a constant that every cell has."""
        pressure = np.maximum(pressure, 0.0)
        pressure -= float(np.min(pressure))
        stages = stages_of(self.grid)
        u = transformed(stages, self.potential + pressure)
        value = inner(self.masses, u) - self.room * float(np.sum(pressure))
        return _Point(pressure, stages, u, value, pushed(stages, self.masses))

    def _distance(self, point: _Point) -> float:
        """Return the root of twice the cost of the plan."""
        cost = inner(self.masses, point.u) - inner(self.potential + point.pressure, point.masses)
        return float(np.sqrt(max(2.0 * cost, 0.0)))

    def _law(self, point: _Point) -> np.ndarray:
        """Return the push-forward cut off at the cap; what is left over goes to cells that push and are not full."""
        law = np.minimum(point.masses, self.room)
        lacking = np.where(point.pressure > 0.0, self.room - law, 0.0)
        missing, total = 1.0 - float(np.sum(law)), float(np.sum(lacking))
        if total > 0.0:
            law += lacking * min(1.0, missing / total)
        law = with_mass(law / self.room, 1.0, np.ones(self.shape, dtype=bool), 1.0 / self.room)
        return np.minimum(law * self.room, self.room)

    def _direction(self, point: _Point, ground: float) -> np.ndarray:
        """Return the change of the pressure in the cells that push or hold too much."""
        active = (point.pressure > 0.0) | (point.masses > self.room)
        inside, cut, whole = [], np.zeros(self.shape), np.zeros(self.shape)
        for k, face in enumerate(springs(point.stages, self.masses)):
            if self.shape[k] > 1:
                between = np.where(active & np.roll(active, -1, k), face, 0.0)
                whole += face + np.roll(face, 1, k)
                face -= between
                cut += face + np.roll(face, 1, k)
                face = between
            inside.append(face)
        diagonal = cut + RIDGE * whole + np.maximum(ground * self.stiff - whole, 0.0)
        load = np.where(active, point.masses - self.room, 0.0)
        return Elliptic(np.where(active, diagonal, 0.0), inside).solve(load, FORCING, SOLVES)[0]

    def _search(self, start: _Point, direction: np.ndarray) -> tuple[_Point | None, float]:
        """Backtrack until the dual rises enough; return the new point and the length of the step."""
        length, rounding = 1.0, 1e-14 * abs(start.value)
        for _ in range(HALVINGS):
            trial = self._at(start.pressure + length * direction)
            rise = inner(start.masses - self.room, trial.pressure - start.pressure)
            if trial.value - start.value >= 1e-4 * rise - rounding:
                return trial, length
            length *= 0.5
        return None, 0.0


def spread(rest: np.ndarray, spacing: np.ndarray) -> float:
    """Return a bound of W1 for a difference of masses (three axes): what boxes of 2^k cells a side lack moves in larger ones."""
    total, side = 0.0, np.ones(3)
    side[: len(spacing)] = spacing
    while rest.size > 1:
        lacking = 0.5 * float(np.sum(np.abs(rest)))
        wide = [k for k in range(3) if rest.shape[k] > 1]
        rest = np.pad(rest, [(0, n % 2 if n > 1 else 0) for n in rest.shape])
        rest = block_sums(rest, rest.shape)
        side[wide] *= 2.0
        total += lacking * float(np.sqrt(np.sum(side[wide] ** 2)))
    return total
