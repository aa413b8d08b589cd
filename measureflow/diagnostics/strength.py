"""How strongly one player's state changes the other's velocity."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from measureflow.games import AbstractGame
from measureflow.states import Particles, State, Vector

if TYPE_CHECKING:
    from measureflow.solution import Solution

POWER_STEPS = 8
HALF = 1e-4


def coupling(sol: Solution, row: int = -1) -> float | None:
    """Return L = |d_x d_y J|, the largest rate at which one player's velocity changes with the other's state, at a row.

    By power iteration with central differences of gradients; for zero-sum games of `Particles` and `Vector` (theory, 1 (ML)).
    """
    game, states = sol.players.game, sol.row(row)
    if game.players != 2 or not all(isinstance(x, (Particles, Vector)) for x in states):
        return None
    x, y = states
    direction = np.random.default_rng(0).normal(size=x.coordinates.shape)
    square = 0.0
    for _ in range(POWER_STEPS):
        direction = direction / max(_norm(x, direction), 1e-300)
        seen = _changed(game, 1, states, direction)
        direction = _changed(game, 0, states, seen)
        square = _norm(x, direction)
        if not square > 0.0:
            return 0.0
    return float(np.sqrt(square))


def _changed(game: AbstractGame, player: int, states: tuple[State, ...], direction: np.ndarray) -> np.ndarray:
    """Return the derivative of a player's gradient along a displacement of the other."""
    own, other = states[player], states[1 - player]
    size = float(np.abs(direction).max())
    h = HALF * max(1.0, float(np.abs(other.coordinates).max())) / max(size, 1e-300)
    gradients = []
    for sign in (1.0, -1.0):
        moved = other.replace(other.coordinates + sign * h * direction)
        pair = (own, moved) if player == 0 else (moved, own)
        gradients.append(game.energy(player, pair).gradient(own))
    return np.asarray((gradients[0] - gradients[1]) / (2.0 * h))


def _norm(state: State, direction: np.ndarray) -> float:
    weights = state.weights[:, None] if isinstance(state, Particles) else 1.0
    return float(np.sqrt(np.sum(weights * direction**2)))
