"""Minimizing movements (Jordan, Kinderlehrer, Otto)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, final

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.errors import UnsupportedError
from measureflow.metrics import Metric
from measureflow.proximal import Step, solve_proximal
from measureflow.schemes.base import Players
from measureflow.schemes.couplings import COUPLINGS
from measureflow.schemes.explicit import explicit_step
from measureflow.schemes.info import States
from measureflow.schemes.minimizing import Minimizing, flows_on_cells
from measureflow.states import State


@final
class JKO(Minimizing):
    """Minimizing movements: x+ = argmin_u E(u) + d(x, u)^2 / (2 tau); first order, unconditionally stable for convex E.

    Parameters
    ----------
    coupling : {"simultaneous", "alternating", "symmetric", "implicit", "extragradient", "optimistic", "adjoint"}
        See `Scheme`. "simultaneous" is explicit in the coupling: on bilinear games it is simultaneous gradient descent-ascent.
        "adjoint" is ALT-ADJ of theory section 4.5, of order 2: an alternating step of tau/2, then explicit steps of tau/2 in
        the reverse order of the players.
    inner_steps : sequence of int, optional
        Steps of size tau that each player takes in one step of the scheme; None: one each.
    turns : sequence of int, optional
        The order in which players move, see `Scheme`.
    unrolled : int
        Explicit steps of player 1 that player 0 foresees and differentiates through, in zero-sum games (`games.Unrolled`).
    tolerance : float
        Residual at which an inner solver stops, a distance relative to max(1, size of the state). On grids of two and three
        dimensions, and glued ones, a step stops at a residual of 3e7 times this, at most 1e-2, of the distance it moved.
    max_iterations : int
        Iterations after which an inner solver raises ConvergenceError.
    inner : {"exact", "linearised"}
        "linearised" replaces W2 by a weighted H^-1 norm in the steps of every `Histogram` player: implicit finite volumes
        (Cances, Gallouet and Todeschi), of first order in tau too, on grids of 1 to 3 dimensions with walls, glued sides and
        `energies.Obstacle`, at the cost of a few multigrid solves. Mass is kept, densities stay nonnegative and the energy
        decreases. Energies are listed in the notes.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    Energies of a `Histogram` under W2 are sums of these:

    * exact, on grids of two and three dimensions and glued ones: Entropy, KL and PowerEntropy (of one power) with positive
      factors, Potential, Quadratic, CellPotential, Congestion, and the nonlocal Interaction, QuadraticInteraction, MMD and
      EnergyDistance; on a line with walls every energy that is defined on histograms, but Obstacle;
    * linearised: the same as on grids, with PowerEntropy of several powers, and Obstacle.

    Examples
    --------
    >>> import measureflow as mf
    >>> sol = mf.solve(mf.games.Bilinear(1.0), (mf.Vector(1.0), mf.Vector(0.0)), 1.0, 0.5, scheme=mf.JKO("implicit"))
    >>> float(sum(z @ z for z in sol.states[-1])).__round__(6)
    0.64
    """

    couplings = tuple(COUPLINGS)

    def __init__(
        self,
        coupling: str = "simultaneous",
        inner_steps: Any = None,
        *,
        turns: Any = None,
        unrolled: int = 0,
        tolerance: float = 1e-10,
        max_iterations: int = 500,
        inner: str = "exact",
    ) -> None:
        super().__init__(
            coupling, inner_steps, turns=turns, unrolled=unrolled, tolerance=tolerance, max_iterations=max_iterations
        )
        self.tolerance = replace(self.tolerance, inner=check.choice("inner", inner, ("exact", "linearised")))

    @property
    def order(self) -> int:
        return 2 if self.coupling == "adjoint" and not self.unrolled else 1

    def check(self, players: Players, states: States) -> None:
        if self.tolerance.inner == "linearised" and not any(map(self._linearised, players.metrics, states)):
            raise UnsupportedError("inner='linearised' is for a Histogram under Wasserstein(p=2)")
        for player, (metric, x) in enumerate(zip(players.metrics, states, strict=True)):
            charts = self.coupling == "adjoint" or (self.coupling == "implicit" and player > 0)
            if charts or not flows_on_cells(metric, x):
                metric.chart(x)
        self.check_game(players, states)

    def _linearised(self, metric: Metric, x: State) -> bool:
        """Return whether a player's steps are linearised ones."""
        return self.tolerance.inner == "linearised" and self.coupling != "adjoint" and flows_on_cells(metric, x)

    def advance(self, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        if self._linearised(metric, x):
            return self.minimize(energy, metric, x, tau)
        return solve_proximal(energy, metric, x, tau, replace(self.tolerance, inner="exact"))

    def __repr__(self) -> str:
        inner = "" if self.tolerance.inner == "exact" else f", inner={self.tolerance.inner!r}"
        return f"{super().__repr__()[:-1]}{inner})"

    def adjoint(self, player: int, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        return explicit_step(energy, metric, x, tau)
