"""The energy-stable method of order 2 in three stages (theory, 4.4)."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from measureflow.energies import Energy
from measureflow.errors import ConvergenceError, NotFiniteError
from measureflow.metrics import Metric
from measureflow.proximal import Step
from measureflow.schemes.minimizing import Minimizing, flows_on_cells, on_cells, projected
from measureflow.states import State

STAGES = ((5.0,), (-2.0, 6.0), (-2.0, 3.0 / 14.0, 44.0 / 7.0))
"""gamma of Zaitzeff, Esedoglu and Garikipati; the rows sum to 5, 4 and 9/2."""


class OwnSecondOrder(Minimizing):
    """A scheme of order 2 for one player, made of several minimizing movements; what players see of each other is frozen."""

    couplings = ("simultaneous", "alternating", "symmetric")

    def __init__(
        self,
        coupling: str = "simultaneous",
        inner_steps: Any = None,
        *,
        turns: Any = None,
        tolerance: float = 1e-10,
        max_iterations: int = 500,
    ) -> None:
        super().__init__(coupling, inner_steps, turns=turns, tolerance=tolerance, max_iterations=max_iterations)

    @property
    def order(self) -> int:
        return 2 if self.coupling == "symmetric" else 1

    def order_for(self, players: int) -> int:
        return 2 if players == 1 else self.order


@final
class ThreeStage(OwnSecondOrder):
    """Three minimizing movements a step, second order; on flat spaces the energy never grows, whatever the step.

    U_m in argmin_u E(u) + sum_{i<m} gamma_mi d(U_i, u)^2 / (2 tau), with U_0 = x, x+ = U_3 and the rows [5], [-2, 6] and
    [-2, 3/14, 44/7] of gamma (Zaitzeff, Esedoglu and Garikipati, arXiv 1908.10246). In flat spaces stage m is J_{tau/G} from the
    affine combination sum_i gamma_mi U_i / G, G = sum_i gamma_mi. Elsewhere the combination is taken in normal coordinates at x,
    which leaves the order as it is. A combination that is no law, as it is not nondecreasing or out of a box, is projected
    (``sol.info["method"]`` says so), and the energy may grow; where there is nothing to project on, as for Gaussians, the step is
    tried again at half its size.

    A `Histogram` takes linearised steps (implicit finite volumes, see ``JKO(inner="linearised")``, with the same energies) from
    combinations of masses: the stages are a diagonally implicit Runge-Kutta method for the finite volumes p' = F(p), whose
    conditions of order 2, sum b = 1 and sum b c = 1/2, do not need F to be a gradient. Masses that were negative are blended with
    multiples of the last stage's on the smallest blocks of cells that allow it ("limited").

    Parameters
    ----------
    coupling : {"simultaneous", "alternating", "symmetric"}
        See `Scheme`. Games are solved to second order by "symmetric", to first order by the others.
    inner_steps : sequence of int, optional
        Steps of size tau that each player takes in one step of the scheme; None: one each.
    turns : sequence of int, optional
        The order in which players move, see `Scheme`.
    tolerance : float
        Residual at which an inner solver stops, a distance relative to max(1, size of the state).
    max_iterations : int
        Iterations after which an inner solver raises ConvergenceError.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> import measureflow as mf
    >>> sol = mf.solve(mf.energies.Quadratic(), mf.Vector(1.0), 1.0, 0.1, scheme="three-stage")
    >>> abs(float(sol.states[-1][0]) - 0.36787944) < 2e-3
    True
    """

    def advance(self, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        stages, residual, iterations, method, fallback = [x], 0.0, 0, "", ""
        for row in STAGES:
            total = sum(row)
            base, guard = combined(metric, x, stages, [g / total for g in row], energy)
            step = self.minimize(energy, metric, base, tau / total)
            stages.append(step.state)
            residual, iterations = max(residual, step.residual), iterations + step.iterations
            method, fallback = step.method, guard or fallback
        length = total * step.distance if flows_on_cells(metric, x) else metric.labelled_distance(x, stages[-1])
        return Step(stages[-1], length, residual, iterations, method + fallback)


def combined(metric: Metric, x: State, states: list[State], weights: list[float], energy: Energy) -> tuple[State, str]:
    """Return the affine combination of states in normal coordinates at x, of masses on cells.

    And ", projected" if it had to be projected on constraints, ", limited" if masses were limited, "" else.

    Raises
    ------
    ConvergenceError
        If it is no state.
    """
    if all(state is states[0] for state in states):
        return states[0], ""
    if flows_on_cells(metric, x):
        total = sum((w * state.coordinates for w, state in zip(weights, states, strict=True)), np.zeros(x.coordinates.shape))
        return on_cells(total, states[int(np.argmax(weights))])
    chart = metric.chart(x)
    z = sum((w * chart.log(state) for w, state in zip(weights, states, strict=True)), np.zeros(chart.origin.shape))
    allowed = chart.project(energy.project(z))
    try:
        return chart.state(allowed), projected(allowed, z)
    except NotFiniteError:
        raise
    except ValueError as error:
        raise ConvergenceError(f"the combination of earlier stages is no state ({error}); try a smaller tau") from error
