"""What a scheme is: a pure function that advances all players by one step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.errors import UnsupportedError, of_player
from measureflow.games import AbstractGame, Unrolled
from measureflow.metrics import Metric
from measureflow.proximal import Step
from measureflow.schemes.couplings import COMMON, COUPLINGS, Coupling, InTurn, Result
from measureflow.schemes.info import Move, States, StepInfo, joined
from measureflow.states import State

Advance = Callable[[int, Energy, Metric, State, float], Step]
"""(player, energy against frozen opponents, metric, state, step size) -> the step."""


@final
@dataclass(frozen=True, eq=False)
class Players:
    """A game with a metric and a speed for each player; speed eta means d^2 / eta, that is steps of size eta tau."""

    game: AbstractGame
    metrics: tuple[Metric, ...]
    speeds: tuple[float, ...]

    def __len__(self) -> int:
        return self.game.players

    def energies_and_slopes(self, states: States) -> tuple[np.ndarray, np.ndarray]:
        """Return every player's energy and metric slope |dE_k|, each (players,); a slope is NaN where the metric has no chart."""
        pairs = [self._energy_and_slope(k, states) for k in range(len(states))]
        return np.array([energy for energy, _ in pairs]), np.array([slope for _, slope in pairs])

    def _energy_and_slope(self, player: int, states: States) -> tuple[float, float]:
        with of_player(player):
            metric, x, energy = self.metrics[player], states[player], self.game.energy(player, states)
            value = energy.value(x)
        try:
            return value, metric.slope(x, metric.differential(energy, x))
        except (UnsupportedError, np.linalg.LinAlgError):
            return value, float("nan")

    def unrolled(self, steps: int, tau: float) -> Players:
        """Return the same players with a player 0 who foresees so many explicit steps of player 1, each as long as tau."""
        return Players(Unrolled(self.game, steps, self.speeds[1] * tau, self.metrics[1]), self.metrics, self.speeds)


class Scheme(ABC):
    """One time step of a flow: what a player does, times how players see each other.

    Parameters
    ----------
    coupling : {"simultaneous", "alternating", "symmetric", "implicit", "extragradient", "optimistic"}
        What players see of each other: the old states; the newest ones, in order; the newest ones in order and back, in half
        steps; the new ones (a regularised Nash point); predicted ones, of a simultaneous step; the old ones, with energies
        extrapolated from the step before.
    inner_steps : sequence of int, optional
        Steps of size tau that each player takes in one step of the scheme; None: one each.
    turns : sequence of int, optional
        For "alternating", "symmetric" and "adjoint" the order in which players move; None: by their numbers, (0, 1, ...).
    unrolled : int
        Explicit steps of player 1 that player 0 foresees and differentiates through, in zero-sum games (`games.Unrolled`).

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    """

    couplings: ClassVar[tuple[str, ...]] = COMMON
    """Couplings that this scheme has."""

    ahead: ClassVar[float] = 1.0
    """Where in the step the coupling "optimistic" wants the opponents, as a share of tau: at its end, or at 1/2 in its middle."""

    unrolled: int = 0

    def __init__(self, coupling: str = "simultaneous", inner_steps: Any = None, *, turns: Any = None, unrolled: int = 0) -> None:
        self.coupling = check.choice("coupling", coupling, self.couplings)
        self.inner_steps = None if inner_steps is None else _counts(inner_steps)
        self.turns = None if turns is None else _turns(turns, self.coupling)
        self.unrolled = check.integer("unrolled", unrolled, least=0)

    @property
    def rule(self) -> Coupling:
        """Who sees what."""
        rule = COUPLINGS[self.coupling]
        return type(rule)(self.turns) if isinstance(rule, InTurn) and self.turns is not None else rule

    @property
    def order(self) -> int:
        """Order of convergence in tau, for games of two and more players."""
        return 1

    def order_for(self, players: int) -> int:
        """Return the order of convergence in tau for so many players; one alone is a gradient flow, without coupling."""
        return self.order

    @abstractmethod
    def advance(self, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        """Advance one player against frozen opponents by one step of size tau."""

    def adjoint(self, player: int, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        """Advance one player by the adjoint of `advance`, the inverse of the step of size -tau."""
        raise UnsupportedError(f"{type(self).__name__} has no adjoint step")

    def advance_player(self, player: int, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        """Advance a player that knows its number; for schemes that treat all alike this is `advance`."""
        return self.advance(energy, metric, x, tau)

    def check(self, players: Players, states: States) -> None:
        """Raise UnsupportedError if a player's metric has no flow on its state, or the game cannot be played so."""
        for metric, x in zip(players.metrics, states, strict=True):
            metric.chart(x)
        self.check_game(players, states)

    def check_game(self, players: Players, states: States) -> None:
        """Raise ValueError or UnsupportedError if `turns` or `unrolled` do not suit the game."""
        if self.turns is not None and len(self.turns) != len(players):
            raise ValueError(f"turns must hold each of the {len(players)} players once, got {self.turns}")
        if self.unrolled:
            if len(players) != 2:
                raise UnsupportedError(f"unrolled={self.unrolled} needs a zero-sum game of two players, got {len(players)}")
            players.unrolled(self.unrolled, 1.0).game.check(states)

    @property
    def comparable(self) -> bool:
        """Whether a step and two half steps differ by their errors, so that step doubling makes sense."""
        return True

    def check_steps(self, automatic: bool) -> None:
        """Raise ValueError if steps cannot be chosen by step doubling."""
        if automatic and not self.comparable:
            raise ValueError(f"tau must be a positive number, got 'auto', which cannot compare the steps of {self!r}")

    def init(self, players: Players, states: States) -> Any:
        """Return the memory that `step` needs, () for one-step schemes."""
        return self.rule.init(states)

    def step(self, players: Players, states: States, memory: Any, tau: float) -> Result:
        """Advance all players by tau: (states, memory, tau) -> (new states, new memory, one StepInfo a player)."""
        return self.coupled(self.coupling, players, states, memory, tau)

    def coupled(self, coupling: str, players: Players, states: States, memory: Any, tau: float) -> Result:
        """Advance all players by tau with a coupling of this name."""
        rule = self.rule if coupling == self.coupling else COUPLINGS[coupling]
        return rule.step(self.move(players, tau, self.advance_player), players.metrics, states, memory, tau)

    def move(self, players: Players, tau: float, advance: Advance) -> Move:
        """Return the function that advances one player by `advance`, in a step of size tau."""
        counts = self.inner_steps or (1,) * len(players)
        if len(counts) != len(players):
            raise ValueError(f"inner_steps must have one entry for each of the {len(players)} players, got {counts}")
        game = (players.unrolled(self.unrolled, tau) if self.unrolled else players).game

        def move(
            player: int,
            own: State,
            seen: States,
            share: float = 1.0,
            past: States | None = None,
            ratio: float = 0.0,
            adjoint: bool = False,
        ) -> tuple[State, StepInfo]:
            with of_player(player):
                energy = game.energy(player, seen)
                if past is not None and ratio != 0.0:
                    energy = _extrapolated(energy, game.energy(player, past), self.ahead * ratio)
                size = share * players.speeds[player] * tau
                do = self.adjoint if adjoint else advance
                return _repeat(do, counts[player], player, energy, players.metrics[player], own, size)

        return move

    def seen_by(self, player: int, old: States, new: States) -> States:
        """Return the states that a player saw during the step from `old` to `new`, its own entry old.

        Raises
        ------
        UnsupportedError
            If the coupling shows players states that are neither old nor new, or `unrolled` ones.
        """
        if self.unrolled:
            raise UnsupportedError(f"with unrolled={self.unrolled} player 0 sees states that are not rows of the solution")
        seen = self.rule.seen_by(player, old, new)
        if seen is None:
            raise UnsupportedError(f"players of the coupling {self.coupling!r} see states that are not rows of the solution")
        return seen

    def __repr__(self) -> str:
        inner = "" if self.inner_steps is None else f", inner_steps={self.inner_steps}"
        inner += "" if self.turns is None else f", turns={self.turns}"
        foreseen = f", unrolled={self.unrolled}" if self.unrolled else ""
        return f"{type(self).__name__}(coupling={self.coupling!r}{inner}{foreseen})"


def _repeat(
    advance: Advance, count: int, player: int, energy: Energy, metric: Metric, x: State, tau: float
) -> tuple[State, StepInfo]:
    distance, residual, iterations, method = 0.0, 0.0, 0, ""
    for _ in range(count):
        step = advance(player, energy, metric, x, tau)
        x = step.state
        distance += step.distance
        residual = max(residual, step.residual)
        iterations += step.iterations
        method = joined(method, step.method)
    return x, StepInfo(distance, residual, iterations, method)


def _extrapolated(now: Energy, before: Energy, weight: float) -> Energy:
    """Return (1 + w) E_now - w E_before; an energy that does not depend on the opponents is itself."""
    return now if now is before else (1.0 + weight) * now - weight * before


def _turns(turns: Any, coupling: str) -> tuple[int, ...]:
    order = tuple(check.integer("turns", k, least=0) for k in check.entries("turns", turns, None, "every player once, in order"))
    if sorted(order) != list(range(len(order))):
        raise ValueError(f"turns must hold every player once, got {order}")
    if not isinstance(COUPLINGS[coupling], InTurn):
        raise ValueError(f"turns must be None for the coupling {coupling!r}, in which players move together, got {order}")
    return order


def _counts(inner_steps: Any) -> tuple[int, ...]:
    counts = check.entries("inner_steps", inner_steps, None, "an integer >= 1 a player")
    return tuple(check.integer("inner_steps", k, least=1) for k in counts)
