"""What a scheme is: a pure function that advances all players by one step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.errors import UnsupportedError, of_player
from measureflow.games import AbstractGame
from measureflow.metrics import Metric
from measureflow.proximal import Step
from measureflow.schemes.couplings import COUPLINGS
from measureflow.schemes.info import States, StepInfo
from measureflow.states import State


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
            value, gradient = self.game.energy(player, states).value_and_gradient(states[player])
        try:
            return value, self.metrics[player].slope(states[player], gradient)
        except (UnsupportedError, np.linalg.LinAlgError):
            return value, float("nan")


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

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.
    """

    order: int = 1
    """Order of convergence in tau."""

    def __init__(self, coupling: str = "simultaneous", inner_steps: Any = None) -> None:
        self.coupling = check.choice("coupling", coupling, tuple(COUPLINGS))
        self.inner_steps = None if inner_steps is None else _counts(inner_steps)

    @abstractmethod
    def advance(self, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        """Advance one player against frozen opponents by one step of size tau."""

    def check(self, players: Players, states: States) -> None:
        """Raise UnsupportedError if a player's metric has no flow on its state."""
        for metric, x in zip(players.metrics, states, strict=True):
            metric.chart(x)

    def init(self, players: Players, states: States) -> Any:
        """Return the memory that `step` needs, () for one-step schemes."""
        return COUPLINGS[self.coupling].init(states)

    def step(self, players: Players, states: States, memory: Any, tau: float) -> tuple[States, Any, tuple[StepInfo, ...]]:
        """Advance all players by tau: (states, memory, tau) -> (new states, new memory, one StepInfo a player)."""
        counts = self.inner_steps or (1,) * len(players)
        if len(counts) != len(players):
            raise ValueError(f"inner_steps must have one entry for each of the {len(players)} players, got {counts}")

        def move(
            player: int, own: State, seen: States, share: float = 1.0, past: States | None = None, weight: float = 0.0
        ) -> tuple[State, StepInfo]:
            with of_player(player):
                energy = players.game.energy(player, seen)
                if past is not None and weight != 0.0:
                    energy = _extrapolated(energy, players.game.energy(player, past), weight)
                size = share * players.speeds[player] * tau
                return self._repeat(energy, players.metrics[player], own, size, counts[player])

        return COUPLINGS[self.coupling].step(move, players.metrics, states, memory, tau)

    def seen_by(self, player: int, old: States, new: States) -> States:
        """Return the states that a player saw during the step from `old` to `new`, its own entry old.

        Raises
        ------
        UnsupportedError
            If the coupling shows players states that are neither old nor new.
        """
        seen = COUPLINGS[self.coupling].seen_by(player, old, new)
        if seen is None:
            raise UnsupportedError(f"players of the coupling {self.coupling!r} see states that are not rows of the solution")
        return seen

    def _repeat(self, energy: Energy, metric: Metric, x: State, tau: float, count: int) -> tuple[State, StepInfo]:
        distance, residual, iterations = 0.0, 0.0, 0
        for _ in range(count):
            step = self.advance(energy, metric, x, tau)
            x = step.state
            distance += step.distance
            residual = max(residual, step.residual)
            iterations += step.iterations
        return x, StepInfo(distance, residual, iterations)

    def __repr__(self) -> str:
        inner = "" if self.inner_steps is None else f", inner_steps={self.inner_steps}"
        return f"{type(self).__name__}(coupling={self.coupling!r}{inner})"


def _extrapolated(now: Energy, before: Energy, weight: float) -> Energy:
    """Return (1 + w) E_now - w E_before; an energy that does not depend on the opponents is itself."""
    return now if now is before else (1.0 + weight) * now - weight * before


def _counts(inner_steps: Any) -> tuple[int, ...]:
    counts = check.entries("inner_steps", inner_steps, None, "an integer >= 1 a player")
    return tuple(check.integer("inner_steps", k, least=1) for k in counts)
