"""Steps of laws of equal atoms on the line without a density: quasi-Newton on the cone of nondecreasing vectors.

    phi(u) = tau E(u) + |u - x|^2 / (2n)  on  u_0 <= ... <= u_{n-1}

With a diagonal Hessian D the model problem is a weighted isotonic regression, solved exactly, ties included; for a separable
energy D is the Hessian and this is Newton's method. Non-local energies get L-BFGS pairs on the face of the current ties.
Kernels with a kink at 0 (S7, S8) are smooth inside the cone: at ties their gradient is taken as its limit from inside, at
atoms pulled apart by a few units in the last place, so that attracting atoms stick and repelling ones part.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import final

import numpy as np

from measureflow.energies import Box, Energy, EnergyDistance, Function, Potential, Quadratic, SquaredWasserstein, Sum
from measureflow.energies.base import Bounds
from measureflow.errors import CallbackError
from measureflow.metrics import Metric
from measureflow.proximal.base import Step, Tolerance, not_converged
from measureflow.proximal.lbfgs import MEMORY, Pairs, inner, preconditioned, remember
from measureflow.proximal.ordered import SOFTEST, Ordered, curvature, isotonic, norm, ordered
from measureflow.states import Particles, State

HALVINGS = 40
SEPARABLE = (Potential, SquaredWasserstein, EnergyDistance)


@final
@dataclass(eq=False)
class _Point:
    """phi, its gradient and the residual |u - P(u - gradient)| at u."""

    u: np.ndarray
    phi: float
    gradient: np.ndarray
    residual: float


def on_cone(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step | None:
    """Return the step of quantiles, or of equal atoms on the line, under an energy that is smooth inside the cone.

    Raises
    ------
    ConvergenceError
        If the residual stays above the tolerance.
    """
    law = ordered(metric, x)
    terms = [(c, term) for c, term in energy.terms() if c != 0.0]
    if law is None or (isinstance(x, Particles) and any(isinstance(term, Function) for _, term in terms)):
        return None
    return least_on_cone(energy, law, tau, tolerance)


def least_on_cone(energy: Energy, law: Ordered, tau: float, tolerance: Tolerance) -> Step:
    """Return the step of a law in sorted coordinates."""
    return _Problem(law, energy, tau).solve(tolerance)


@final
class _Problem:
    """The function phi on the cone, in the inner product <a, b>/n."""

    def __init__(self, law: Ordered, energy: Energy, tau: float) -> None:
        terms = [(c, term) for c, term in energy.terms() if not isinstance(term, Box)]
        self.law, self.energy, self.tau = law, Sum(tuple(terms)), tau
        self.bounds: Bounds | None = energy.bounds
        quadratic = [(c, term.normal_form(1)[0]) for c, term in terms if isinstance(term, Quadratic)]
        self.stiffness = sum(c * float(a[0, 0]) for c, a in quadratic)
        self.separable = tuple((c, term) for c, term in terms if isinstance(term, SEPARABLE))
        self.local = len(quadratic) + len(self.separable) == len(terms)

    def at(self, u: np.ndarray) -> _Point | None:
        """Return phi at u; None where it is not defined or not finite."""
        try:
            return self.evaluate(u)
        except (CallbackError, FloatingPointError):
            return None

    def evaluate(self, u: np.ndarray) -> _Point | None:
        """Return phi at u; None where it is not finite."""
        value, slope = self.law.evaluate(self.energy, _apart(u))
        offset = u - self.law.origin
        gradient = offset + self.tau * slope
        phi = self.tau * value + 0.5 * inner(offset, offset) / len(u)
        if not np.isfinite(phi + norm(gradient)):
            return None
        return _Point(u, phi, gradient, norm(u - isotonic(u - gradient, None, self.bounds)))

    def model(self, u: np.ndarray) -> np.ndarray:
        """Return the diagonal of the Hessian, kept positive."""
        diagonal = np.full(len(u), 1.0 + self.tau * self.stiffness)
        if self.separable:
            diagonal += self.tau * curvature(self.law, self.separable, u)
        return np.maximum(diagonal, SOFTEST)

    def solve(self, tolerance: Tolerance) -> Step:
        goal, iteration, residual = self.law.goal(tolerance.residual), 0, np.inf
        pairs: Pairs = deque(maxlen=MEMORY)
        point = self.evaluate(isotonic(self.law.origin, None, self.bounds))
        while point is not None:
            residual = point.residual
            if residual <= goal:
                return self.law.step(point.u, residual, iteration, "projected Newton" if self.local else "projected L-BFGS")
            if iteration == tolerance.max_iterations:
                break
            trial = self._advance(point, pairs)
            if trial is not None and not self.local:
                remember(pairs, trial.u - point.u, trial.gradient - point.gradient)
            point, iteration = trial, iteration + 1
        raise not_converged(residual, goal, iteration)

    def _advance(self, point: _Point, pairs: Pairs) -> _Point | None:
        """Return a better point: by L-BFGS on the face of the ties if no tie wants to part, else by the diagonal model."""
        diagonal = self.model(point.u)
        model = isotonic(point.u - point.gradient / diagonal, diagonal, self.bounds)
        tied = np.diff(point.u) == 0.0
        if pairs and not np.any(tied & (np.diff(model) > 0.0)):
            trial = self._search(point, self._on_face(point, pairs, diagonal, tied), diagonal)
            if trial is not None:
                return trial
            pairs.clear()
        return self._search(point, -point.gradient / diagonal, diagonal)

    def _on_face(self, point: _Point, pairs: Pairs, diagonal: np.ndarray, tied: np.ndarray) -> np.ndarray:
        """Return the L-BFGS direction among vectors that are constant on ties and zero where a bound presses."""
        block = np.concatenate([[0], np.cumsum(~tied)])
        weight = np.bincount(block, diagonal)
        free = np.ones(len(weight))
        if self.bounds is not None:
            mean = np.bincount(block, point.gradient)
            first = point.u[np.concatenate([[True], ~tied])]
            free[((first <= self.bounds[0]) & (mean > 0.0)) | ((first >= self.bounds[1]) & (mean < 0.0))] = 0.0

        def solve(load: np.ndarray) -> np.ndarray:
            return (free * np.bincount(block, load) / weight)[block]

        return -preconditioned(solve, pairs, point.gradient)

    def _search(self, start: _Point, direction: np.ndarray, diagonal: np.ndarray) -> _Point | None:
        """Backtrack along the projected path until phi falls enough, or (rounding) until the residual falls."""
        length, rounding = 1.0, 1e-13 * max(1.0, abs(start.phi))
        for _ in range(HALVINGS):
            trial = self.at(isotonic(start.u + length * direction, diagonal, self.bounds))
            if trial is not None:
                expected = inner(start.gradient, trial.u - start.u) / len(trial.u)
                if trial.phi <= start.phi + 1e-4 * expected and expected < 0.0:
                    return trial
                if abs(trial.phi - start.phi) <= rounding and trial.residual < 0.999 * start.residual:
                    return trial
            length *= 0.5
        return None


def _apart(u: np.ndarray) -> np.ndarray:
    """Return u with ties pulled apart by a few units in the last place, so that the order is strict."""
    tied = np.diff(u) == 0.0
    if not np.any(tied):
        return u
    step = 4.0 * np.finfo(float).eps * max(float(np.max(np.abs(u))), 1e-3)
    return u + step * np.concatenate([[0.0], np.cumsum(tied)])
