"""Steps with closed forms on atoms, quantiles and vectors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from measureflow.energies import Energy, Potential, QuadraticInteraction
from measureflow.metrics import Chart, Euclidean, Metric, Wasserstein
from measureflow.proximal.base import Step, Tolerance
from measureflow.proximal.parts import Parts, split
from measureflow.states import Particles, Quantiles, State, Vector, atoms


def identity(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step | None:
    """Return x itself for E = 0."""
    if all(factor == 0.0 for factor, _ in energy.terms()):
        return Step(x, 0.0)
    return None


def pushforward(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step | None:
    """Push every point forward by the proximal map of a potential: x.A x/2 + b.x, or one that brings its own map (E1, E2)."""
    if not _by_points(metric, x):
        return None
    points, weights = atoms(x)
    parts = split(energy, points.shape[1])
    if parts.temperature != 0.0:
        return None
    if not parts.rest:
        moved = _quadratic(parts, points, tau)
    elif all(isinstance(term, QuadraticInteraction) for _, term in parts.rest):
        moved = _to_the_mean(parts, points, weights, tau)
    else:
        moved = _own_map(parts, points, tau)
    if moved is None or (isinstance(x, Quantiles) and np.any(np.diff(moved[:, 0]) < 0.0)):
        return None
    return landed(metric.chart(x), moved.reshape(x.coordinates.shape))


def landed(chart: Chart, z: np.ndarray, method: str = "closed form") -> Step:
    """Return the step to known coordinates."""
    return Step(chart.state(z), chart.norm(z - chart.origin), method=method)


def _by_points(metric: Metric, x: State) -> bool:
    if isinstance(x, Vector):
        return isinstance(metric, Euclidean)
    return isinstance(x, (Particles, Quantiles)) and isinstance(metric, Wasserstein)


def _quadratic(parts: Parts, points: np.ndarray, tau: float) -> np.ndarray | None:
    """Minimise x.A x/2 + b.x + |x - point|^2 / (2 tau): (I + tau A) x = point - tau b, clipped if A is a multiple of I."""
    dim = points.shape[1]
    a = np.zeros((dim, dim)) if parts.matrix is None else parts.matrix
    right = points - tau * parts.linear
    scalar = np.array_equal(a, a[0, 0] * np.eye(dim))
    require_convex(a[0, 0] if scalar else float(np.linalg.eigvalsh(a)[0]), tau)
    if scalar:
        moved = right / (1.0 + tau * a[0, 0])
        return moved if parts.bounds is None else np.clip(moved, *parts.bounds)
    if parts.bounds is not None:
        return None
    return np.linalg.solve(np.eye(dim) + tau * a, right.T).T


def _to_the_mean(parts: Parts, points: np.ndarray, weights: np.ndarray, tau: float) -> np.ndarray | None:
    """Add a (x - mean) to the force: the mean moves as without it, offsets by (I + tau (A + a I)) y = offset (S6)."""
    if parts.bounds is not None:
        return None
    pull = sum(factor * term.strength for factor, term in parts.rest if isinstance(term, QuadraticInteraction))
    centre = _quadratic(replace(parts, rest=()), (weights @ points)[None, :], tau)
    own = np.zeros((points.shape[1],) * 2) if parts.matrix is None else parts.matrix
    tighter = replace(parts, rest=(), matrix=own + pull * np.eye(len(own)), linear=np.zeros(len(own)))
    offsets = _quadratic(tighter, points - weights @ points, tau)
    return None if centre is None or offsets is None else centre + offsets


def require_convex(constant: float, tau: float) -> None:
    """Raise ValueError if a step under a `constant`-convex quadratic has no minimiser."""
    if 1.0 + tau * constant <= 0.0:
        raise ValueError(f"tau must be below {-1.0 / constant:g} for this {constant:g}-convex energy, got a step of {tau:g}")


def _own_map(parts: Parts, points: np.ndarray, tau: float) -> np.ndarray | None:
    if len(parts.rest) > 1 or parts.matrix is not None or parts.bounds is not None:
        return None
    factor, term = parts.rest[0]
    if not isinstance(term, Potential) or term.prox is None or factor <= 0.0:
        return None
    from measureflow._validate import returned

    return returned("prox", term.prox(points, factor * tau), points.shape)
