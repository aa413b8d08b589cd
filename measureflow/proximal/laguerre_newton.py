"""Steps of histograms on grids under W2, by Newton's method on Laguerre cells (`proximal.laguerre`).

Newton's method for the dual converges from psi = 0 in a few steps if no Laguerre cell becomes empty (Kitagawa, Merigot, Thibert
2019). So a step aims at masses within a factor of those of now. Atoms that lose their cells, as at free boundaries, get new
ones before the next step: they are lowered to where they touch the support of rho. Where a full step makes things worse psi
is replaced by its c-concave hull, mixed with the psi of now. The potentials U of the solution on cells twice as wide give the
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
from measureflow.proximal.laguerre import Cells, Laguerre
from measureflow.states import Histogram, State

FACTOR = 8.0
"""By how much a step may change the masses of Laguerre cells at first; twice as much after each full step."""
SPARED = 3e-3
"""Share of the missing mass that atoms without a cell may have before they are lowered."""
LEFT, SHED = 0.7, 0.1
"""Shares of the missing mass that may still be missing after a full step, and that may belong to atoms without a cell."""
KEPT = 0.9
"""Weight of a hull; the rest is the psi of now."""
SHORTER, SHORTEST = 0.4, 0.02
MOVED, LOOSE = 1e8, 0.01
"""A step stops where its residual is MOVED times the tolerance, at most LOOSE, of the distance moved."""
FEW, NESTED, NESTED_STEPS, STEPS = 256, 0.02, 12, 25
"""Cells up to which there is no coarser grid, relative residual and steps there, and steps from psi = 0."""
STALLED, FAIR = 0.9, 0.05
"""Share of the missing mass that stays after a step that is no use, and missing mass that is little."""
STUCK, FAINT, NEARLY = 0.9, 1e-3, 3.0
"""Where hardly any mass is missing, but two steps left this share of the residual, NEARLY times the goal will do: thin tails."""
SLOW, SLOWEST = 0.8, 0.97
"""Shares of the residual that may stay after two steps with the coarse grid's start, and after four from psi = 0."""
STEEP = 4.0
"""Mean fall of V between neighbouring cells, in terms of the diffusion, from which on `proximal.dual_transport` is taken."""


def coarse_start(dual: Laguerre) -> np.ndarray:
    """Return psi = 0, or what the solution on cells twice as wide gives: each atom touches where rho is."""
    found = dual_transport.coarser(dual.local, dual.base) if dual.base.masses.size > FEW else None
    if found is None:
        return dual.rest()
    coarse = Laguerre(*found)
    best = maximise(coarse, coarse_start(coarse), 0.0, NESTED, NESTED_STEPS)[0]
    there, u = best.density > 0.0, prolonged(best.u, dual.grid)
    for k, n in enumerate(coarse.shape):
        there = np.repeat(there, dual.shape[k] // n, axis=k)
    return -dual.at_nodes(np.where(there, -u, dual.far))


def _restored(dual: Laguerre, now: Cells) -> Cells:
    """Return the cells after psi was lowered at atoms that have lost theirs; those of now are used up."""
    lost = dual.lost(now)
    if float(np.sum(dual.masses[lost])) <= SPARED * dual.missing(now):
        return now
    lowered = dual.lowered(now, lost)
    now.clear()
    found = dual.at(lowered)
    assert found is not None
    return found


def _advance(dual: Laguerre, now: Cells, factor: float) -> tuple[Cells, bool]:
    """Return the cells after a step of Newton's method, and whether it was a full one; those of now are used up."""
    now = _restored(dual, now)
    missing, change = dual.missing(now), dual.direction(now, factor)
    psi = now.clear()
    best = dual.at(psi + change)
    if best is not None:
        left, shed = dual.missing(best), float(np.sum(dual.masses[dual.lost(best)]))
        if left <= LEFT * missing and shed <= SHED * missing:
            return best, True
    del best
    best = dual.at(_damped(dual, psi, change, missing))
    assert best is not None
    return best, False


def _damped(dual: Laguerre, psi: np.ndarray, change: np.ndarray, missing: float) -> np.ndarray:
    """Return psi after a change by hulls, shortened until less mass is missing; psi itself if nothing helps."""
    ways = change, dual.bounded(change)
    found = [_hulled(dual, psi, way) for way in ways]
    change = ways[0] if found[0][0] <= found[1][0] else ways[1]
    best, length = min(found, key=_first), SHORTER
    while best[0] > (1.0 - 0.3 * length / SHORTER) * missing and length > SHORTEST:
        best = min(best, _hulled(dual, psi, length * change), key=_first)
        length *= SHORTER
    if missing > FAIR and best[0] > STALLED * missing:
        return 0.5 * psi  # half the way to psi = 0, where every atom has a cell
    return psi if best[0] > max(missing, FAIR) else best[1]


def _hulled(dual: Laguerre, psi: np.ndarray, change: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the least mass missing at two hulls of psi after a change, mixed with psi, and which it is."""
    best = np.inf, psi
    for hull in dual.hulls(psi + change):
        trial = psi + KEPT * (hull - psi)
        cells = dual.at(trial)
        if cells is not None:
            best = min(best, (dual.missing(cells), trial), key=_first)
    return best


def _first(trial: tuple[float, np.ndarray]) -> float:
    """Return the missing mass of a trial."""
    return trial[0]


def maximise(
    dual: Laguerre, psi: np.ndarray, tolerance: float, share: float, most: int, slow: float = SLOW, back: int = 2
) -> tuple[Cells, float, int, bool]:
    """Return the last cells, the residual, the steps, and whether it is small: `share` of the distance, or nearly.

    Without a tolerance these are the best cells, if no residual was small.
    """
    cells, factor = dual.at(psi), FACTOR
    assert cells is not None
    residuals, missing, best = [np.inf] * back, [np.inf] * back, None
    del psi
    while True:
        residual, left, count = dual.residual(cells), dual.missing(cells), len(residuals) - back
        goal = max(tolerance, share * dual.distance(cells))
        idle = residual > slow * residuals[-back] and left > slow * missing[-back]
        if not tolerance and residual <= min(residuals):
            best = cells.psi
        if residual <= goal or count == most or idle or (residual > STUCK * residuals[-2] and left < FAINT):
            done = residual <= (NEARLY if left < FAINT else 1.0) * goal
            if not done and best is not None and best is not cells.psi:
                cells = dual.at(best) or cells
            return cells, residual, count, done
        residuals.append(residual)
        missing.append(left)
        cells, full = _advance(dual, cells, factor)
        factor = 2.0 * factor if full else max(factor**0.5, FACTOR)


def _steep(local: CellEnergy, x: Histogram) -> bool:
    """Return whether cells are too wide for the diffusion: then spreading rho over cells amplifies waves of the grid's length."""
    if not np.any(local.potential):
        return False
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
    if not np.any(local.potential):
        local = replace(local, potential=np.broadcast_to(0.0, x.grid.shape))
    dual, share, total = Laguerre(local, x), min(LOOSE, MOVED * tolerance.residual), 0
    limit = tolerance.max_iterations
    attempts = ((coarse_start, min(NESTED_STEPS, limit), SLOW, 2), (Laguerre.rest, min(STEPS, limit), SLOWEST, 4))
    for start, most, slow, back in attempts:
        cells, residual, count, done = maximise(dual, start(dual), tolerance.residual, share, most, slow, back)
        total += count
        if done:
            law = x.replace(dual.law(cells).reshape(x.grid.shape))
            return Step(law, dual.distance(cells), residual, total, "Laguerre cells")
    step = dual_transport.on_grid(energy, metric, x, tau, tolerance)
    return None if step is None else replace(step, iterations=step.iterations + total)
