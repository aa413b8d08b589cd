"""The variational implicit midpoint rule, and its extrapolation (theory, 4.4 and 4.5)."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import suppress
from dataclasses import replace
from typing import Any, final

import numpy as np

from measureflow.energies import Energy
from measureflow.errors import ConvergenceError, NotFiniteError, UnsupportedError, of_player
from measureflow.metrics import Metric
from measureflow.proximal import Step
from measureflow.schemes.base import Players
from measureflow.schemes.couplings import Result
from measureflow.schemes.info import States, StepInfo
from measureflow.schemes.minimizing import Minimizing, flows_on_cells, on_cells, require_no_cap
from measureflow.schemes.nash import regularised_nash
from measureflow.states import Histogram, Quantiles, State

SECOND = ("symmetric", "implicit", "optimistic")


class Midpoint(Minimizing):
    """A scheme whose step is the geodesic from x to a midpoint at twice its length."""

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
        if flows_on_cells(metric, x):
            require_no_cap(energy, self)
            return _doubled(x, self.minimize(energy, metric, x, 0.5 * tau))
        half = self.minimize(energy, metric, x, 0.5 * tau)
        state, distance, projected = prolonged(metric, x, half.state, energy)
        if projected:
            return self.guarded(energy, metric, x, tau, Step(state, distance, 2.0 * half.residual, half.iterations, half.method))
        return Step(state, distance, 2.0 * half.residual, half.iterations, half.method)

    @abstractmethod
    def guarded(self, energy: Energy, metric: Metric, x: State, tau: float, projected: Step) -> Step:
        """Return the step where the geodesic ends before twice its length; `projected` ends on the constraints next to it."""

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
                state, distance, projected = prolonged(metric, x, middles[player], players.game.energy(player, middles))
            method = half.method + ", projected" * projected
            results.append((state, StepInfo(distance, 2.0 * half.residual, half.iterations, method)))
        return tuple(state for state, _ in results), tuple(info for _, info in results)

    def seen_by(self, player: int, old: States, new: States) -> States:
        if self.coupling == "implicit" and len(old) > 1:
            raise UnsupportedError("players of the implicit midpoint rule see midpoints, which are not rows of the solution")
        return super().seen_by(player, old, new)


@final
class VIM(Midpoint):
    """Variational implicit midpoint: u in argmin 2 E(mid(x, u)) + d(x, u)^2 / (2 tau), mid the middle of the geodesic; order 2.

    As long as the geodesic can be prolonged, this is m = J_{tau/2}(x), then the geodesic from x to m at twice its length, with
    J_tau(x) = argmin_u E(u) + d(x, u)^2 / (2 tau); in flat spaces x+ = 2 m - x. Where 2 m - x is no quantile function, u is
    sought on the cone of nondecreasing ones ("..., on the cone" in ``sol.info["method"]``); where kinks of the energy stop that
    search, and on other constraints, 2 m - x is projected ("..., projected"). Where the geodesic between Gaussians ends before,
    the step fails and is tried again at half its size.

    A `Histogram` takes linearised steps (implicit finite volumes, see ``JKO(inner="linearised")``, with the same energies): m is
    the step of size tau/2 and x+ has the masses 2 m - x, which is the implicit midpoint rule of the finite volumes. Where these
    were negative, they are blended with multiples of m on the smallest blocks of cells that allow it, which keeps mass and sign:
    then the method says "limited". Modes of the heat that tau does not resolve change sign in every step: prefer `BDF2` then.

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

    def guarded(self, energy: Energy, metric: Metric, x: State, tau: float, projected: Step) -> Step:
        if isinstance(x, Quantiles) and energy.bounds is None and energy.boxed:
            with suppress(ConvergenceError):  # a kink on the way, as of distances to a target
                step = self.minimize(_OfMiddle(energy, x), metric, x, tau)
                return replace(step, method=f"{step.method}, on the cone")
        return replace(projected, method=f"{projected.method}, projected")


@final
class ExtrapolatedVIM(Midpoint):
    """Extrapolated variational midpoint: m = J_{tau/2}(x), then the geodesic from x to m at twice its length; second order.

    J_tau(x) = argmin_u E(u) + d(x, u)^2 / (2 tau). In flat spaces this is x+ = 2 m - x, which is `VIM`. An end that is no law is
    projected on the nearest one: quantiles on the cone of nondecreasing ones, which is where it differs from `VIM`, other
    coordinates on their constraints; ``sol.info["method"]`` says "projected". Where the geodesic between Gaussians ends
    before, the step fails and is tried again at half its size. A `Histogram` takes the steps of `VIM`.

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
    >>> sol = mf.solve(mf.games.Bilinear(1.0), (mf.Vector(1.0), mf.Vector(0.0)), 1.0, 0.5, scheme=mf.ExtrapolatedVIM("implicit"))
    >>> float(sum(z @ z for z in sol.states[-1])).__round__(6)
    1.0
    """

    def guarded(self, energy: Energy, metric: Metric, x: State, tau: float, projected: Step) -> Step:
        return replace(projected, method=f"{projected.method}, projected")


@final
class _OfMiddle(Energy):
    """u -> 2 E((x + u)/2) on quantiles, whose gradient is that of E in the middle."""

    def __init__(self, energy: Energy, x: Quantiles) -> None:
        self.energy = energy
        self.x = x

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        middle = self.x.replace(0.5 * (self.x.values + state.coordinates))
        return 2.0 * self.energy.value(middle), self.energy.gradient(middle)


def _doubled(x: State, half: Step) -> Step:
    """Return the step that moves masses twice as far."""
    assert isinstance(x, Histogram) and isinstance(half.state, Histogram)
    law, limited = on_cells(2.0 * half.state.masses - x.masses, half.state)
    return Step(law, 2.0 * half.distance, 2.0 * half.residual, half.iterations, half.method + limited)


def prolonged(metric: Metric, x: State, middle: State, energy: Energy) -> tuple[State, float, bool]:
    """Return the end of the geodesic from x whose middle is given, its length, and whether it was projected on constraints.

    Raises
    ------
    ConvergenceError
        If the geodesic does not reach so far.
    """
    if middle is x:
        return x, 0.0, False
    chart = metric.chart(x)
    z = 2.0 * chart.log(middle) - chart.origin
    allowed = chart.project(energy.project(z))
    try:
        return chart.state(allowed), chart.norm(allowed - chart.origin), not np.array_equal(allowed, z)
    except NotFiniteError:
        raise
    except ValueError as error:
        raise ConvergenceError(
            f"the geodesic to the midpoint ends before twice its length ({error}); try a smaller tau"
        ) from error
