"""Minimizing movements (Jordan, Kinderlehrer, Otto)."""

from __future__ import annotations

from typing import final

from measureflow.energies import Energy
from measureflow.metrics import Metric
from measureflow.proximal import Step
from measureflow.schemes.base import Players
from measureflow.schemes.couplings import COUPLINGS
from measureflow.schemes.explicit import explicit_step
from measureflow.schemes.info import States
from measureflow.schemes.minimizing import Minimizing
from measureflow.states import Histogram, State


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

    couplings = tuple(COUPLINGS)

    @property
    def order(self) -> int:
        return 2 if self.coupling == "adjoint" and not self.unrolled else 1

    def check(self, players: Players, states: States) -> None:
        flat = [(m, x) for m, x in zip(players.metrics, states, strict=True) if not self._on_cells(x)]
        for metric, x in flat:
            metric.chart(x)
        self.check_game(players, states)

    def _on_cells(self, x: State) -> bool:
        """Return whether a state has minimizing movements, though no charts."""
        return isinstance(x, Histogram) and x.dim == 1 and self.coupling != "adjoint"

    def advance(self, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        return self.minimize(energy, metric, x, tau)

    def adjoint(self, player: int, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        return explicit_step(energy, metric, x, tau)
