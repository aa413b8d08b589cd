"""What a step reports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, final

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
        Iterations of the inner solvers, summed; of explicit steps on cells the number of substeps.
    method : str
        What solved the inner problems, and the fallbacks that were taken, as in "Newton, projected"; different ones joined by
        "; ".
    """

    distance: float
    residual: float
    iterations: int
    method: str = ""

    def after(self, first: StepInfo) -> StepInfo:
        """Return the report of this step and one before it, in one."""
        residual = max(first.residual, self.residual)
        method = joined(first.method, self.method)
        return StepInfo(first.distance + self.distance, residual, first.iterations + self.iterations, method)


def joined(first: str, second: str) -> str:
    """Return the methods that two texts name, each once."""
    if first == second or not second:
        return first
    if not first:
        return second
    names = first.split("; ")
    return "; ".join([*names, *(name for name in second.split("; ") if name not in names)])


class Move(Protocol):
    """Advances one player against frozen opponents.

    Called with (player, its own state, the states it sees), and optionally the share of the step to take. With `past` states, of
    a time `ratio` steps ago, it descends an energy extrapolated from them, (1 + w) E(.; seen) - w E(.; past) with w = ratio times
    `Scheme.ahead`. `adjoint` asks for the adjoint of the step, the inverse of the step of size -tau.
    """

    def __call__(
        self,
        player: int,
        own: State,
        seen: States,
        share: float = 1.0,
        past: States | None = None,
        ratio: float = 0.0,
        adjoint: bool = False,
    ) -> tuple[State, StepInfo]:
        """Return the new state and the report."""
        ...
