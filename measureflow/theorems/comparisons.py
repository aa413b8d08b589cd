"""What claims compare: a case and the numbers that define the claim give a check, and curves for its figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow.metrics import natural
from measureflow.residuals import evi_residuals, length
from measureflow.solution import Solution
from measureflow.theorems import statistics
from measureflow.theorems.case import Case
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel

HALVINGS = 3
"""Solutions with tau, tau/2 and tau/4."""
ROUNDING = 1e-12
LEAST = 1e-6
"""Share of their first distance down to which flows are followed."""
INEQUALITY = 1e-9
"""By how much inequalities may be missed, relative to the energies."""


def order(case: Case, taus: Sequence[float], predicted: float, tolerance: float) -> tuple[Check, list[Curve]]:
    """Compare the order of convergence at the last time with the one claimed."""
    ends = [case.solve(tau, save_at=10**9).states[-1] for tau in taus]
    distance = _distance(case)
    if case.exact is not None:
        exact = case.exact(case.t_span[1])
        errors, steps = [distance(end, exact) for end in ends], np.asarray(taus)
    else:
        errors = [distance(a, b) for a, b in zip(ends[:-1], ends[1:], strict=True)]
        steps = np.asarray(taus)[:-1]
    if max(errors) <= ROUNDING * max(1.0, *(float(np.max(np.abs(x.coordinates))) for x in case.row(ends[-1]))):
        return at_most("error, which is rounding alone: steps are exact", max(errors), ROUNDING, tolerance=ROUNDING), []
    panel = Panel("errors at the last time", "tau", "distance", "log")
    line = errors[-1] * (steps / steps[-1]) ** predicted
    curves = [Curve(panel, "errors", steps, errors), Curve(panel, f"order {predicted:g}", steps, line, "predicted")]
    found = statistics.order(steps, np.maximum(errors, 1e-300))
    return equal("order in tau", found.value, predicted, tolerance=tolerance, error=found.error), curves


def contraction(case: Case, rate: float, tolerance: float) -> tuple[Check, list[Curve]]:
    """Compare the rates at which two flows approach each other between saved times, as tau -> 0, with the one claimed."""
    rows, residuals = [], []
    for k in range(HALVINGS):
        first, second = _flows(case, k)
        distance = _distance(case)
        rows.append([distance(a, b) for a, b in zip(first.states, second.states, strict=True)])
        residuals.append(_certificates(first) + _certificates(second))
    t = np.asarray(first.t)
    away = np.asarray(rows)
    if not np.all(away[:, 0] > 0.0):
        raise ValueError("a second start must differ from the initial state")
    seen = np.flatnonzero(np.all(away > LEAST * away[:, :1], axis=0))
    seen = seen[: np.argmax(np.diff(seen, append=len(t) + 1) > 1) + 1]  # up to where they meet
    if len(seen) < 2:
        return at_least("rate of contraction", np.inf, rate, tolerance=tolerance), []
    value, error = statistics.limit(np.diff(np.log(away[:, seen]), axis=1), case.order())
    off = (residuals[-1][seen] + ROUNDING * away[-1, 0]) / away[-1, seen]
    found = at_least(
        "rate of contraction",
        -value / np.diff(t[seen]),
        rate,
        tolerance=tolerance,
        error=(error + off[1:] + off[:-1]) / np.diff(t[seen]),
        where=lambda k: f"t = {t[seen][k]:.6g} to {t[seen][k + 1]:.6g}",
    )
    panel = Panel("distance of two flows", "t", "D(t) / D(0)", "log y")
    claimed = Curve(panel, f"rate {rate:g}", t, np.exp(-rate * (t - t[0])), "predicted")
    return found, [Curve(panel, "flows", t[seen], away[-1, seen] / away[-1, 0]), claimed]


def _flows(case: Case, halving: int) -> tuple[Solution, Solution]:
    """Return the flows from both starts with tau / 2^halving, saved at the steps of tau."""
    options = {"tau": case.tau / 2**halving, "save_at": 2**halving}
    return case.solve(**options), case.solve(initial=case.second, **options)


def evi(case: Case, lambda_: Sequence[float]) -> tuple[Check, list[Curve]]:
    """Compare both sides of the discrete EVI at every step for one test state."""
    sol = case.solve()
    players = len(lambda_)
    residuals = evi_residuals(sol, [case.second], list(lambda_))
    inner = np.reshape(sol.info["residual"][1:], (-1, players))
    metrics = sol.players.metrics
    rows = [sol.row(k) for k in range(1, len(sol))]
    away = np.array([[length(m, x, z) for m, x, z in zip(metrics, row, case.row(case.second), strict=True)] for row in rows])
    etas = np.array(sol.players.speeds)
    size = np.maximum(1.0, np.max(np.abs(sol.energies)))
    check_ = at_most(
        "residual of the EVI",
        residuals,
        0.0,
        tolerance=INEQUALITY * size,
        error=inner * away / (case.tau * etas) + ROUNDING * size,
        where=lambda k: f"t = {sol.t[k // players]:.6g}" + (f", player {k % players}" if players > 1 else ""),
    )
    panel = Panel("residual of the EVI", "t", "left side - right side")
    curves = [Curve(panel, f"player {k}" if players > 1 else "steps", sol.t[1:], column) for k, column in enumerate(residuals.T)]
    return check_, [*curves, Curve(panel, "at most", sol.t[1:], np.zeros(len(sol.t) - 1), "predicted")]


def conserved(case: Case, quantity: Any, tolerance: float | None) -> tuple[Check, list[Curve]]:
    """Compare the drift of a quantity, in the limit tau -> 0, with zero."""
    sols = [case.solve(case.tau / 2**k, save_at=2**k) for k in range(HALVINGS)]
    values = np.array([_values(sol, quantity) for sol in sols])
    size = float(np.max(np.abs(values)))
    drift, error = statistics.limit(values - values[:, :1], case.order())
    t = sols[-1].t
    found = equal(
        "drift as tau -> 0",
        drift,
        0.0,
        tolerance=max(1e-3 * size, 1e-9) if tolerance is None else tolerance,
        error=error + ROUNDING * size,
        where=lambda k: f"t = {t[k]:.6g}",
    )
    panel = Panel("drift", "t", "quantity - its value at the start")
    labels = [f"tau = {case.tau / 2**k:.3g}" for k in range(HALVINGS)]
    curves = [Curve(panel, label, t, row - row[0]) for label, row in zip(labels, values, strict=True)]
    return found, [*curves, Curve(panel, "tau -> 0", t, drift, "predicted")]


def bound(case: Case, formula: Any, quantity: Any, tolerance: float, limit: bool) -> tuple[Check, list[Curve]]:
    """Compare a quantity with a bound at all times."""
    sols = [case.solve(case.tau / 2**k, save_at=2**k) for k in range(HALVINGS if limit else 1)]
    rows = np.array([_quantity(case, sol, quantity) for sol in sols])
    t = np.asarray(sols[-1].t)
    value, error = statistics.limit(rows, case.order()) if limit else (rows[0], np.zeros(rows.shape[1]))
    bounds = np.array([float(formula(s)) if callable(formula) else formula for s in t])
    called = quantity if isinstance(quantity, str) else getattr(quantity, "__name__", "quantity")
    found = at_most(
        called,
        value,
        bounds,
        tolerance=tolerance,
        error=error + ROUNDING * np.abs(value),
        where=lambda k: f"t = {t[k]:.6g}",
    )
    panel = Panel(called, "t", called)
    return found, [Curve(panel, called, t, value), Curve(panel, "bound", t, bounds, "predicted")]


def _distance(case: Case) -> Callable[[Any, Any], float]:
    """Return the distance of states of a case in its product metric, D^2 = sum d_i^2 / speed_i."""
    row = case.row(case.initial)
    given = case.metrics if isinstance(case.metrics, (tuple, list)) else (case.metrics,) * len(row)
    metrics = [metric or natural(x) for metric, x in zip(given, row, strict=True)]
    speeds = case.speeds if isinstance(case.speeds, (tuple, list)) else (case.speeds or 1.0,) * len(row)

    def distance(a: Any, b: Any) -> float:
        parts = zip(metrics, speeds, case.row(a), case.row(b), strict=True)
        return float(np.sqrt(sum(metric.distance(x, y) ** 2 / eta for metric, eta, x, y in parts)))

    return distance


def _certificates(sol: Solution) -> np.ndarray:
    """Return by how much the residuals of all steps up to each row may have moved the state, (rows,)."""
    residual = np.reshape(sol.info["residual"], (len(sol), -1))
    return np.cumsum(np.sum(residual, axis=1))


def _values(sol: Solution, quantity: Any) -> np.ndarray:
    """Return a function of the states, or an invariant, at all rows."""
    if isinstance(quantity, str):
        known = sol.invariants()
        return np.asarray(known[check.choice("quantity", quantity, tuple(known))], np.float64)
    return np.array([check.returned_scalar("quantity", quantity(state)) for state in sol.states])


def _quantity(case: Case, sol: Solution, quantity: Any) -> np.ndarray:
    if quantity == "error":
        assert case.exact is not None
        distance = _distance(case)
        return np.array([distance(state, case.exact(float(t))) for t, state in zip(sol.t, sol.states, strict=True)])
    if not isinstance(quantity, str):
        return _values(sol, quantity)
    table = {"energy": sol.energies, "slope": sol.slopes, "speed": sol.speeds}[quantity]
    columns = np.reshape(table, (len(sol), -1))
    return np.sqrt(np.sum(np.square(columns), axis=1)) if quantity == "speed" else columns[:, 0]
