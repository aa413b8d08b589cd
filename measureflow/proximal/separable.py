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
    if residual > tolerance.residual * max(1.0, float(np.sqrt(weights @ start**2))):
        return None
    if isinstance(x, Quantiles):
        ordered = np.maximum.accumulate(u)
        if np.max(ordered - u) > 2.0 * np.max(error):
            return None
        u = ordered
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
    return np.asarray(float(a[0, 0]) * u + float(b[0]))


def _root(x: np.ndarray, tau: float, slope: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Solve u + tau slope(u) = x; return u, a bound for its error and the number of calls, None without a bracket."""

    def equation(u: np.ndarray) -> np.ndarray:
        return u + tau * slope(u) - x

    start = equation(x)
    reach = start.copy()
    calls = 2
    while True:
        end = equation(x - reach)
        beyond = end * start > 0.0
        if not np.any(beyond):
            break
        if calls > DOUBLINGS:
            return None
        reach, calls = np.where(beyond, 2.0 * reach, reach), calls + 1
    up = start > 0.0
    ends = np.where(up, x - reach, x), np.where(up, x, x - reach), np.where(up, end, start), np.where(up, start, end)
    u, error, more = _narrowed(equation, *ends)
    return u, error, calls + more


def _narrowed(
    equation: Callable[[np.ndarray], np.ndarray], lo: np.ndarray, hi: np.ndarray, at_lo: np.ndarray, at_hi: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Shrink brackets [lo, hi] by secants and halvings in turn; return the roots, bounds for their errors, the calls."""
    u = np.where(np.abs(at_lo) < np.abs(at_hi), lo, hi)
    best, spread = np.minimum(np.abs(at_lo), np.abs(at_hi)), np.abs(lo) + np.abs(hi)
    error, calls, side = np.minimum(best, hi - lo), 0, np.zeros(len(lo), dtype=np.int8)
    while calls < 3 * DOUBLINGS and np.any(error > 4.0 * np.finfo(float).eps * spread):
        middle = 0.5 * (lo + hi)
        if calls % 4 != 3:
            rise = at_hi - at_lo
            secant = lo - at_lo * np.divide(hi - lo, rise, out=np.zeros_like(rise), where=rise > 0.0)
            middle = np.where((rise > 0.0) & (secant > lo) & (secant < hi), secant, middle)
        value = equation(middle)
        up = value > 0.0
        # Illinois: an end that stays twice counts half, so that the next secant leans towards it
        at_lo, at_hi = (
            np.where(up, np.where(side > 0, 0.5 * at_lo, at_lo), value),
            np.where(up, value, np.where(side < 0, 0.5 * at_hi, at_hi)),
        )
        lo, hi, side = np.where(up, lo, middle), np.where(up, middle, hi), np.where(up, 1, -1)
        better = np.abs(value) < best
        u, best = np.where(better, middle, u), np.where(better, np.abs(value), best)
        u = np.where(hi - lo < best, 0.5 * (lo + hi), u)
        error, calls = np.minimum(best, hi - lo), calls + 1
    return u, error, calls
