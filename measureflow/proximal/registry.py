"""Which solver takes which inner problem: closed forms first, the general descent last."""

from __future__ import annotations

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.errors import UnsupportedError
from measureflow.metrics import Metric
from measureflow.proximal.base import Solver, Step, Tolerance
from measureflow.proximal.closed import identity, pushforward
from measureflow.proximal.cone import on_cone
from measureflow.proximal.descent import descend
from measureflow.proximal.fisher_rao import on_sphere
from measureflow.proximal.gaussian import gaussian
from measureflow.proximal.line import towards_target
from measureflow.proximal.separable import by_points
from measureflow.states import Histogram, Quantiles, State


def _on_quantiles(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step | None:
    if not isinstance(x, Quantiles):
        return None
    from measureflow.proximal.quantiles import interior  # numba is loaded at first use

    return interior(energy, metric, x, tau, tolerance)


def _on_cells(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step | None:
    if not isinstance(x, Histogram):
        return None
    from measureflow.proximal.histogram import even_cells  # numba is loaded at first use

    return even_cells(energy, metric, x, tau, tolerance)


def _on_grids(energy: Energy, metric: Metric, x: State, tau: float, tolerance: Tolerance) -> Step | None:
    if not isinstance(x, Histogram):
        return None
    from measureflow.proximal.dual_transport import on_grid  # numba is loaded at first use

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
    _on_grids,
    on_sphere,
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
    if tolerance.inner == "linearised":
        from measureflow.proximal.linearised import linearised  # numba is loaded at first use

        return linearised(energy, metric, x, tau, tolerance)
    if not energy.boxed:
        raise UnsupportedError(f"minimizing movements know boxes as constraints, not {energy!r}: take the scheme Explicit")
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
