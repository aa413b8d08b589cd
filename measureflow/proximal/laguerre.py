"""The dual of a step of histograms on grids under W2 in the potentials of the base law's atoms.

    min over rho of tau E(rho) + W2^2(rho, mu)/2  =  max over psi of  -sum_j mu_j psi_j - F*(-U(psi)),    F = tau E,

with rho spread evenly over each cell, mu at the cell centres, and U(psi) the averages over the cells of the least cost, as in
`proximal.dual_transport` with the laws exchanged. At psi the step's density is rho(psi) = u'^(-1)(-U - V); the derivative is
p - mu, where p(psi) is what rho leaves in the Laguerre cells of the atoms. This dual is smooth where rho is, however rough mu is
(atoms without mass take no part).

The plan, with the mass of every Laguerre cell scaled to mu_j, sends a law rho' exactly to mu. The duality gap is the distance of
rho' and rho in F, up to unevenness of rho' in single cells, and the residual the root of twice the gap. Spreading rho over
cells takes the variance f (1 - f) h^2 from a law that moves by a fraction f of a cell; the push-forward of mu, spread over cells,
by the potential -U gains as much. The step is the mean of both laws, in which the errors cancel to leading order
(where laws spread so far over coarse cells that the push-forward is rough, and the mean worse than mu, it is rho').
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from measureflow.kernels.cell_push import line_hulls
from measureflow.kernels.ctransform import at_nodes
from measureflow.proximal.grid_conjugates import CellEnergy
from measureflow.proximal.laguerre_system import Curvature
from measureflow.proximal.lbfgs import inner
from measureflow.proximal.stages import Stage, pushed, stages_of, transformed
from measureflow.states import Histogram

NEGLIGIBLE = 1e-8
"""Share of the largest mass below which an atom is left out (its mass goes to the others)."""
LOST = 1e-3
"""An atom has no Laguerre cell if it gets less than this share of its mass."""
WEAK = 1e-4
"""Weak springs between neighbours, in terms of the largest and of the missing mass."""
BENT, BENDS = 0.3, 3
"""Share of the missing mass by which densities may leave their linear model before there is another, of so many."""
BULK, REACH = 1e-3, 10.0
"""Atoms of this share of the largest mass bound the changes of psi elsewhere, to REACH times their range about their mean."""
BELOW = 0.1
"""How far psi of an atom without a cell goes below where it touches, in squares of the width, if as heavy as those near."""
FAR = 1e4
"""Potential of atoms that are left out, in squares of the diameter."""
NONE = np.empty((0, 0, 0))


@final
@dataclass(eq=False)
class Cells:
    """The dual at psi (shifted so that rho has mass 1)."""

    psi: np.ndarray
    stages: list[Stage]
    u: np.ndarray
    density: np.ndarray
    pushed: np.ndarray
    """Masses of the Laguerre cells."""

    def clear(self) -> np.ndarray:
        """Let go of all arrays and return psi."""
        psi, self.stages = self.psi, []
        self.psi = self.u = self.density = self.pushed = NONE
        return psi


@final
class Laguerre:
    """The dual of one step in the potentials of the atoms."""

    def __init__(self, local: CellEnergy, base: Histogram) -> None:
        self.local, self.base, self.grid = local, base, base.grid
        self.shape = (base.grid.shape + (1, 1))[:3]
        masses = base.masses.reshape(self.shape)
        self.held = masses > NEGLIGIBLE * float(np.max(masses))
        self.masses = np.where(self.held, masses, 0.0)
        self.masses /= float(np.sum(self.masses))
        self.potential = local.potential.reshape(self.shape)
        self.straight = local.m == 2.0 and not local.heat  # rho is linear in psi where it is positive
        self.far = FAR * sum((hi - lo) ** 2 for lo, hi in base.grid.bounds)

    def at(self, psi: np.ndarray) -> Cells | None:
        """Return the dual at psi; None where it is not finite."""
        stages = stages_of(self.grid)
        u = transformed(stages, np.where(self.held, psi, self.far))
        theta = np.negative(u)
        theta -= self.potential
        if not np.isfinite(np.sum(theta)):
            return None
        c = self.local.shift(theta)
        theta += c
        density = self.local.density(theta)
        del theta
        u -= c
        return Cells(psi - c, stages, u, density, pushed(stages, self.local.volume * density))

    def missing(self, cells: Cells) -> float:
        """Return the L1 distance of the Laguerre cells' masses from mu."""
        distance = cells.pushed - self.masses
        return float(np.sum(np.abs(distance, out=distance)))

    def lost(self, cells: Cells) -> np.ndarray:
        """Return which atoms have no Laguerre cell."""
        return self.held & (cells.pushed <= LOST * self.masses)

    @staticmethod
    def averaged(cells: Cells, v: np.ndarray) -> np.ndarray:
        """Return the averages over the cells of the grid of v where they go."""
        for stage in cells.stages:
            v = stage.average(v)
        return v

    def scaled(self, cells: Cells) -> np.ndarray:
        """Return the masses rho' that the plan sends to mu, without atoms that have no Laguerre cell."""
        found = cells.pushed > LOST * self.masses
        ratio = self.averaged(cells, np.divide(self.masses, cells.pushed, out=np.ones(self.shape), where=found))
        ratio *= cells.density
        ratio *= self.local.volume
        return ratio

    def residual(self, cells: Cells) -> float:
        """Return the root of twice the duality gap."""
        lost = cells.pushed <= LOST * self.masses  # their mass stays where it is
        masses = self.scaled(cells)
        np.add(masses, self.masses, out=masses, where=lost)
        masses /= self.local.volume * float(np.sum(masses))
        theta = np.negative(cells.u)
        theta -= self.potential
        slack = inner(self.masses[lost], np.maximum(cells.psi[lost] - cells.u[lost], 0.0))
        return float(np.sqrt(2.0 * (self.local.gap(theta, cells.density, masses) + slack)))

    def distance(self, cells: Cells) -> float:
        """Return the root of twice the cost of the plan."""
        cost = self.local.volume * inner(cells.density, cells.u) - inner(cells.pushed, np.where(self.held, cells.psi, 0.0))
        return float(np.sqrt(max(2.0 * cost, 0.0)))

    def law(self, cells: Cells) -> np.ndarray:
        """Return the mean of rho' and the push-forward of mu by -U to where rho is, or rho' if the mean is worse than mu."""
        behind = self.scaled(cells)
        behind /= float(np.sum(behind))
        stages = stages_of(self.grid)
        transformed(stages, np.where(cells.density > 0.0, -cells.u, self.far))
        mean = pushed(stages, self.masses)
        del stages
        mean += behind
        mean /= float(np.sum(mean))
        kept = self._energy(mean) + 0.5 * self.distance(cells) ** 2 <= self._energy(self.masses)
        return mean if kept else behind

    def _energy(self, masses: np.ndarray) -> float:
        """Return tau E."""
        stored = self.local.stored(masses / self.local.volume)
        return self.local.volume * float(np.sum(stored)) + inner(masses, self.potential)

    def direction(self, cells: Cells, factor: float) -> np.ndarray:
        """Return the change of psi that takes the masses of Laguerre cells to mu, or as near as a factor; psi alone is kept.

        The density is linear in psi at first; where its true change would leave the model too far, the slopes of the change are
        the next model (densities that start at 0, or end there, have no useful tangent).
        """
        missing, volume = min(self.missing(cells), 1.0), self.local.volume
        stiff, load = self._stiffness(cells), self._excess(cells, factor)
        system = Curvature(cells.stages, volume * cells.density, self.held, WEAK * missing)
        cells.u = cells.density = cells.pushed = NONE
        x = np.zeros(self.shape)
        for count in range(1 if self.straight else BENDS):
            if count:
                load += system.apply(x, np.empty(self.shape))
            system.stiffen(stiff)
            del stiff
            if count:
                load -= system.apply(x, np.empty(self.shape))
            system.improve(load, x)
            if self.straight or count == BENDS - 1:
                break
            stiff, off = self._chords(cells, system, x)
            if off <= BENT * missing:
                break
        return x

    def _chords(self, cells: Cells, system: Curvature, x: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the mean slopes of the masses of rho over a change x of psi, and by how much masses leave the linear model."""
        theta = transformed(cells.stages, np.where(self.held, cells.psi, self.far))
        theta += self.potential
        np.negative(theta, out=theta)
        rise = -self.averaged(cells, x)
        jump = -self.local.density(theta)
        theta += rise
        jump += self.local.density(theta)
        jump *= self.local.volume
        del theta
        stiff = np.array(cells.stages[-1].whole(system.stiff))
        off = float(np.sum(np.abs(jump - stiff * rise)))
        return np.divide(jump, rise, out=stiff, where=np.abs(rise) > 1e-14), off

    def _excess(self, cells: Cells, factor: float) -> np.ndarray:
        """Return by how much the masses of Laguerre cells exceed those aimed at; 0 for atoms without one."""
        masses = np.maximum(cells.pushed, 1e-300)
        masses -= masses * np.clip(self.masses / masses, 1.0 / factor, factor)
        masses[~self.held | self.lost(cells)] = 0.0
        return masses

    def _stiffness(self, cells: Cells) -> np.ndarray:
        """Return the derivative of the masses of rho by theta: to where the plan's masses are, if it is not constant."""
        local = self.local
        if self.straight:
            return local.volume * local.stiffness(cells.density)
        masses = self.scaled(cells)
        masses /= local.volume
        return local.volume * local.secant(-cells.u - self.potential, cells.density, masses)

    def bounded(self, change: np.ndarray) -> np.ndarray:
        """Return a change of psi that is bounded where atoms are light."""
        bulk = change[self.masses > BULK * np.max(self.masses)]
        middle, reach = float(np.mean(bulk)), REACH * float(np.ptp(bulk))
        return np.clip(change, middle - reach, middle + reach)

    def hulls(self, psi: np.ndarray) -> Iterator[np.ndarray]:
        """Yield two c-concave functions below psi: by the transforms between nodes, and by convex hulls along the axes."""
        psi = np.where(self.held, psi, self.far)
        yield -self.at_nodes(-self.at_nodes(psi))
        for stage in stages_of(self.grid):
            psi = np.where(self.held, stage.transform(psi, line_hulls), self.far)
        yield psi

    def lowered(self, cells: Cells, lost: np.ndarray) -> np.ndarray:
        """Return psi, of atoms without a cell lowered to where they touch the support of rho, and on by what fits their mass."""
        u = -self.at_nodes(np.where(self.held, cells.psi, self.far))
        u[cells.density <= 0.0] = self.far
        touching = np.minimum(-self.at_nodes(u), cells.psi)
        around, width = self.masses, np.inf
        for k in range(self.grid.dim):
            if self.shape[k] > 1:
                around = (around + np.roll(around, 1, axis=k) + np.roll(around, -1, axis=k)) / 3.0
                width = min(width, float(self.grid.spacing[k]))
        share = np.divide(self.masses, around, out=np.zeros(self.shape), where=lost)
        return np.where(lost, touching - BELOW * width**2 * share, cells.psi)

    def at_nodes(self, psi: np.ndarray) -> np.ndarray:
        """Return min over j of |x_i - x_j|^2/2 + psi_j at the nodes."""
        return transformed(stages_of(self.grid), psi, at_nodes)

    def rest(self) -> np.ndarray:
        """Return psi = 0: every cell goes to its own atom."""
        return np.zeros(self.shape)
