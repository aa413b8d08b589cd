"""Games: every player has an energy that depends on the other players."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.energies.function import returned_gradient
from measureflow.states import Particles, State

States = tuple[State, ...]


class AbstractGame(ABC):
    """Energies E_i(x_i; the others) of two or more players.

    A scheme sees a game only through `energy(i, states)`: player i's energy with the opponents frozen, a function of one
    state like any other.
    """

    players: int = 2
    _frozen_energies: dict[int, tuple[States, Energy]]

    @abstractmethod
    def _frozen(self, player: int, others: States) -> Energy:
        """Return the energy of a player against frozen opponents."""

    def check(self, states: States) -> None:
        """Raise TypeError or ValueError if these states cannot play this game."""
        for k, state in enumerate(states):
            check.instance(f"initial[{k}]", state, State, "a state")

    def minibatch(self, size: int, rng: np.random.Generator) -> AbstractGame | None:
        """Return the game against `size` random atoms of its target; None if it has no target of atoms."""
        return None

    def thinned(self, size: int, rng: np.random.Generator) -> AbstractGame:
        """Return the game in which every player sees only `size` random atoms of the other players' `Particles`."""
        return Thinned(self, size, int(rng.integers(2**31)))

    @property
    def zero_sum(self) -> bool:
        """Whether there are two players and E_1 = -E_0 as functions of both states: player 0 descends J, player 1 ascends it."""
        return False

    def best_response(self, player: int, states: States) -> State | None:
        """Return a minimiser of the energy of `player` against the others of `states`; None if none is known in closed form."""
        return None

    def invariants(self, metrics: Sequence[Any], speeds: Sequence[float]) -> dict[str, Callable[[States], float]]:
        """Return functions of the states, by name, that the exact flow with these metrics and speeds conserves."""
        return {}

    @final
    def energy(self, player: int, states: Sequence[State]) -> Energy:
        """Return the energy of `player` against the other players of `states`, its own entry ignored.

        Raises
        ------
        TypeError, ValueError
            If `player` or `states` do not fit the game.
        """
        player = check.integer("player", player, least=0, most=self.players - 1)
        states = check.entries("states", states, self.players, "one state a player")
        for k, state in enumerate(states):
            check.instance(f"states[{k}]", state, State, "a state")
        others = tuple(state for k, state in enumerate(states) if k != player)
        cache = self.__dict__.setdefault("_frozen_energies", {})
        kept = cache.get(player)
        if kept is None or any(a is not b for a, b in zip(kept[0], others, strict=True)):
            kept = cache[player] = (others, self._frozen(player, others))
        return kept[1]


@final
class Thinned(AbstractGame):
    """A game in which opponents are `size` random atoms of their laws, the same ones for all who see them."""

    def __init__(self, game: AbstractGame, size: int, seed: int) -> None:
        self.game = game
        self.size = size
        self.seed = seed
        self.players = game.players

    def _frozen(self, player: int, others: States) -> Energy:
        places = [k for k in range(self.players) if k != player]
        seen = [self._part(k, other) for k, other in zip(places, others, strict=True)]
        return self.game.energy(player, (*seen[:player], others[0], *seen[player:]))

    def _part(self, player: int, state: State) -> State:
        """Return random equal atoms of Particles, without replacement if their weights are equal; other states as they are."""
        if not isinstance(state, Particles) or len(state) <= self.size:
            return state
        rng = np.random.default_rng((self.seed, player))
        equal = bool(np.all(state.weights == state.weights[0]))
        chosen = rng.choice(len(state), size=self.size, replace=not equal, p=None if equal else state.weights)
        return Particles(state.points[chosen])


@final
class FrozenFunction(Energy):
    """The energy own -> f(own, others) of a user's function that returns (value, gradient)."""

    def __init__(self, name: str, f: Callable[[State], Any]) -> None:
        self.name = name
        self.f = f

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        result = self.f(state)
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise check.CallbackError(f"{self.name} must return (value, gradient), got {check.show(result)}")
        value = check.returned_scalar(f"the value of {self.name}", result[0])
        return value, returned_gradient(f"the gradient of {self.name}", result[1], state)


@final
class Game(AbstractGame):
    """A game of the user's own energies; one energy alone is a gradient flow.

    Parameters
    ----------
    energies : sequence
        One entry a player: a function f_i(own, others) that returns (value, gradient in own), with `own` a state and `others` the
        tuple of the other players' states in order; or an `Energy`, for a player that ignores the others. The gradient is
        the one of the player's metric, as `Energy.gradient` describes it.

    Raises
    ------
    TypeError, ValueError
        If an entry is neither.

    Examples
    --------
    >>> from measureflow import Vector
    >>> chase = Game([lambda x, o: (((x - o[0]) ** 2).sum() / 2, x - o[0]), lambda y, o: ((y @ y) / 2, y - 0)])
    >>> chase.energy(0, (Vector([1.0]), Vector([3.0]))).gradient(Vector([1.0]))
    array([-2.])
    """

    def __init__(self, energies: Sequence[Any]) -> None:
        if isinstance(energies, (str, bytes)) or not isinstance(energies, Sequence):
            raise TypeError(f"energies must be a sequence of functions or Energy objects, got {check.show(energies)}")
        if not energies:
            raise ValueError("energies must have at least one entry, got none")
        for k, entry in enumerate(energies):
            if not isinstance(entry, Energy):
                check.function(f"energies[{k}]", entry)
        self.energies = tuple(energies)
        self.players = len(self.energies)

    def _frozen(self, player: int, others: States) -> Energy:
        entry = self.energies[player]
        if isinstance(entry, Energy):
            return entry
        return FrozenFunction(f"energies[{player}]", lambda own: entry(own, others))

    def minibatch(self, size: int, rng: np.random.Generator) -> AbstractGame | None:
        drawn = [entry.minibatch(size, rng) if isinstance(entry, Energy) else None for entry in self.energies]
        if all(entry is None for entry in drawn):
            return None
        return Game([new or old for old, new in zip(self.energies, drawn, strict=True)])


@final
class ZeroSum(AbstractGame):
    """Two players and one payoff: player 0 descends it, player 1 ascends it.

    Parameters
    ----------
    payoff : callable
        (x, y) -> (J, gradient of J in x, gradient of J in y), with x and y states and gradients as `Energy.gradient` has
        them.

    Raises
    ------
    TypeError
        If payoff is not a function.

    Examples
    --------
    >>> from measureflow import Vector
    >>> game = ZeroSum(lambda x, y: (x @ y, y - 0, x - 0))
    >>> game.energy(1, (Vector([2.0]), Vector([3.0]))).value(Vector([3.0]))
    -6.0
    """

    def __init__(self, payoff: Callable[[Any, Any], tuple[Any, Any, Any]]) -> None:
        self.payoff = check.function("payoff", payoff)

    @property
    def zero_sum(self) -> bool:
        return True

    def _frozen(self, player: int, others: States) -> Energy:
        opponent = others[0]

        def signed(own: State) -> tuple[float, np.ndarray]:
            result = self.payoff(own, opponent) if player == 0 else self.payoff(opponent, own)
            if not isinstance(result, (tuple, list)) or len(result) != 3:
                raise check.CallbackError(f"payoff must return (value, gradient in x, gradient in y), got {check.show(result)}")
            sign = 1.0 if player == 0 else -1.0
            value = check.returned_scalar("the value of payoff", result[0])
            return sign * value, sign * returned_gradient("the gradients of payoff", result[1 + player], own)

        return FrozenFunction("payoff", signed)
