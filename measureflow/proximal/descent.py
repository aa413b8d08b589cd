"""The general inner solver: limited-memory quasi-Newton (L-BFGS) in a chart, with bounds and kinks.

In a chart the inner problem is  min phi(z) = tau E(z) + |z - x|^2 / 2  in a Hilbert space. Its gradient is
z - x + tau grad E(z), its Hessian is near the identity for small tau, so that L-BFGS from the identity needs few
iterations. The residual, the distance by which a projected and shrunk gradient step would move, is reported.

Where the energy has a kink kappa |z_i - y| at which an atom sits, the gradient is the set of G + tau kappa (unit ball): its
smallest element is G shrunk by tau kappa, and the atom stays if that is zero. Atoms that a step would carry over their
kink are tried at the kink.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import final

import numpy as np

from measureflow.energies import Energy
from measureflow.energies.kinks import Kinks
from measureflow.errors import CallbackError
from measureflow.metrics import Chart, Metric
from measureflow.proximal.base import Step, Tolerance, not_converged
from measureflow.proximal.lbfgs import MEMORY, Pairs, recursion, remember
from measureflow.states import State

HALVINGS = 40
ARMIJO = 1e-4
REACH = 2.0


@final
@dataclass(frozen=True, eq=False)
class _Point:
    """Coordinates, state, phi, its smallest subgradient, the coordinates that are free to move, and the residual."""

    z: np.ndarray
    state: State
    phi: float
    gradient: np.ndarray
    free: np.ndarray | None
    residual: float


def descend(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step:
    """Minimise tau E + |z - x|^2/2 in the chart at x.

    Raises
    ------
    ConvergenceError
        If the residual stays above the tolerance, as it does at kinks other than those that `Energy.kinks` knows.
    CallbackError
        If a function of the user returns something wrong wherever the search turns.
    """
    chart = metric.chart(x)
    problem = _Problem(energy, metric, chart, tau)
    point = problem.evaluate(problem.clip(chart.origin))
    goal = tolerance.residual * max(1.0, chart.norm(chart.origin))
    pairs: Pairs = deque(maxlen=MEMORY)
    failure: Exception | None = None
    for iteration in range(tolerance.max_iterations + 1):
        if point.residual <= goal:
            state = x if np.array_equal(point.z, chart.origin) else point.state
            return Step(state, chart.norm(point.z - chart.origin), point.residual, iteration, "L-BFGS")
        if iteration == tolerance.max_iterations:
            break
        trial = problem.advance(point, pairs)
        if not isinstance(trial, _Point):
            failure = trial
            break
        point = trial
    if isinstance(failure, CallbackError):
        raise failure
    hint = "try a smaller tau, check the gradient with measureflow.check_gradient, or take Explicit() for an energy with kinks"
    raise not_converged(point.residual, goal, iteration, f"{failure}; {hint}" if failure else hint)


@final
class _Problem:
    """phi(z) = tau E(state(z)) + |z - x|^2 / 2 on a box, with the energy's kinks."""

    def __init__(self, energy: Energy, metric: Metric, chart: Chart, tau: float) -> None:
        self.energy = energy
        self.metric = metric
        self.chart = chart
        self.tau = tau
        self.bounds = energy.bounds

    def _kinks(self, state: State) -> Kinks | None:
        """Return the kinks of a state whose points are the coordinates of the chart."""
        return self.energy.kinks(state) if self.chart.origin.shape == state.coordinates.shape else None

    def clip(self, z: np.ndarray) -> np.ndarray:
        """Return the nearest coordinates inside the bounds."""
        return z if self.bounds is None else np.clip(z, *self.bounds)

    def evaluate(self, z: np.ndarray) -> _Point:
        """Return phi and what is known about it at z."""
        state = self.chart.state(z)
        value, slope = self.energy.value(state), self.metric.differential(self.energy, state)
        offset = z - self.chart.origin
        gradient, free = self._held(z, state, offset + self.tau * self.chart.pull(z, slope))
        phi = self.tau * value + 0.5 * self.chart.inner(offset, offset)
        return _Point(z, state, phi, gradient, free, self.chart.norm(z - self.clip(z - gradient)))

    def _held(self, z: np.ndarray, state: State, gradient: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Shrink the gradient of atoms that sit at kinks; mark what kinks and bounds do not hold."""
        free: np.ndarray | None = None
        kinks = self._kinks(state)
        if kinks is not None:
            hold = np.where(np.all(z == kinks.places, axis=1), self.tau * np.maximum(kinks.strengths, 0.0), 0.0)
            length = np.linalg.norm(gradient, axis=1)
            share = np.where(length > hold, 1.0 - hold / np.maximum(length, np.finfo(float).tiny), 0.0)
            gradient, free = gradient * share[:, None], np.broadcast_to((share > 0.0)[:, None], z.shape)
        if self.bounds is not None:
            lo, hi = self.bounds
            inside = ~(((z <= lo) & (gradient > 0.0)) | ((z >= hi) & (gradient < 0.0)))
            free = inside if free is None else free & inside
        return gradient, free

    def attempt(self, z: np.ndarray) -> _Point | Exception | None:
        """Evaluate where a search asks; what went wrong, or None, where there is no state or no finite energy."""
        try:
            point = self.evaluate(z)
        except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
            return error
        return point if np.isfinite(point.phi) and np.all(np.isfinite(point.gradient)) else None

    def advance(self, point: _Point, pairs: Pairs) -> _Point | Exception | None:
        """Return the next iterate, or what went wrong; `pairs` is brought up to date."""
        direction = -self._direction(pairs, point)
        snapped = self._snap(point, direction)
        if snapped is not None:
            pairs.clear()
            return snapped
        trial = self._line_search(point, direction)
        if not isinstance(trial, _Point) and pairs:
            pairs.clear()
            trial = self._line_search(point, -point.gradient)
        if isinstance(trial, _Point):
            remember(pairs, trial.z - point.z, trial.gradient - point.gradient, self.chart.inner)
        return trial

    def _snap(self, point: _Point, direction: np.ndarray) -> _Point | None:
        """Put atoms that are near their kink, on the scale of the step, at the kink if it would hold them there."""
        kinks = self._kinks(point.state)
        if kinks is None:
            return None
        gap = np.linalg.norm(point.z - kinks.places, axis=1)
        near = (gap > 0.0) & (gap <= REACH * np.linalg.norm(direction, axis=1))
        if not near.any():
            return None
        trial = self.attempt(np.where(near[:, None], kinks.places, point.z))
        if not isinstance(trial, _Point) or trial.free is None:
            return None
        stays = near & ~trial.free[:, 0]
        if not stays.any():
            return None
        if not np.array_equal(stays, near):
            trial = self.attempt(np.where(stays[:, None], kinks.places, point.z))
        return trial if isinstance(trial, _Point) and trial.phi < point.phi else None

    def _line_search(self, start: _Point, direction: np.ndarray) -> _Point | Exception | None:
        """Backtrack until phi falls enough; where phi cannot tell (rounding), until the residual falls."""
        failure: Exception | None = None
        length, rounding = 1.0, 1e-13 * max(1.0, abs(start.phi))
        for _ in range(HALVINGS):
            trial = self.attempt(self.clip(start.z + length * direction))
            if isinstance(trial, Exception):
                failure = trial
            elif trial is not None:
                expected = self.chart.inner(start.gradient, trial.z - start.z)
                if trial.phi <= start.phi + ARMIJO * expected and expected < 0.0:
                    return trial
                if abs(trial.phi - start.phi) <= rounding and trial.residual < 0.999 * start.residual:
                    return trial
            length *= 0.5
        return failure

    def _direction(self, pairs: Pairs, point: _Point) -> np.ndarray:
        """Apply the L-BFGS inverse Hessian to the gradient, on the free coordinates."""
        inner, free = self.chart.inner, point.free

        def scaled(q: np.ndarray) -> np.ndarray:
            if not pairs:
                return q
            _, slope, curvature = pairs[-1]
            return q * (curvature / inner(slope, slope))

        q = recursion(scaled, pairs, point.gradient if free is None else point.gradient * free, inner)
        if free is not None:
            q = np.where(free, q, 0.0)
        return q if inner(q, point.gradient) > 0.0 else point.gradient
