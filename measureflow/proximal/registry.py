"""Which solver takes which inner problem: closed forms first, the general descent last."""

from __future__ import annotations

from dataclasses import replace

from measureflow import _validate as check
from measureflow.energies import Energy, Obstacle
from measureflow.errors import ConvergenceError, UnsupportedError
from measureflow.metrics import Metric
from measureflow.proximal.base import Solver, Step, Tolerance
from measureflow.proximal.capped import capped
from measureflow.proximal.closed import identity, pushforward
from measureflow.proximal.cone import on_cone
from measureflow.proximal.descent import descend
from measureflow.proximal.fisher_rao import on_sphere
from measureflow.proximal.frozen import nonlocal_step, separate
from measureflow.proximal.gaussian import gaussian
from measureflow.proximal.line import towards_target
from measureflow.proximal.separable import by_points
from measureflow.states import Histogram, Quantiles, State

PATIENCE = 60
"""Iterations after which interactions on the line are split off (`proximal.frozen`)."""


def _on_quantiles(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step | None:
    if not isinstance(x, Quantiles):
        return None
    from measureflow.proximal.quantiles import interior  # numba is loaded at first use

    return interior(energy, metric, x, tau, tolerance)


def _on_cells(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step | None:
    if not isinstance(x, Histogram):
        return None
    from measureflow.proximal.histogram import even_cells  # numba is loaded at first use

    limit = tolerance.max_iterations if separate(energy) is None else min(tolerance.max_iterations, PATIENCE)
    try:
        return even_cells(energy, metric, x, tau, replace(tolerance, max_iterations=limit))
    except ConvergenceError:
        step = nonlocal_step(energy, metric, x, tau, tolerance, solve_proximal, again=True)
        if step is None:
            raise
        return step


def _by_cells(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step | None:
    if not isinstance(x, Histogram):
        return None
    from measureflow.proximal.by_cells import by_cells  # numba is loaded at first use

    return by_cells(energy, metric, x, tau, tolerance)


def _on_grids(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step | None:
    if not isinstance(x, Histogram):
        return None
    from measureflow.proximal.laguerre_newton import on_grid  # numba is loaded at first use

    return on_grid(energy, metric, x, tau, tolerance)


SOLVERS: tuple[Solver, ...] = (
    identity,
    pushforward,
    gaussian,
    towards_target,
    by_points,
    _on_quantiles,
    on_cone,
    _on_cells,
    _by_cells,
    _on_grids,
    on_sphere,
    descend,
)


def _no_box(energy: Energy) -> UnsupportedError:
    """Return the error on constraints that are not boxes."""
    if any(isinstance(term, Obstacle) for _, term in energy.terms()):
        return UnsupportedError(
            f"exact minimizing movements know boxes as constraints, not {energy!r}: the straight-line Wasserstein distance "
            "knows no obstacles (it would carry mass through them); take the scheme JKO(inner='linearised'), or BDF2"
        )
    return UnsupportedError(f"minimizing movements know boxes as constraints, not {energy!r}: take the scheme Explicit")


def solve_proximal(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step:
    """Solve the inner problem with the first solver that knows this energy, metric and state.

    Raises
    ------
    ConvergenceError
        If the tolerance is not reached.
    UnsupportedError
        If no solver covers the combination.
    """
    if tolerance.inner == "linearised":
        from measureflow.proximal.linearised import linearised  # numba is loaded at first use

        return linearised(energy, metric, x, tau, tolerance)
    apart = nonlocal_step(energy, metric, x, tau, tolerance, solve_proximal)
    if apart is not None:
        return apart
    below = capped(energy, metric, x, tau, tolerance)
    if below is not None:
        return below
    if not energy.boxed:
        raise _no_box(energy)
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
