"""Steps of histograms on grids of one to three dimensions under W2, through the concave dual of the JKO problem.

    min over rho of tau E(rho) + W2^2(rho, mu)/2  =  max over phi of  sum_i mu_i U_i(phi) - F*(phi),    F = tau E.

mu is spread evenly over each cell, rho sits at the cell centres, and the least cost of sending a cell somewhere is taken axis by
axis, last axis first: U = U_0 ... U_{d-1} with the averaged c-transforms U_k of `kernels.ctransform` along axis k. Every phi is
feasible, and its derivative is a transport plan: the push-forward p(phi) of mu and rho(phi), the density with F'(rho) = phi,
agree at the maximum. Their distance in F is the duality gap: by no more does p(phi) miss the least value of the discrete
functional. The residual is the root of twice the gap, which in the continuum bounds W2(p, minimiser) for convex E.

Newton's method: the second derivative is -(diagonal + springs between nodes that share a boundary of cells), exact for the
discrete dual; its systems are solved by conjugate gradients with a multigrid cycle. Moving a cell by a fraction f of its width h
spreads it by the variance f (1 - f) h^2 at no cost, an error of second order in h for a given tau. Energies with u' = -infinity
at 0 converge slowly or not at all from laws with empty cells where tails are thinner than a cell: a ConvergenceError says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import final

import numpy as np

from measureflow.energies import Energy
from measureflow.errors import UnsupportedError
from measureflow.kernels.ctransform import at_nodes
from measureflow.metrics import Metric
from measureflow.metrics.wasserstein import is_w2
from measureflow.proximal.base import Step, Tolerance, not_converged
from measureflow.proximal.elliptic import Elliptic
from measureflow.proximal.grid_conjugates import CellEnergy, cell_energy
from measureflow.proximal.lbfgs import inner
from measureflow.proximal.stages import Stage, conjugate_gradients, pushed, springs, stages_of, transformed
from measureflow.states import Grid, Histogram, State

HALVINGS = 3
RAISE = 100.0
LEAST = 1e-3
LARGEST = 1e6
"""Factor on the damping after a step that had to be shortened, the least damping (cells that hardly any mass sees leave phi
undetermined), and where the search ends."""
FORCING = 0.1
SOLVES = 10
"""Share of the first residual at which conjugate gradients stop, and their steps at most: any number ascends."""
NESTED, NESTED_STEPS = 0.005, 20
FEW = 64
"""Cells from which on no coarser grid gives the start."""
EMPTY, FULL = 1e-12, 1e-3
"""Shares of the largest density: what empty cells get at the start, and from which on a cell counts as full."""
SHARE, FAR = 0.5, 1e12
"""Curvature of the first phi around full cells, and a number above every potential."""
STALLED = 1e-7
"""Residual that is accepted, and reported, where rounding ends the search."""
MOVED = 3e7
LOOSE = 0.01
"""A step also stops where its residual is MOVED times the tolerance, at most LOOSE, of the distance moved."""


@final
@dataclass(eq=False)
class Point:
    """The dual at phi (of mass 1), with its stages and, per cell, theta = phi - V and the density rho(phi)."""

    phi: np.ndarray
    stages: list[Stage]
    theta: np.ndarray
    density: np.ndarray
    value: float
    u: np.ndarray
    """U, so that mu moves at the cost sum_i mu_i U_i + int phi dp."""


@final
class Dual:
    """The dual function of one step."""

    def __init__(self, local: CellEnergy, base: Histogram) -> None:
        self.local, self.base, self.grid = local, base, base.grid
        self.shape = (base.grid.shape + (1, 1))[:3]
        self.masses = base.masses.reshape(self.shape)

    def at(self, phi: np.ndarray) -> Point | None:
        """Return the dual at phi shifted to mass 1; None where it is not finite."""
        if not np.all(np.isfinite(phi)) or float(np.max(np.abs(phi))) > 1e100:
            return None
        local = self.local
        theta = phi - local.potential.reshape(self.shape)
        c = local.shift(theta)
        phi, theta = phi + c, theta + c
        density = local.density(theta)
        stages = stages_of(self.grid)
        u = transformed(stages, phi)
        value = inner(self.masses, u) - local.volume * float(np.sum(local.conjugate(density)))
        return Point(phi, stages, theta, density, value, u) if np.isfinite(value) else None

    def pushed(self, point: Point) -> np.ndarray:
        """Return the push-forward of mu."""
        return pushed(point.stages, self.masses)

    def gap(self, point: Point, masses: np.ndarray) -> float:
        """Return the duality gap of phi and masses pushed forward by its plan."""
        return self.local.gap(point.theta, point.density, masses / self.local.volume)

    def distance(self, point: Point, masses: np.ndarray) -> float:
        """Return the root of twice the cost of the plan."""
        return float(np.sqrt(max(2.0 * (inner(self.masses, point.u) - inner(point.phi, masses)), 0.0)))

    def direction(self, point: Point, masses: np.ndarray, forcing: float, damping: float) -> tuple[np.ndarray, int]:
        """Return Newton's direction, from conjugate gradients down to a share of the first residual, and their number."""
        diagonal, faces = self._operator(point, masses)
        diagonal = diagonal + damping * self._scale(diagonal, faces)
        cycle = Elliptic(diagonal, faces).cycle
        load = masses - self.local.volume * point.density
        return conjugate_gradients(lambda p: self._apply(point, diagonal, p), cycle, load, forcing, SOLVES)

    def _operator(self, point: Point, masses: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
        """Return the diagonal of minus the second derivative, and springs between neighbours that stand for the rest."""
        volume = self.local.volume
        diagonal = volume * self.local.secant(point.theta, point.density, masses / volume)
        return diagonal, springs(point.stages, self.masses)

    def _scale(self, diagonal: np.ndarray, faces: list[np.ndarray]) -> np.ndarray | float:
        """Return what damping adds to: the second derivative's own diagonal, or a typical one if densities may vanish."""
        local = self.local
        if local.compact:
            typical = inner(self.masses, self.masses) / local.volume
            return local.volume * float(local.stiffness(np.array(typical)))
        around = sum(faces[k] + np.roll(faces[k], 1, axis=k) for k in range(3))
        return np.asarray(diagonal + around)

    def _apply(self, point: Point, diagonal: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Return minus the second derivative applied to v."""
        averaged = [v]
        for stage in point.stages[:-1]:
            averaged.append(stage.average(averaged[-1]))
        out = np.zeros(self.shape)
        for k in reversed(range(len(point.stages))):
            stage = point.stages[k]
            out = (stage.push(out) if k < len(point.stages) - 1 else out) + stage.bend(averaged[k])
        return out + diagonal * v

    def start(self) -> np.ndarray:
        """Return the solution on cells twice as wide, interpolated; on few cells the slope of tau E at the base law."""
        coarse = self._coarser()
        if coarse is not None:
            return prolonged(ascend(coarse, 0.0, NESTED, NESTED_STEPS, False)[0].phi, self.grid)
        density = self.base.density.reshape(self.shape)
        largest = float(np.max(density))
        phi = self.local.pressure(np.maximum(density, EMPTY * largest)) + self.local.potential.reshape(self.shape)
        return phi if self.local.compact else self._extended(phi, density > FULL * largest)

    def _extended(self, phi: np.ndarray, held: np.ndarray) -> np.ndarray:
        """Return phi, in empty cells raised to where they attract no mass from full ones: max of phi_i - share |x_i - x|^2/2."""
        reach = transformed(stages_of(self.grid), np.where(held, -phi, FAR) / SHARE, at_nodes)
        return np.where(held, phi, np.maximum(phi, -SHARE * reach))

    def _coarser(self) -> Dual | None:
        found = coarser(self.local, self.base) if self.base.masses.size > FEW else None
        return None if found is None else Dual(*found)


def coarser(local: CellEnergy, base: Histogram) -> tuple[CellEnergy, Histogram] | None:
    """Return energy and law on cells twice as wide; None if an axis cannot be halved."""
    grid = base.grid
    if any(n % 2 or n < 4 for n in grid.shape if n > 1):
        return None
    coarse = Grid(grid.bounds, tuple((n + 1) // 2 for n in grid.shape), grid.periodic)
    masses = block_sums(base.masses, grid.shape)
    share = coarse.cell_volume / grid.cell_volume
    wide = replace(local, potential=block_sums(local.potential, grid.shape) / share, volume=coarse.cell_volume)
    return wide, Histogram(masses, coarse)


def block_sums(a: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the sums over pairs of cells along every axis."""
    for k, n in enumerate(shape):
        if n > 1:
            a = a.reshape((*a.shape[:k], n // 2, 2, *a.shape[k + 1 :])).sum(axis=k + 1)
    return a


def prolonged(coarse: np.ndarray, grid: Grid) -> np.ndarray:
    """Return a function of cells twice as wide on the cells of a grid, interpolated (extrapolated to walls) linearly."""
    for k in range(grid.dim):
        if grid.shape[k] == 1:
            continue
        v = np.moveaxis(coarse, k, 0)
        if grid.periodic[k]:
            before, after = np.roll(v, 1, axis=0), np.roll(v, -1, axis=0)
        else:
            before = np.concatenate([2.0 * v[:1] - v[1:2], v[:-1]])
            after = np.concatenate([v[1:], 2.0 * v[-1:] - v[-2:-1]])
        fine = np.stack([0.75 * v + 0.25 * before, 0.75 * v + 0.25 * after], axis=1)
        coarse = np.moveaxis(fine.reshape(-1, *v.shape[1:]), 0, k)
    return np.ascontiguousarray(coarse)


def on_grid(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step | None:
    """Return the step of a histogram under W2 on a grid of any dimension; None if this solver does not cover it.

    Raises
    ------
    ConvergenceError
        If the duality gap stays too large.
    """
    if not isinstance(x, Histogram) or not is_w2(metric):
        return None
    local = cell_energy(energy, x, tau)
    if local is None:
        raise UnsupportedError(
            "exact W2 steps of histograms on grids take sums of Entropy, KL, one PowerEntropy, Potential and Quadratic, "
            f"got {energy!r}"
        )
    return maximise(Dual(local, x), x, tolerance)


def maximise(dual: Dual, x: Histogram, tolerance: Tolerance) -> Step:
    """Return the step that the dual certifies."""
    share = min(LOOSE, MOVED * tolerance.residual)
    point, masses, residual, iterations = ascend(dual, tolerance.residual, share, tolerance.max_iterations)
    distance = dual.distance(point, masses)
    return Step(x.replace(masses.reshape(x.grid.shape)), distance, residual, iterations, "dual Newton")


def ascend(dual: Dual, tolerance: float, share: float, most: int, strict: bool = True) -> tuple[Point, np.ndarray, float, int]:
    """Ascend the dual by damped Newton steps (Levenberg and Marquardt) until its gap is small.

    Returns
    -------
    point, masses, residual, iterations
        Where the dual is largest, the push-forward there, the root of twice the gap and the number of Newton steps.
    """
    point = dual.at(dual.start())
    if point is None:
        raise UnsupportedError("the energy must be finite where every cell has mass")
    iteration, damping = 0, LEAST
    while True:
        masses = dual.pushed(point)
        residual = float(np.sqrt(2.0 * dual.gap(point, masses)))
        goal = max(tolerance, share * dual.distance(point, masses))
        if residual <= goal:
            return point, masses, residual, iteration
        trial = None
        while trial is None:
            iteration += 1
            if damping > LARGEST or iteration > most:
                if not strict or residual <= STALLED:
                    return point, masses, residual, most
                hint = "a smaller tau" if dual.local.compact else "a larger tau, or a law without empty cells"
                raise not_converged(residual, goal, iteration, "try " + hint)
            direction, _ = dual.direction(point, masses, FORCING, damping)
            trial, length = search(dual.at, point, direction, masses - dual.local.volume * point.density)
            damping = RAISE * damping if length < 1.0 else max(0.1 * damping, LEAST)
        point = trial


def search(
    at: Callable[[np.ndarray], Point | None], start: Point, direction: np.ndarray, missing: np.ndarray
) -> tuple[Point | None, float]:
    """Backtrack until the dual, of derivative `missing`, rises enough; return the new point and the length of the step."""
    rise, length = inner(missing, direction), 1.0
    rounding = 1e-14 * abs(start.value)
    for _ in range(HALVINGS):
        trial = at(start.phi + length * direction)
        if trial is not None and trial.value - start.value >= 1e-4 * length * rise - rounding:
            return trial, length
        length *= 0.5
    return None, 0.0
