"""Explicit Euler steps along geodesics."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from measureflow.energies import Energy
from measureflow.errors import of_player
from measureflow.games import AbstractGame
from measureflow.metrics import Metric
from measureflow.proximal import Step
from measureflow.schemes.base import Players, Scheme
from measureflow.schemes.couplings import Result
from measureflow.schemes.info import States, StepInfo
from measureflow.schemes.minimizing import flows_on_cells, on_cells, projected
from measureflow.states import State


@final
class Explicit(Scheme):
    """Explicit Euler: x+ = exp_x(-tau grad E(x)), projected on constraints; first order, stable for small tau only.

    With coupling "simultaneous" and "alternating" these are the GDA-SIM and GDA-ALT of theory section 4.2, with "extragradient"
    Korpelevich's x+ = exp_x(-tau v(z~)) at the simultaneous prediction z~, with "optimistic" OGDA's x+ = exp_x(-tau (2 v_n -
    v_{n-1})); there v is the whole gradient, own part included, carried to the chart at x.

    A `Histogram` under W2 takes explicit steps of its finite volumes, as many in one step as keep them monotone
    (``sol.info["iterations"]`` says how many): masses stay nonnegative and the flow stable for every tau. Not with
    "extragradient" and "optimistic".

    Parameters
    ----------
    coupling : {"simultaneous", "alternating", "symmetric", "implicit", "extragradient", "optimistic"}
        See `Scheme`.
    inner_steps : sequence of int, optional
        Steps of size tau that each player takes in one step of the scheme; None: one each. Not for "extragradient" and
        "optimistic", which move all players at once.
    turns : sequence of int, optional
        The order in which players move, see `Scheme`.
    unrolled : int
        Explicit steps of player 1 that player 0 foresees and differentiates through, in zero-sum games (`games.Unrolled`).

    Examples
    --------
    >>> import measureflow as mf
    >>> mf.solve(mf.energies.Quadratic(), mf.Vector(1.0), 1.0, 0.5, scheme=mf.Explicit()).states[-1]
    Vector([0.25])
    """

    def __init__(self, coupling: str = "simultaneous", inner_steps: Any = None, *, turns: Any = None, unrolled: int = 0) -> None:
        super().__init__(coupling, inner_steps, turns=turns, unrolled=unrolled)
        if coupling in AT_ONCE and max(self.inner_steps or (1,)) > 1:
            raise ValueError(f"inner_steps must be 1 for the coupling {coupling!r}, got {self.inner_steps}")

    def check(self, players: Players, states: States) -> None:
        charts = self.coupling in AT_ONCE or (self.coupling == "implicit" and len(players) > 1)
        for metric, x in zip(players.metrics, states, strict=True):
            if charts or not flows_on_cells(metric, x):
                metric.chart(x)
        self.check_game(players, states)

    def advance(self, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        return euler_on_cells(energy, x, tau) if flows_on_cells(metric, x) else explicit_step(energy, metric, x, tau)

    def coupled(self, coupling: str, players: Players, states: States, memory: Any, tau: float) -> Result:
        if coupling not in AT_ONCE:
            return super().coupled(coupling, players, states, memory, tau)
        game = (players.unrolled(self.unrolled, tau) if self.unrolled else players).game
        if coupling == "extragradient":
            predicted, _, _ = super().coupled("simultaneous", players, states, (), tau)
            velocities: tuple[tuple[float, States], ...] = ((1.0, predicted),)
        else:
            past, before = memory
            ratio = tau / before if before > 0.0 else 0.0
            velocities, memory = ((1.0 + ratio, states), (-ratio, past))[: 2 if ratio else 1], (states, tau)
        steps = [_along(game, player, players, states, velocities, tau) for player in range(len(states))]
        infos = tuple(StepInfo(step.distance, 0.0, 0, step.method) for step in steps)
        return tuple(step.state for step in steps), memory, infos


AT_ONCE = ("extragradient", "optimistic")
"""Couplings whose steps follow gradients at other points, the players' own among them."""


def _along(
    game: AbstractGame, player: int, players: Players, states: States, at: tuple[tuple[float, States], ...], tau: float
) -> Step:
    """Return the step from a player's own state along the sum of factors times the gradients at other points."""
    with of_player(player):
        metric = players.metrics[player]
        chart = metric.chart(states[player])
        total = np.zeros(chart.origin.shape)
        for factor, there in at:
            differential = metric.differential(game.energy(player, there), there[player])
            total += factor * chart.pull(chart.log(there[player]), differential)
        energy = game.energy(player, at[0][1])
        z = chart.project(energy.project(chart.origin - players.speeds[player] * tau * total))
        return Step(chart.state(z), chart.norm(z - chart.origin), method="explicit")


def euler_on_cells(energy: Energy, x: State, tau: float) -> Step:
    """Return the explicit steps of finite volumes that make one step of size tau."""
    from measureflow.proximal.semidiscrete import CellRates, substep  # numba is loaded at first use

    left, length, count, fallback = tau, 0.0, 0, ""
    while left > 0.0:
        rates = CellRates.of(energy, x)
        size = substep(left, rates.fastest, tau)
        length += rates.length(size)
        x, limited = on_cells(x.coordinates + size * rates.masses, x)
        left, count, fallback = left - size, count + 1, fallback or limited
    return Step(x, length, 0.0, count, "explicit" + fallback)


def explicit_step(energy: Energy, metric: Metric, x: State, tau: float, push: np.ndarray | float = 0.0) -> Step:
    """Return exp_x(-tau grad E(x) + push), projected on constraints."""
    chart = metric.chart(x)
    slope = chart.pull(chart.origin, metric.differential(energy, x))
    z = chart.origin - tau * slope + push
    allowed = chart.project(energy.project(z))
    return Step(chart.state(allowed), chart.norm(allowed - chart.origin), method="explicit" + projected(allowed, z))
