"""Minimizing movements (Jordan, Kinderlehrer, Otto)."""

from __future__ import annotations

from typing import Any, final

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.metrics import Metric
from measureflow.proximal import Step, Tolerance, solve_proximal
from measureflow.schemes.base import Players, Scheme
from measureflow.schemes.info import States
from measureflow.states import Histogram, State


@final
class JKO(Scheme):
    """Minimizing movements: x+ = argmin_u E(u) + d(x, u)^2 / (2 tau); first order, unconditionally stable for convex E.

    Parameters
    ----------
    coupling : {"simultaneous", "alternating", "symmetric", "implicit", "extragradient", "optimistic"}
        See `Scheme`. "simultaneous" is explicit in the coupling: on bilinear games it is simultaneous gradient descent-ascent.
    inner_steps : sequence of int, optional
        Steps of size tau that each player takes in one step of the scheme; None: one each.
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
    >>> sol = mf.solve(mf.games.Bilinear(1.0), (mf.Vector(1.0), mf.Vector(0.0)), 1.0, 0.5, scheme=mf.JKO("implicit"))
    >>> float(sum(z @ z for z in sol.states[-1])).__round__(6)
    0.64
    """

    def __init__(
        self,
        coupling: str = "simultaneous",
        inner_steps: Any = None,
        *,
        tolerance: float = 1e-10,
        max_iterations: int = 500,
    ) -> None:
        super().__init__(coupling, inner_steps)
        self.tolerance = Tolerance(
            check.scalar("tolerance", tolerance, above=0.0), check.integer("max_iterations", max_iterations, least=1)
        )

    def check(self, players: Players, states: States) -> None:
        flat = [(m, x) for m, x in zip(players.metrics, states, strict=True) if not (isinstance(x, Histogram) and x.dim == 1)]
        for metric, x in flat:
            metric.chart(x)

    def advance(self, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        return solve_proximal(energy, metric, x, tau, self.tolerance)
