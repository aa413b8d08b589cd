"""The inner problem of a minimizing movement: argmin_u E(u) + d(x, u)^2 / (2 tau)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from measureflow.energies import Energy
from measureflow.errors import ConvergenceError
from measureflow.metrics import Metric
from measureflow.states import State


@final
@dataclass(frozen=True)
class Tolerance:
    """When an inner solver stops.

    Parameters
    ----------
    residual : float
        Bound on the optimality residual tau |dE(u) + d(d^2/2 tau)|, a distance, relative to max(1, size of the state).
    max_iterations : int
        Iterations after which the solver gives up with ConvergenceError.
    inner : {"exact", "linearised"}
        Whether the distance is W2 itself or, for histograms, its linearisation (`proximal.linearised`).
    """

    residual: float = 1e-10
    max_iterations: int = 500
    inner: str = "exact"


@final
@dataclass(frozen=True, eq=False)
class Step:
    """A solved inner problem with its certificate.

    Attributes
    ----------
    state : State
        The minimiser u.
    distance : float
        d(x, u).
    residual : float
        Optimality residual in units of distance; 0 for closed forms.
    iterations : int
        Iterations of the inner solver; 0 for closed forms.
    method : str
        Name of the solver.
    """

    state: State
    distance: float
    residual: float = 0.0
    iterations: int = 0
    method: str = "closed form"


Solver = Callable[[Energy, Metric, State, float, Tolerance], Step | None]


def not_converged(residual: float, goal: float, iterations: int, hint: str = "try a smaller tau") -> ConvergenceError:
    """Return the error of a step that did not reach its tolerance."""
    return ConvergenceError(
        f"the inner problem did not reach its tolerance: residual {residual:.3g} > {goal:.3g} after {iterations} iterations; "
        f"{hint}",
        residual,
        goal,
    )
