"""Closed steps on the line for distances to a target: W1, W2^2 / 2 and the energy distance.

On sorted equal atoms each of these energies is a sum over atoms, E(u) = (1/n) sum e_i(u_i), and its minimisers come out
sorted; a quadratic potential is absorbed by completing the square, and a box by clipping.
"""

from __future__ import annotations

import numpy as np

from measureflow.energies import Energy, EnergyDistance, SquaredWasserstein, Wasserstein1
from measureflow.metrics import Metric
from measureflow.proximal.base import Step, Tolerance
from measureflow.proximal.ordered import Ordered, ordered
from measureflow.proximal.parts import split
from measureflow.states import Gaussian, Histogram, Law, Particles, Quantiles, State, atoms
from measureflow.transport.laws import level_means, level_values, polyline
from measureflow.transport.line import Polyline, atoms_polyline


def towards_target(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step | None:
    """Return the step under a multiple of one distance to a target, plus quadratics and a box (theory S9, S10, S12, S13)."""
    law = ordered(metric, x)
    if law is None:
        return None
    parts = split(energy, 1)
    if parts.temperature != 0.0 or len(parts.rest) != 1 or parts.rest[0][0] <= 0.0:
        return None
    factor, term = parts.rest[0]
    scale = 1.0 if parts.matrix is None else 1.0 + tau * float(parts.matrix[0, 0])
    if scale <= 0.0:
        return None
    u = _move(term, law, (law.origin - tau * parts.linear[0]) / scale, factor * tau / scale)
    if u is None:
        return None
    return law.step(np.maximum.accumulate(u if parts.bounds is None else np.clip(u, *parts.bounds)))


def _move(term: Energy, law: Ordered, x: np.ndarray, tau: float) -> np.ndarray | None:
    """Minimise e_i(u) + |u - x_i|^2 / (2 tau) for every atom."""
    if isinstance(term, EnergyDistance):
        graph = polyline(term.target)
        return _along_graph(x + 2.0 * tau * (np.arange(len(x)) + 0.5) / len(x), graph.y, graph.G, 2.0 * tau)
    if not isinstance(term, (SquaredWasserstein, Wasserstein1)) or term.target.dim != 1:
        return None
    target = _as_seen(term.target, law.base)
    if target is None:
        return None
    if isinstance(term, SquaredWasserstein):
        return np.asarray((x + tau * level_means(target, len(x))) / (1.0 + tau))
    if isinstance(law.base, Quantiles):
        return np.clip(level_values(target, len(x)), x - tau, x + tau)
    return _average_threshold(x, tau, atoms_polyline(atoms(target)[0][:, 0], atoms(target)[1]))


def _as_seen(target: Law, base: Quantiles | Particles) -> Law | None:
    """Return the target as the energy sees it beside this state: next to `Particles` a histogram is its cell centres."""
    if isinstance(base, Quantiles) or not isinstance(target, (Gaussian, Histogram)):
        return target
    return target.to_particles() if isinstance(target, Histogram) else None


def _along_graph(right: np.ndarray, y: np.ndarray, levels: np.ndarray, slope: float) -> np.ndarray:
    """Solve u + slope G(u) = right, G the distribution function with vertices (y, levels), jumps filled in."""
    heights = y + slope * levels
    inside = np.interp(right, heights, y)
    inside = np.where(right < heights[0], right, inside)
    return np.asarray(np.where(right > heights[-1], right - slope, inside))


def _average_threshold(x: np.ndarray, tau: float, target: Polyline) -> np.ndarray:
    """Minimise the mean of |u - Q(s)| over the level cell of an atom, plus |u - x|^2 / (2 tau): a soft threshold.

    The mean has the derivative 2 n (G(u) - i/n) - 1, kept in [-1, 1]: one crossing of the graph of u + 2 n tau G(u), then
    clipped.
    """
    n = len(x)
    u = _along_graph(x + tau * (1.0 + 2.0 * np.arange(n)), target.y, target.G, 2.0 * n * tau)
    return np.clip(u, x - tau, x + tau)
