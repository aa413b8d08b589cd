"""What a step reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from measureflow.states import State

States = tuple[State, ...]


@final
@dataclass(frozen=True)
class StepInfo:
    """What one step of one player did.

    Attributes
    ----------
    distance : float
        Length of the step in the player's metric (sum over inner steps).
    residual : float
        Largest residual of the inner problems, a distance.
    iterations : int
        Iterations of the inner solvers, summed.
    """

    distance: float
    residual: float
    iterations: int


Move = Callable[[int, State, States], tuple[State, StepInfo]]
"""Advances one player: (player, its own state, the states it sees) -> (new state, report)."""
