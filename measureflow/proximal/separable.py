"""Steps under potentials on the line: one equation u + tau V'(u) = x a point, solved in a bracket.

Kinks of V (theory, E2) are found like any other root: there the left side jumps through x.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from measureflow.energies import Box, Energy, Potential, Quadratic
from measureflow.metrics import Euclidean, Metric, Wasserstein
from measureflow.proximal.base import Step, Tolerance
from measureflow.proximal.closed import landed
from measureflow.states import Particles, Quantiles, State, Vector, atoms

DOUBLINGS = 60


def by_points(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step | None:
    """Return the step of atoms, quantiles or a number under Potential and Quadratic terms, whatever the weights.

    None where a bracket is not found, quantiles leave their order or the energy rises (several minimisers: V too concave).
    """
    if not _on_line(metric, x):
        return None
    terms = [(c, term) for c, term in energy.terms() if not isinstance(term, Box)]
    if not all(isinstance(term, (Potential, Quadratic)) for _, term in terms):
        return None
    start, weights = atoms(x)[0][:, 0], atoms(x)[1]

    def slope(u: np.ndarray) -> np.ndarray:
        return sum((c * _slope(term, u) for c, term in terms), np.zeros(len(u)))

    found = _root(start, tau, slope)
    if found is None:
        return None
    u, error, calls = found
    u = u if energy.bounds is None else np.clip(u, *energy.bounds)
    residual = float(np.sqrt(weights @ error**2))
    if residual > tolerance.residual * max(1.0, float(np.sqrt(weights @ start**2))) or np.any(_order(x, u) < 0.0):
        return None
    chart = metric.chart(x)
    step = landed(chart, u.reshape(x.coordinates.shape))
    if tau * (energy.value(step.state) - energy.value(x)) + 0.5 * step.distance**2 > 1e-12 * max(1.0, step.distance**2):
        return None
    return Step(step.state, step.distance, residual, calls, "bracketing")


def _on_line(metric: Metric, x: State) -> bool:
    if isinstance(x, Vector):
        return isinstance(metric, Euclidean) and len(x) == 1
    if isinstance(x, Particles) and x.dim != 1:
        return False
    return isinstance(x, (Particles, Quantiles)) and isinstance(metric, Wasserstein)


def _slope(term: Energy, u: np.ndarray) -> np.ndarray:
    if isinstance(term, Potential):
        return term.gradients(u[:, None])[:, 0]
    assert isinstance(term, Quadratic)
    a, b, _ = term.normal_form(1)
    return np.asarray(a[0, 0] * u + b[0])


def _order(x: State, u: np.ndarray) -> np.ndarray:
    return np.diff(u) if isinstance(x, Quantiles) else np.zeros(1)


def _root(
    x: np.ndarray, tau: float, slope: Callable[[np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Solve u + tau slope(u) = x; return u, a bound for its error and the number of calls, None without a bracket."""
    from scipy.optimize.elementwise import find_root

    push = tau * slope(x)
    reach, open_ = push.copy(), push != 0.0
    for calls in range(DOUBLINGS):
        ahead = x - reach
        value = ahead + tau * slope(ahead) - x
        open_ = value * push > 0.0
        if not np.any(open_):
            break
        reach = np.where(open_, 2.0 * reach, reach)
    else:
        return None

    def equation(u: np.ndarray, base: np.ndarray) -> np.ndarray:
        return u + tau * slope(np.ascontiguousarray(u)) - base

    moving = push != 0.0
    u, error = x.copy(), np.zeros(len(x))
    if np.any(moving):
        ends = np.minimum(x, x - reach)[moving], np.maximum(x, x - reach)[moving]
        found = find_root(equation, ends, args=(x[moving],))
        u[moving] = found.x
        width = np.abs(found.bracket[1] - found.bracket[0])
        error[moving] = np.minimum(np.abs(found.f_x), width)
        calls += int(np.max(found.nfev))
    return u, error, calls + 2
