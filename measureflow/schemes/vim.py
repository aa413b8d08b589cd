"""The variational implicit midpoint rule (theory, 4.4 and 4.5)."""

from __future__ import annotations

from typing import Any, final

from measureflow.energies import Energy
from measureflow.errors import ConvergenceError, NotFiniteError, UnsupportedError, of_player
from measureflow.metrics import Metric
from measureflow.proximal import Step
from measureflow.schemes.base import Players
from measureflow.schemes.couplings import Result
from measureflow.schemes.info import States, StepInfo
from measureflow.schemes.minimizing import Minimizing
from measureflow.schemes.nash import regularised_nash
from measureflow.states import State

SECOND = ("symmetric", "implicit", "optimistic")


@final
class VIM(Minimizing):
    """Variational implicit midpoint: m = J_{tau/2}(x), then the geodesic from x to m at twice its length; second order.

    J_tau(x) = argmin_u E(u) + d(x, u)^2 / (2 tau). In flat spaces this is x+ = 2 m - x, projected on constraints and, for
    quantiles, on the cone of nondecreasing ones; where the geodesic between Gaussians ends before, the step fails and
    is tried again at half its size.

    Parameters
    ----------
    coupling : {"simultaneous", "alternating", "symmetric", "implicit", "extragradient", "optimistic"}
        See `Scheme`. Games are solved to second order by "implicit" (VIM-NASH: the midpoints are best replies to each other),
        "optimistic" (VIM-AB2: energies are extrapolated to the middle of the step, 3/2 E(.; now) - 1/2 E(.; before), after a
        symmetric first step) and "symmetric" (SYM-ALT: half a step of x, a step of y, half a step of x);
        to first order by the others.
    inner_steps : sequence of int, optional
        Steps of size tau that each player takes in one step of the scheme; None: one each. Not with "implicit".
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
    >>> sol = mf.solve(mf.games.Bilinear(1.0), (mf.Vector(1.0), mf.Vector(0.0)), 1.0, 0.5, scheme=mf.VIM("implicit"))
    >>> float(sum(z @ z for z in sol.states[-1])).__round__(6)
    1.0
    """

    ahead = 0.5

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
        if coupling == "implicit" and self.inner_steps is not None and max(self.inner_steps) > 1:
            raise ValueError(
                f"inner_steps must be None or ones with the coupling 'implicit' of midpoints, got {self.inner_steps}"
            )

    @property
    def order(self) -> int:
        return 2 if self.coupling in SECOND else 1

    def order_for(self, players: int) -> int:
        return 2 if players == 1 else self.order

    def advance(self, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        half = self.minimize(energy, metric, x, 0.5 * tau)
        state, distance = prolonged(metric, x, half.state, energy)
        return Step(state, distance, 2.0 * half.residual, half.iterations, half.method)

    def _midpoint(self, player: int, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        return self.minimize(energy, metric, x, 0.5 * tau)

    def step(self, players: Players, states: States, memory: Any, tau: float) -> Result:
        if self.coupling == "implicit":
            new, infos = self._nash(players, states, tau)
            return new, memory, infos
        if self.coupling == "optimistic" and memory[1] == 0.0:
            new, _, infos = self.coupled("symmetric", players, states, (), tau)
            return new, (states, tau), infos
        return super().step(players, states, memory, tau)

    def _nash(self, players: Players, states: States, tau: float) -> tuple[States, tuple[StepInfo, ...]]:
        """Return the prolongations of midpoints that are best replies to each other."""
        middles, halves = regularised_nash(self.move(players, tau, self._midpoint), players.metrics, states)
        results = []
        for player, (metric, x, half) in enumerate(zip(players.metrics, states, halves, strict=True)):
            with of_player(player):
                state, distance = prolonged(metric, x, middles[player], players.game.energy(player, middles))
            results.append((state, StepInfo(distance, 2.0 * half.residual, half.iterations)))
        return tuple(state for state, _ in results), tuple(info for _, info in results)

    def seen_by(self, player: int, old: States, new: States) -> States:
        if self.coupling == "implicit" and len(old) > 1:
            raise UnsupportedError("players of VIM('implicit') see midpoints, which are not rows of the solution")
        return super().seen_by(player, old, new)


def prolonged(metric: Metric, x: State, middle: State, energy: Energy) -> tuple[State, float]:
    """Return the end of the geodesic from x whose middle is given, projected on constraints, and its length.

    Raises
    ------
    ConvergenceError
        If the geodesic does not reach so far.
    """
    if middle is x:
        return x, 0.0
    chart = metric.chart(x)
    z = chart.project(energy.project(2.0 * chart.log(middle) - chart.origin))
    try:
        return chart.state(z), chart.norm(z - chart.origin)
    except NotFiniteError:
        raise
    except ValueError as error:
        raise ConvergenceError(
            f"the geodesic to the midpoint ends before twice its length ({error}); try a smaller tau"
        ) from error
