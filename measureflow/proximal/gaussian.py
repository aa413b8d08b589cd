"""Closed steps of Gaussians in the Bures-Wasserstein metric."""

from __future__ import annotations

import numpy as np

from measureflow.energies import Energy, SquaredWasserstein
from measureflow.errors import UnsupportedError
from measureflow.metrics import Metric
from measureflow.metrics.wasserstein import is_w2
from measureflow.proximal.base import Step, Tolerance
from measureflow.proximal.closed import require_convex
from measureflow.proximal.parts import Parts, split
from measureflow.states import Gaussian, State
from measureflow.transport import bures_map


def gaussian(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step | None:
    """Return the step of a Gaussian under entropy and a quadratic potential (S1-S3), or towards a Gaussian (S13).

    Raises
    ------
    ValueError
        If the quadratic is so concave that the step has no minimiser.
    UnsupportedError
        If the energy has a box.
    """
    if not isinstance(x, Gaussian) or not is_w2(metric):
        return None
    parts = split(energy, x.dim)
    if parts.bounds is not None:
        raise UnsupportedError("a Box holds coordinates of points; a Gaussian charges the whole space")
    if not parts.rest and parts.temperature >= 0.0:
        return _ornstein_uhlenbeck(parts, x, tau)
    if len(parts.rest) == 1 and parts.matrix is None and parts.temperature == 0.0:
        factor, term = parts.rest[0]
        if isinstance(term, SquaredWasserstein) and isinstance(term.target, Gaussian) and factor > 0.0:
            return _towards(x, term.target, factor * tau)
    return None


def _ornstein_uhlenbeck(parts: Parts, x: Gaussian, tau: float) -> Step:
    """Return the step under T Entropy + x.A x/2 + b.x (S2).

    With M = I + tau A and B = M^(-1/2) S M^(-1/2) it is M^(-1/2) (B + 2 tau T I + (B^2 + 4 tau T B)^(1/2)) M^(-1/2) / 2 and
    M^(-1) (m - tau b).
    """
    a = np.zeros((x.dim, x.dim)) if parts.matrix is None else parts.matrix
    constants, vectors = np.linalg.eigh(a)
    require_convex(float(constants[0]), tau)
    root = (vectors / np.sqrt(1.0 + tau * constants)) @ vectors.T
    b, basis = np.linalg.eigh(root @ x.cov @ root)
    b = np.maximum(b, 0.0)
    heat = tau * parts.temperature
    half = root @ basis
    scaled = half * (0.5 * (b + 2.0 * heat + np.sqrt(b * (b + 4.0 * heat))))
    cov = scaled @ half.T
    moved = Gaussian(root @ (root @ (x.mean - tau * parts.linear)), 0.5 * (cov + cov.T))
    return Step(moved, tau * _slope(parts, a, moved))


def _slope(parts: Parts, a: np.ndarray, law: Gaussian) -> float:
    """Return |dE| at a Gaussian: the field (A - T S^(-1)) (y - m) + A m + b; at a step it is d/tau without cancellation."""
    push = a @ law.mean + parts.linear
    spread = float(np.sum((a @ law.cov) * a))
    if parts.temperature > 0.0:
        inverse = np.linalg.inv(law.cov)
        field = a - parts.temperature * 0.5 * (inverse + inverse.T)
        spread = float(np.sum((field @ law.cov) * field))
    return float(np.sqrt(push @ push + max(spread, 0.0)))


def _towards(x: Gaussian, target: Gaussian, tau: float) -> Step | None:
    """Return the point at tau/(1 + tau) of the geodesic to the target; from the end with an invertible covariance."""
    share = tau / (1.0 + tau)
    eye = np.eye(x.dim)
    try:
        move = bures_map(x.cov, target.cov) - eye
        law, part = x, share
    except ValueError:
        try:
            move = bures_map(target.cov, x.cov) - eye
        except ValueError:
            return None
        law, part = target, 1.0 - share
    arrow = eye + part * move
    cov = arrow @ law.cov @ arrow
    shift = target.mean - x.mean
    length = np.sqrt(shift @ shift + max(float(np.sum((move @ law.cov) * move)), 0.0))
    return Step(Gaussian(x.mean + share * shift, 0.5 * (cov + cov.T)), share * float(length))
