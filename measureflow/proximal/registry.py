"""Which solver takes which inner problem: closed forms first, the general descent last."""

from __future__ import annotations

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.metrics import Metric
from measureflow.proximal.base import Solver, Step, Tolerance
from measureflow.proximal.closed import identity, pushforward
from measureflow.proximal.cone import on_cone
from measureflow.proximal.descent import descend
from measureflow.proximal.gaussian import gaussian
from measureflow.proximal.histogram import even_cells
from measureflow.proximal.line import towards_target
from measureflow.proximal.quantiles import interior
from measureflow.proximal.separable import by_points
from measureflow.states import State

SOLVERS: tuple[Solver, ...] = (
    identity,
    pushforward,
    gaussian,
    towards_target,
    by_points,
    interior,
    on_cone,
    even_cells,
    descend,
)


def solve_proximal(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step:
    """Solve the inner problem with the first solver that knows this energy, metric and state.

    Raises
    ------
    ConvergenceError
        If the tolerance is not reached.
    UnsupportedError
        If no solver covers the combination.
    """
    for solver in SOLVERS:
        step = solver(energy, metric, x, tau, tolerance)
        if step is not None:
            return step
    raise AssertionError("the last solver always answers")  # pragma: no cover


def proximal(energy: Energy, metric: Metric, x: State, tau: float) -> State:
    """Return argmin_u energy(u) + d(x, u)^2 / (2 tau), one minimizing-movement (JKO) step.

    Parameters
    ----------
    energy : Energy
    metric : Metric
    x : State
    tau : float
        Step, positive; below 1/|lambda| for a lambda-convex energy with lambda < 0.

    Raises
    ------
    ConvergenceError
        If the inner solver does not reach its tolerance.
    TypeError, ValueError
        If an argument is not as described, or the energy is not defined on this state.

    Examples
    --------
    >>> import measureflow as mf
    >>> mf.proximal(mf.energies.Quadratic(), mf.Euclidean(), mf.Vector([1.0]), 1.0)
    Vector([0.5])
    """
    check.instance("energy", energy, Energy, "an Energy")
    check.instance("metric", metric, Metric, "a Metric")
    check.instance("x", x, State, "a state")
    return solve_proximal(energy, metric, x, check.scalar("tau", tau, above=0.0), Tolerance()).state
