"""The general inner solver: limited-memory quasi-Newton (L-BFGS) in a chart, with projection on bounds.

In a chart the inner problem is  min phi(z) = tau E(z) + |z - x|^2 / 2  in a Hilbert space. Its gradient is
z - x + tau grad E(z), its Hessian is near the identity for small tau, so that L-BFGS from the identity needs few
iterations. The residual |z - P(z - grad phi(z))| is a distance and is reported.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from measureflow.energies import Energy
from measureflow.energies.base import Bounds
from measureflow.errors import CallbackError, ConvergenceError
from measureflow.metrics import Chart, Metric
from measureflow.proximal.base import Step, Tolerance
from measureflow.states import State

MEMORY = 12
HALVINGS = 40
ARMIJO = 1e-4


@dataclass(eq=False)
class _Point:
    """phi, its gradient and the state at coordinates z."""

    z: np.ndarray
    state: State
    phi: float
    gradient: np.ndarray


def descend(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step:
    """Minimise tau E + |z - x|^2/2 in the chart at x.

    Raises
    ------
    ConvergenceError
        If the residual stays above the tolerance.
    """
    chart, bounds = metric.chart(x), energy.bounds
    point = _evaluate(energy, chart, tau, _clip(chart.origin, bounds))
    goal = tolerance.residual * max(1.0, _size(chart))
    pairs: deque[tuple[np.ndarray, np.ndarray, float]] = deque(maxlen=MEMORY)
    failure: Exception | None = None
    for iteration in range(tolerance.max_iterations + 1):
        residual = chart.norm(point.z - _clip(point.z - point.gradient, bounds))
        if residual <= goal:
            state = x if np.array_equal(point.z, chart.origin) else point.state
            return Step(state, chart.norm(point.z - chart.origin), residual, iteration, "L-BFGS")
        free = _free(point, bounds)
        direction = -_two_loop(chart, pairs, point.gradient, free)
        trial = _line_search(energy, chart, tau, point, direction, bounds)
        if not isinstance(trial, _Point) and pairs:
            pairs.clear()
            trial = _line_search(energy, chart, tau, point, -point.gradient, bounds)
        if not isinstance(trial, _Point):
            failure = trial
            break
        change, slope = trial.z - point.z, trial.gradient - point.gradient
        curvature = chart.inner(change, slope)
        if curvature > 1e-12 * chart.inner(change, change):
            pairs.append((change, slope, curvature))
        point = trial
    if isinstance(failure, CallbackError):
        raise failure
    raise ConvergenceError(
        f"the inner problem did not reach its tolerance: residual {residual:.3g} > {goal:.3g} after {iteration} iterations"
        f"{f' ({failure})' if failure else ''}; try a smaller tau",
        residual,
        goal,
    )


def _evaluate(energy: Energy, chart: Chart, tau: float, z: np.ndarray) -> _Point:
    state = chart.state(z)
    value, gradient = energy.value_and_gradient(state)
    offset = z - chart.origin
    return _Point(z, state, tau * value + 0.5 * chart.inner(offset, offset), offset + tau * chart.pull(z, gradient))


def _try(energy: Energy, chart: Chart, tau: float, z: np.ndarray) -> _Point | Exception | None:
    """Evaluate where the line search asks; what went wrong, or None, where there is no state or no finite energy."""
    try:
        point = _evaluate(energy, chart, tau, z)
    except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        return error
    return point if np.isfinite(point.phi) and np.all(np.isfinite(point.gradient)) else None


def _line_search(
    energy: Energy, chart: Chart, tau: float, start: _Point, direction: np.ndarray, bounds: Bounds | None
) -> _Point | Exception | None:
    """Backtrack until phi falls enough; where phi cannot tell (rounding), until the gradient falls."""
    failure: Exception | None = None
    length, rounding = 1.0, 1e-13 * max(1.0, abs(start.phi))
    size = chart.norm(start.gradient)
    for _ in range(HALVINGS):
        z = _clip(start.z + length * direction, bounds)
        trial = _try(energy, chart, tau, z)
        if isinstance(trial, Exception):
            failure = trial
        elif trial is not None:
            expected = chart.inner(start.gradient, z - start.z)
            if trial.phi <= start.phi + ARMIJO * expected and expected < 0.0:
                return trial
            if abs(trial.phi - start.phi) <= rounding and chart.norm(trial.gradient) < 0.999 * size:
                return trial
        length *= 0.5
    return failure


def _two_loop(
    chart: Chart, pairs: deque[tuple[np.ndarray, np.ndarray, float]], gradient: np.ndarray, free: np.ndarray | None
) -> np.ndarray:
    """Apply the L-BFGS inverse Hessian to the gradient, on the free coordinates."""
    q = gradient if free is None else gradient * free
    stack = []
    for change, slope, curvature in reversed(pairs):
        alpha = chart.inner(change, q) / curvature
        q = q - alpha * slope
        stack.append(alpha)
    if pairs:
        change, slope, curvature = pairs[-1]
        q = q * (curvature / chart.inner(slope, slope))
    for (change, slope, curvature), alpha in zip(pairs, reversed(stack), strict=True):
        q = q + (alpha - chart.inner(slope, q) / curvature) * change
    if free is not None:
        q = np.where(free, q, 0.0)
    return q if chart.inner(q, gradient) > 0.0 else gradient


def _free(point: _Point, bounds: Bounds | None) -> np.ndarray | None:
    """Return a mask of the coordinates that are not held at a bound by the gradient."""
    if bounds is None:
        return None
    lo, hi = bounds
    return ~(((point.z <= lo) & (point.gradient > 0.0)) | ((point.z >= hi) & (point.gradient < 0.0)))


def _clip(z: np.ndarray, bounds: Bounds | None) -> np.ndarray:
    return z if bounds is None else np.clip(z, *bounds)


def _size(chart: Chart) -> float:
    return chart.norm(chart.origin)
