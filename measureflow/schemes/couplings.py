"""How players see each other within a step (theory, section 4.2)."""

from __future__ import annotations

from collections.abc import Callable

from measureflow.metrics import Metric
from measureflow.schemes.info import Move, States, StepInfo
from measureflow.schemes.nash import regularised_nash

Coupling = Callable[[Move, tuple[Metric, ...], States], tuple[States, tuple[StepInfo, ...]]]


def simultaneous(move: Move, metrics: tuple[Metric, ...], states: States) -> tuple[States, tuple[StepInfo, ...]]:
    """Every player sees the old states (Jacobi): x+ = J(x; y), y+ = J(y; x)."""
    results = [move(player, own, states) for player, own in enumerate(states)]
    return tuple(state for state, _ in results), tuple(info for _, info in results)


def alternating(move: Move, metrics: tuple[Metric, ...], states: States) -> tuple[States, tuple[StepInfo, ...]]:
    """Every player sees the newest states (Gauss-Seidel): x+ = J(x; y), y+ = J(y; x+)."""
    current, infos = list(states), []
    for player, own in enumerate(states):
        current[player], info = move(player, own, tuple(current))
        infos.append(info)
    return tuple(current), tuple(infos)


COUPLINGS: dict[str, Coupling] = {
    "simultaneous": simultaneous,
    "alternating": alternating,
    "implicit": regularised_nash,
}
