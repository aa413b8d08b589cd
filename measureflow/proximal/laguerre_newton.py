"""Steps of histograms on grids under W2, by Newton's method on Laguerre cells (`proximal.laguerre`).

Newton's method for the dual converges from psi = 0 in a few steps if no Laguerre cell becomes empty (Kitagawa, Merigot, Thibert
2019). So a step aims at masses within a factor of those of now, and where cells would be lost psi is replaced by its c-concave
hull, mixed with the psi of now, in which every atom has a cell. The potentials U of the solution on cells twice as wide give the
start. Where drift outruns diffusion, or nothing converges, `proximal.dual_transport` takes the step.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from measureflow.energies import Energy
from measureflow.metrics import Metric
from measureflow.metrics.wasserstein import is_w2
from measureflow.proximal import dual_transport
from measureflow.proximal.base import Step, Tolerance
from measureflow.proximal.dual_transport import prolonged
from measureflow.proximal.grid_conjugates import CellEnergy, cell_energy
from measureflow.proximal.laguerre import LOST, Cells, Laguerre
from measureflow.states import Histogram, State

FACTOR = 8.0
"""By how much a step may change the masses of Laguerre cells at first; twice as much after each full step."""
LEFT = 0.1
"""A cell is lost if it has less than this share of both its mass of now and the mass aimed at."""
KEPT = 0.9
"""Weight of a hull; the rest is the psi of now."""
SHORTER, SHORTEST = 0.4, 0.02
MOVED, LOOSE = 1e8, 0.01
"""A step stops where its residual is MOVED times the tolerance, at most LOOSE, of the distance moved."""
BELOW = 0.05
"""How far psi of an atom without a cell goes below the hull of the others, in squares of the width."""
FEW, NESTED, NESTED_STEPS, STEPS = 256, 0.02, 12, 25
"""Cells up to which there is no coarser grid, relative residual and steps there, and steps from psi = 0."""
TINY = 1e-5
"""Mass of atoms without a cell from which on the coarse grid's start is mixed with psi = 0."""
STALLED, FAIR = 0.9, 0.05
"""Share of the missing mass that stays after a step that is no use, and missing mass that is little."""
STUCK, FAINT, NEARLY = 0.9, 1e-3, 3.0
"""Where hardly any mass is missing, but two steps left this share of the residual, NEARLY times the goal will do: thin tails."""
SLOW, SLOWEST = 0.8, 0.97
"""Shares of the residual that may stay after two steps: with the coarse grid's start, and from psi = 0."""
STEEP = 4.0
"""Mean fall of V between neighbouring cells, in terms of the diffusion, from which on `proximal.dual_transport` is taken."""


def coarse_start(dual: Laguerre) -> np.ndarray:
    """Return psi = 0, or what the solution on cells twice as wide gives."""
    found = dual_transport.coarser(dual.local, dual.base) if dual.base.masses.size > FEW else None
    if found is None:
        return dual.rest()
    coarse = Laguerre(*found)
    psi = -dual.at_nodes(-prolonged(maximise(coarse, coarse_start(coarse), 0.0, NESTED, NESTED_STEPS)[0].u, dual.grid))
    cells = dual.at(psi)
    if cells is None or float(np.sum(dual.masses[cells.pushed <= LOST * dual.masses])) > TINY:
        psi = KEPT * psi
    return psi


def _restored(dual: Laguerre, now: Cells) -> Cells:
    """Return the cells after psi was lowered at atoms that have lost theirs, to a little below where they touch."""
    lost = dual.held & (now.pushed < LOST * dual.masses)
    if not np.any(lost):
        return now
    touching = next(dual.hulls(now.psi))
    width = min(h for h, n in zip(dual.grid.spacing, dual.grid.shape, strict=True) if n > 1)
    found = dual.at(np.where(lost, np.minimum(touching, now.psi) - BELOW * width**2, now.psi))
    return now if found is None else found


def _advance(dual: Laguerre, now: Cells, factor: float) -> tuple[Cells, bool]:
    """Return the cells after a step of Newton's method, and whether it was a full one."""
    now = _restored(dual, now)
    masses = np.maximum(now.pushed, 1e-300)
    aim = masses * np.clip(dual.masses / masses, 1.0 / factor, factor)
    change = dual.direction(now, now.pushed - aim)
    missing, least = dual.missing(now), LEFT * np.minimum(masses, aim)
    best = dual.at(now.psi + change)
    if best is not None and dual.missing(best) <= missing and not np.any(dual.held & (best.pushed < least)):
        return best, True
    ways = change, dual.bounded(change)
    found = [_below(dual, now, way) for way in ways]
    best, change = min(zip(found, ways, strict=True), key=lambda pair: dual.missing(pair[0]))
    length = SHORTER
    while dual.missing(best) > (1.0 - 0.3 * length / SHORTER) * missing and length > SHORTEST:
        best = min(best, _below(dual, now, length * change), key=dual.missing)
        length *= SHORTER
    if missing > FAIR and dual.missing(best) > STALLED * missing:
        best = dual.at(0.5 * now.psi) or now  # half the way to psi = 0, where every atom has a cell
    return (now if dual.missing(best) > max(missing, FAIR) else best), False


def _below(dual: Laguerre, now: Cells, change: np.ndarray) -> Cells:
    """Return the better cells of two hulls of psi after a change, mixed with psi; those of now if there are none."""
    found = [dual.at(now.psi + KEPT * (hull - now.psi)) for hull in dual.hulls(now.psi + change)]
    return min([cells for cells in found if cells is not None] or [now], key=dual.missing)


def maximise(
    dual: Laguerre, psi: np.ndarray, tolerance: float, share: float, most: int, slow: float = SLOW
) -> tuple[Cells, float, int, bool]:
    """Return the cells at the maximum, the residual, the steps, and whether it is small: `share` of the distance, or nearly."""
    cells, factor = dual.at(psi), FACTOR
    assert cells is not None
    residuals, missing = [np.inf, np.inf], [np.inf, np.inf]
    while True:
        residual, left, count = dual.residual(cells), dual.missing(cells), len(residuals) - 2
        goal = max(tolerance, share * dual.distance(cells))
        idle = residual > slow * residuals[-2] and left > slow * missing[-2]
        if residual <= goal or count == most or idle or (residual > STUCK * residuals[-2] and left < FAINT):
            return cells, residual, count, residual <= (NEARLY if left < FAINT else 1.0) * goal
        residuals.append(residual)
        missing.append(left)
        cells, full = _advance(dual, cells, factor)
        factor = 2.0 * factor if full else max(factor**0.5, FACTOR)


def _steep(local: CellEnergy, x: Histogram) -> bool:
    """Return whether cells are too wide for the diffusion: then spreading rho over cells amplifies waves of the grid's length."""
    drop = sum(float(np.sum(_least(x.masses, k) * np.abs(np.diff(local.potential, axis=k)))) for k in range(x.grid.dim))
    density = np.maximum(x.density, np.finfo(float).tiny)
    stiff = local.stiffness(density)
    diffusion = float(np.sum(x.masses * density / np.where(stiff > 0.0, stiff, 1.0)))
    return drop > STEEP * diffusion


def _least(masses: np.ndarray, axis: int) -> np.ndarray:
    """Return the smaller mass of every pair of neighbours along an axis."""
    n = masses.shape[axis]
    return np.minimum(np.take(masses, range(n - 1), axis), np.take(masses, range(1, n), axis))


def on_grid(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step | None:
    """Return the step of a histogram under W2 on a grid of any dimension; None if this solver does not cover it.

    Raises
    ------
    ConvergenceError
        If the duality gap stays too large, here and in `proximal.dual_transport`.
    """
    if not isinstance(x, Histogram) or not is_w2(metric):
        return None
    local = cell_energy(energy, x, tau)
    if local is None or _steep(local, x):
        return dual_transport.on_grid(energy, metric, x, tau, tolerance)
    dual, share, total = Laguerre(local, x), min(LOOSE, MOVED * tolerance.residual), 0
    limit = tolerance.max_iterations
    attempts = ((coarse_start, min(NESTED_STEPS, limit), SLOW), (Laguerre.rest, min(STEPS, limit), SLOWEST))
    for start, most, slow in attempts:
        cells, residual, count, done = maximise(dual, start(dual), tolerance.residual, share, most, slow)
        total += count
        if done:
            law = x.replace(dual.law(cells).reshape(x.grid.shape))
            return Step(law, dual.distance(cells), residual, total, "Laguerre cells")
    step = dual_transport.on_grid(energy, metric, x, tau, tolerance)
    return None if step is None else replace(step, iterations=step.iterations + total)
