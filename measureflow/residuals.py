"""How well a computed flow satisfies the discrete EVI, the energy identity and De Giorgi's identity (theory, 2, 4.3, 5.1)."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.errors import UnsupportedError
from measureflow.metrics import Metric
from measureflow.proximal import Step, Tolerance, solve_proximal
from measureflow.schemes import JKO
from measureflow.states import State

if TYPE_CHECKING:
    from measureflow.solution import Solution

NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)


@final
@dataclass(frozen=True, eq=False)
class Residuals:
    """Residuals of each step, shape (steps,) or (steps, players); opponents frozen as the scheme saw them.

    Attributes
    ----------
    evi : ndarray
        Largest value over the test states z of [d(x+, z)^2 - d(x, z)^2]/(2 tau) + (lambda/2) d(x+, z)^2 + E(x+) +
        d(x, x+)^2/(2 tau) - E(z): at most 0 for minimizing movements of lambda-convex energies (T2).
    energy_identity : ndarray
        E(x+) - E(x) + d(x, x+)^2/(2 tau) + (tau/2) |dE|^2(x+): the energy-dissipation balance of the step, O(tau^2).
    degiorgi : ndarray or None
        E(x+) + d(x, x+)^2/(2 tau) + int_0^tau d(x, x~_delta)^2/(2 delta^2) d delta - E(x), zero up to the quadrature and the
        inner solver for minimizing movements; None for other schemes.
    """

    evi: np.ndarray
    energy_identity: np.ndarray
    degiorgi: np.ndarray | None


def step_residuals(sol: Solution, test_states: Any, convexity: Any) -> Residuals:
    """Return the residuals of all steps of a solution."""
    columns: Any = (slice(None), 0) if sol.single else ()
    return Residuals(
        evi_residuals(sol, test_states, convexity)[columns],
        _by_step(sol, _energy_identity)[columns],
        _by_step(sol, _degiorgi_identity)[columns] if isinstance(sol.scheme, JKO) else None,
    )


def evi_residuals(sol: Solution, test_states: Any, convexity: Any) -> np.ndarray:
    """Return the residuals of the EVI, (steps, players); distances of laws without a chart are true ones."""
    tests, lambdas = _test_states(sol, test_states), _lambdas(convexity, len(sol.players))
    return _by_step(sol, lambda sol, k, player: _evi(sol, k, player, tests, lambdas[player]))


def _by_step(sol: Solution, entry: Callable[[Solution, int, int], float]) -> np.ndarray:
    """Return entry(sol, step, player) as a table, (steps, players)."""
    steps, count = len(sol.t) - 1, len(sol.players)
    return np.array([[entry(sol, k, player) for player in range(count)] for k in range(steps)]).reshape(steps, count)


def minimizing_step(sol: Solution, k: int, player: int, delta: float) -> Step:
    """Return J_delta(x_k) of one player against the opponents that step k saw; delta is a time, speeds are applied."""
    energy = _frozen(sol, k, player)
    tolerance = sol.scheme.tolerance if isinstance(sol.scheme, JKO) else Tolerance()
    metric, eta = sol.players.metrics[player], sol.players.speeds[player]
    return solve_proximal(energy, metric, sol.row(k)[player], eta * delta, tolerance)


def _frozen(sol: Solution, k: int, player: int) -> Energy:
    assert sol.scheme is not None
    return sol.players.game.energy(player, sol.scheme.seen_by(player, sol.row(k), sol.row(k + 1)))


def _setting(sol: Solution, k: int, player: int) -> tuple[Energy, Any, Any, Any, float]:
    """Return the frozen energy, the metric, the states before and after, and the player's own step size."""
    tau = float(sol.t[k + 1] - sol.t[k]) * sol.players.speeds[player]
    return _frozen(sol, k, player), sol.players.metrics[player], sol.row(k)[player], sol.row(k + 1)[player], tau


def _evi(sol: Solution, k: int, player: int, tests: list[tuple[Any, ...]], constant: float | None) -> float:
    energy, metric, old, new, tau = _setting(sol, k, player)
    value, moved = energy.value(new), length(metric, old, new)
    bend = constant if constant is not None else energy.convexity or 0.0
    worst = -np.inf
    for row in tests:
        z = row[player]
        before, after = length(metric, old, z), length(metric, new, z)
        left = (after**2 - before**2 + moved**2) / (2.0 * tau) + 0.5 * bend * after**2 + value
        worst = max(worst, left - energy.value(z))
    return worst


def length(metric: Metric, a: State, b: State) -> float:
    """Return the distance with labels kept; the distance itself where the metric has no chart."""
    try:
        return metric.labelled_distance(a, b)
    except UnsupportedError:
        return metric.distance(a, b)


def _energy_identity(sol: Solution, k: int, player: int) -> float:
    energy, metric, old, new, tau = _setting(sol, k, player)
    slope = metric.slope(new, metric.differential(energy, new))
    moved = metric.labelled_distance(old, new)
    return float(energy.value(new) - energy.value(old) + moved**2 / (2.0 * tau) + 0.5 * tau * slope**2)


def variational_dissipation(sol: Solution, k: int, player: int) -> float:
    """Return d(x, x+)^2/(2 tau) + int_0^tau d(x, x~_delta)^2/(2 delta^2) d delta of one step (theory, 4.3)."""
    _, metric, old, new, tau = _setting(sol, k, player)
    deltas = 0.5 * tau * (NODES + 1.0)
    eta = sol.players.speeds[player]
    speeds = [minimizing_step(sol, k, player, delta / eta).distance / delta for delta in deltas]
    integral = 0.5 * tau * float(WEIGHTS @ (0.5 * np.square(speeds)))
    return float(metric.labelled_distance(old, new) ** 2 / (2.0 * tau) + integral)


def _degiorgi_identity(sol: Solution, k: int, player: int) -> float:
    energy, _, old, new, _ = _setting(sol, k, player)
    return float(energy.value(new) + variational_dissipation(sol, k, player) - energy.value(old))


def _test_states(sol: Solution, test_states: Any) -> list[tuple[Any, ...]]:
    if test_states is None:
        return [sol.row(k) for k in sorted({0, len(sol.t) // 2, len(sol.t) - 1})]
    if not isinstance(test_states, (list, tuple)) or not test_states:
        raise TypeError(f"test_states must be a list of states, got {check.show(test_states)}")
    return [_test_row(sol, f"test_states[{k}]", z) for k, z in enumerate(test_states)]


def _test_row(sol: Solution, name: str, z: Any) -> tuple[Any, ...]:
    """Return a test state as a tuple, after checking that it has the structure of the solution's states."""
    row = (z,) if sol.single else check.entries(name, z, len(sol.players), "one state a player")
    for state, like in zip(row, sol.row(0), strict=True):
        check.instance(name, state, type(like), f"a {type(like).__name__} like the solution's")
        if state.coordinates.shape != like.coordinates.shape:
            raise ValueError(f"{name} must have shape {like.coordinates.shape}, got {state.coordinates.shape}")
    return row


def _lambdas(convexity: Any, count: int) -> list[float | None]:
    if convexity is None:
        return [None] * count
    single = isinstance(convexity, numbers.Real)
    values = (convexity,) * count if single else check.entries("convexity", convexity, count, "one number a player")
    return [check.scalar("convexity", value) for value in values]
