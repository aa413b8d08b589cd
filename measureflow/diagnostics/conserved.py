"""What the exact flow conserves, evaluated along a computed one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from measureflow import _validate as check

if TYPE_CHECKING:
    from measureflow.solution import Solution


def invariants(sol: Solution, drift: bool) -> dict[str, np.ndarray]:
    """Return the game's invariants at every row, name -> (rows,); with drift less their first value."""
    check.flag("drift", drift)
    functions = sol.players.game.invariants(sol.players.metrics, sol.players.speeds)
    values = {name: np.array([float(f(sol.row(k))) for k in range(len(sol))]) for name, f in functions.items()}
    return {name: column - column[:1] for name, column in values.items()} if drift else values
