"""The duality gap (Nikaido-Isoda function) of a game along a computed flow (theory, D3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from measureflow import _validate as check
from measureflow.diagnostics.averages import averaged_states
from measureflow.errors import UnsupportedError
from measureflow.games import AbstractGame
from measureflow.games.linear import quadratic_minimiser
from measureflow.states import State

if TYPE_CHECKING:
    from measureflow.solution import Solution

Response = Callable[[int, tuple[State, ...]], Any]


def regrets(sol: Solution, averaged: bool, best_response: Any) -> np.ndarray:
    """Return E_i(z) - min_u E_i(u; z_-i) of every row and player, shape (rows, players)."""
    game = sol.players.game
    given = None if best_response is None else check.function("best_response", best_response)
    rows = averaged_states(sol) if check.flag("averaged", averaged) else [sol.row(k) for k in range(len(sol))]
    table = [[_regret(game, player, row, given) for player in range(game.players)] for row in rows]
    return np.array(table, dtype=np.float64).reshape(len(rows), game.players)


def _regret(game: AbstractGame, player: int, states: tuple[State, ...], given: Response | None) -> float:
    energy = game.energy(player, states)
    best = None if given is None else given(player, states)
    best = _known(game, player, states) if best is None else best
    if not isinstance(best, State):
        raise check.CallbackError(f"best_response must return a state or None, got {check.show(best)}")
    return energy.value(states[player]) - energy.value(best)


def _known(game: AbstractGame, player: int, states: tuple[State, ...]) -> State:
    """Return the game's own best response, or that of a quadratic energy."""
    best = game.best_response(player, states)
    if best is None:
        best = quadratic_minimiser(game.energy(player, states), states[player])
    if best is None:
        raise UnsupportedError(
            f"player {player} of {type(game).__name__} has no best response that is known, or its energy is unbounded below; "
            "give best_response=f, where f(player, states) returns a state that minimises the player's energy"
        )
    return best
