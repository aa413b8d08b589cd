"""Consensus optimisation (Mescheder, Nowozin, Geiger 2017; theory, sections 6 and 7.1)."""

from __future__ import annotations

from typing import final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.errors import UnsupportedError
from measureflow.games.base import AbstractGame, States
from measureflow.games.differences import Derived, along, largest, require_free
from measureflow.metrics import natural
from measureflow.states import State

COORDINATES = 200
"""Largest number of coordinates of all players for which a full matrix of differences is taken."""


@final
class Consensus(AbstractGame):
    """A game whose players all pay (gamma/2) |v|^2 in addition, v the velocity of the game: the flow is v - gamma grad |v|^2 / 2.

    Its equilibria are those of the game, and others where |v| has a minimum; on J = omega x y the eigenvalues of the flow are
    -gamma omega^2 +- i omega.

    Parameters
    ----------
    game : game
        Its players are `Vector`, `Particles` or `Field` in their natural metrics; unless it is zero-sum, they have at most
        200 coordinates together.
    gamma : float
        Nonnegative.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    Second derivatives are central differences of gradients along displacements of 1e-3; for zero-sum games grad |v|^2 / 2 is the
    derivative of grad J along grad J, else every coordinate is displaced.

    Examples
    --------
    >>> import measureflow as mf
    >>> game = mf.games.Consensus(mf.games.Bilinear(1.0), 0.5)
    >>> states = mf.Vector([1.0]), mf.Vector([3.0])
    >>> game.energy(0, states).gradient(states[0]).round(9)
    array([3.5])
    """

    def __init__(self, game: AbstractGame, gamma: float) -> None:
        self.game = check.instance("game", game, AbstractGame, "a game")
        if game.players < 2:
            raise UnsupportedError(f"game must have two or more players, got {game.players}")
        self.gamma = check.scalar("gamma", gamma, least=0.0)
        self.players = game.players

    def check(self, states: States) -> None:
        self.game.check(states)
        for k, state in enumerate(states):
            require_free(f"initial[{k}]", state)
        self.require_small(states)

    def require_small(self, states: States) -> None:
        """Raise UnsupportedError if the game has too many coordinates for a full matrix of differences."""
        count = sum(state.coordinates.size for state in states)
        if not self.game.zero_sum and count > COORDINATES:
            raise UnsupportedError(
                f"game must be zero-sum, or have at most {COORDINATES} coordinates, for a consensus term; got {count} coordinates"
            )

    def minibatch(self, size: int, rng: np.random.Generator) -> AbstractGame | None:
        drawn = self.game.minibatch(size, rng)
        return None if drawn is None else Consensus(drawn, self.gamma)

    def _frozen(self, player: int, others: States) -> Energy:
        return _Damped(self, player, others)

    def __repr__(self) -> str:
        return f"Consensus({self.game!r}, gamma={self.gamma:g})"


@final
class _Damped(Derived):
    """x_i -> E_i + (gamma/2) |v|^2 against frozen opponents."""

    def __init__(self, consensus: Consensus, player: int, others: States) -> None:
        self.consensus, self.game = consensus, consensus.game
        self.player, self.others = player, others

    def _states(self, own: State) -> States:
        return (*self.others[: self.player], own, *self.others[self.player :])

    @property
    def _own(self) -> Energy:
        return self.game.energy(self.player, self._states(self.others[0]))

    def _slopes(self, states: States) -> list[np.ndarray]:
        return [self.game.energy(k, states).gradient(x) for k, x in enumerate(states)]

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        states = self._states(state)
        for k, x in enumerate(states):
            require_free(f"states[{k}]", x)
        self.consensus.require_small(states)
        value, slope = self.game.energy(self.player, states).value_and_gradient(state)
        slopes, gamma = self._slopes(states), self.consensus.gamma
        charts = [natural(x).chart(x) for x in states]
        speed = sum(chart.inner(a, a) for chart, a in zip(charts, slopes, strict=True))
        if gamma == 0.0 or speed == 0.0:
            return value, slope.copy()
        term = self._along_payoff(states, slopes) if self.game.zero_sum else self._by_coordinates(states, slopes)
        return value + 0.5 * gamma * speed, slope + gamma * term

    def _along_payoff(self, states: States, slopes: list[np.ndarray]) -> np.ndarray:
        """Return this player's part of the derivative of grad J along grad J = (g_0, -g_1)."""
        directions = (slopes[0], -slopes[1])

        def slope(s: float) -> np.ndarray:
            moved = tuple(x.replace(x.coordinates + s * way) for x, way in zip(states, directions, strict=True))
            return self.game.energy(self.player, moved).gradient(moved[self.player])

        derivative = along(slope, largest(*directions), largest(*(x.coordinates for x in states)))
        return derivative if self.player == 0 else -derivative

    def _by_coordinates(self, states: States, slopes: list[np.ndarray]) -> np.ndarray:
        """Return the gradient in this player's coordinates of half the sum of |g_j|^2."""
        own = states[self.player]
        charts = [natural(x).chart(x) for x in states]
        term, size = np.empty(own.coordinates.shape), largest(own.coordinates)
        for index in np.ndindex(term.shape):
            unit = np.zeros(term.shape)
            unit[index] = 1.0

            def all_slopes(s: float, way: np.ndarray = unit) -> np.ndarray:
                return np.concatenate([a.ravel() for a in self._slopes(self._states(own.replace(own.coordinates + s * way)))])

            changes = along(all_slopes, 1.0, size)
            parts = np.split(changes, np.cumsum([a.size for a in slopes])[:-1])
            sizes = (c.inner(d.reshape(a.shape), a) for c, d, a in zip(charts, parts, slopes, strict=True))
            term[index] = sum(sizes) / charts[self.player].inner(unit, unit)
        return term
