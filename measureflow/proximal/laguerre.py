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

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import final

import numpy as np

from measureflow.kernels.cell_push import line_hulls
from measureflow.kernels.ctransform import at_nodes
from measureflow.proximal.elliptic import Elliptic
from measureflow.proximal.grid_conjugates import CellEnergy
from measureflow.proximal.lbfgs import inner
from measureflow.proximal.stages import Stage, conjugate_gradients, pushed, springs, stages_of, transformed
from measureflow.states import Histogram

NEGLIGIBLE = 1e-8
"""Share of the largest mass below which an atom is left out (its mass goes to the others)."""
LOST = 1e-3
"""An atom has no Laguerre cell if it gets less than this share of its mass."""
FORCING, SOLVES = 0.1, 100
"""Share of the first residual at which conjugate gradients stop, and their steps at most."""
RIDGE = 1e-8
BULK, REACH = 1e-3, 10.0
"""Atoms of this share of the largest mass bound the changes of psi elsewhere, to REACH times their range about their mean."""
FAR = 1e4
"""Potential of atoms that are left out, in squares of the diameter."""


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
        self.far = FAR * sum((hi - lo) ** 2 for lo, hi in base.grid.bounds)

    def at(self, psi: np.ndarray) -> Cells | None:
        """Return the dual at psi; None where it is not finite."""
        stages = stages_of(self.grid)
        u = transformed(stages, np.where(self.held, psi, self.far))
        theta = -u - self.potential
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
        return float(np.sum(np.abs(cells.pushed - self.masses)))

    def scaled(self, cells: Cells) -> np.ndarray:
        """Return the masses rho' that the plan sends to mu, without atoms that have no Laguerre cell."""
        found = cells.pushed > LOST * self.masses
        ratio = np.where(found, self.masses / np.where(found, cells.pushed, 1.0), 1.0)
        for stage in cells.stages:
            ratio = stage.average(ratio)
        return self.local.volume * cells.density * ratio

    def residual(self, cells: Cells) -> float:
        """Return the root of twice the duality gap."""
        lost = cells.pushed <= LOST * self.masses  # their mass stays where it is
        masses = self.scaled(cells) + np.where(lost, self.masses, 0.0)
        gap = self.local.gap(-cells.u - self.potential, cells.density, masses / (self.local.volume * float(np.sum(masses))))
        slack = inner(self.masses[lost], np.maximum(cells.psi - cells.u, 0.0)[lost])
        return float(np.sqrt(2.0 * (gap + slack)))

    def distance(self, cells: Cells) -> float:
        """Return the root of twice the cost of the plan."""
        cost = self.local.volume * inner(cells.density, cells.u) - inner(cells.pushed, np.where(self.held, cells.psi, 0.0))
        return float(np.sqrt(max(2.0 * cost, 0.0)))

    def law(self, cells: Cells) -> np.ndarray:
        """Return the mean of rho' and the push-forward of mu by the potential -U, or rho' if the mean is worse than mu."""
        stages = stages_of(self.grid)
        transformed(stages, -cells.u)
        behind, ahead = self.scaled(cells), pushed(stages, self.masses)
        behind /= float(np.sum(behind))
        mean = ahead + behind
        mean /= float(np.sum(mean))
        kept = self._energy(mean) + 0.5 * self.distance(cells) ** 2 <= self._energy(self.masses)
        return mean if kept else behind

    def _energy(self, masses: np.ndarray) -> float:
        """Return tau E."""
        stored = self.local.stored(masses / self.local.volume)
        return self.local.volume * float(np.sum(stored)) + inner(masses, self.potential)

    def direction(self, cells: Cells, excess: np.ndarray) -> np.ndarray:
        """Return the change of psi that takes the excess from the Laguerre cells, by conjugate gradients."""
        stiff, ridge, cycle = self._operator(cells)

        def apply(p: np.ndarray) -> np.ndarray:
            return np.where(self.held, self._bent(cells, stiff, p) + ridge * p, 0.0)

        def precondition(r: np.ndarray) -> np.ndarray:
            return np.where(self.held, cycle(r), 0.0)

        x, _ = conjugate_gradients(apply, precondition, np.where(self.held, excess, 0.0), FORCING, SOLVES)
        for stage in cells.stages:
            stage.weights = np.empty((0, 0))
        return x

    def bounded(self, change: np.ndarray) -> np.ndarray:
        """Return a change of psi that is bounded where atoms are light."""
        bulk = change[self.masses > BULK * np.max(self.masses)]
        middle, reach = float(np.mean(bulk)), REACH * float(np.ptp(bulk))
        return np.clip(change, middle - reach, middle + reach)

    def _operator(self, cells: Cells) -> tuple[np.ndarray, np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        """Return the stiffness of the cells, what is added to the diagonal, and a multigrid cycle with springs of neighbours."""
        stiff = self.local.volume * self.local.stiffness(cells.density)
        lumped, faces = pushed(cells.stages, stiff), springs(cells.stages, self.local.volume * cells.density)
        ridge = lumped.copy()
        for k, face in enumerate(faces):
            ridge += face + np.roll(face, 1, axis=k)
        ridge *= RIDGE
        ridge += 1e-300
        return stiff, ridge, Elliptic(lumped + ridge, faces).cycle

    @staticmethod
    def _bent(cells: Cells, stiff: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return minus the second derivative applied to v."""
        averaged = [v]
        for stage in cells.stages:
            averaged.append(stage.average(averaged[-1]))
        out = stiff * averaged[-1]
        for k in reversed(range(len(cells.stages))):
            out = cells.stages[k].push(out) + cells.stages[k].bend(averaged[k])
        return out

    def hulls(self, psi: np.ndarray) -> Iterator[np.ndarray]:
        """Yield two c-concave functions below psi: by the transforms between nodes, and by convex hulls along the axes."""
        psi = np.where(self.held, psi, self.far)
        yield -self.at_nodes(-self.at_nodes(psi))
        for stage in stages_of(self.grid):
            psi = np.where(self.held, stage.transform(psi, line_hulls), self.far)
        yield psi

    def at_nodes(self, psi: np.ndarray) -> np.ndarray:
        """Return min over j of |x_i - x_j|^2/2 + psi_j at the nodes."""
        return transformed(stages_of(self.grid), psi, at_nodes)

    def rest(self) -> np.ndarray:
        """Return psi = 0: every cell goes to its own atom."""
        return np.zeros(self.shape)
