"""How players see each other within a step (theory, section 4.2)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, final

from measureflow.metrics import Metric
from measureflow.schemes.info import Move, States, StepInfo
from measureflow.schemes.nash import regularised_nash

Result = tuple[States, Any, tuple[StepInfo, ...]]


class Coupling(ABC):
    """A rule for who sees what during a step of size tau; pure: what it remembers goes in and out as `memory`."""

    def init(self, states: States) -> Any:
        """Return the memory before the first step."""
        return ()

    @abstractmethod
    def step(self, move: Move, metrics: tuple[Metric, ...], states: States, memory: Any, tau: float) -> Result:
        """Return new states, new memory and a report for each player."""

    def seen_by(self, player: int, old: States, new: States) -> States | None:
        """Return the states that a player saw during a step, its own entry old; None if they are not among `old` and `new`."""
        return None


@final
class Simultaneous(Coupling):
    """Every player sees the old states (Jacobi): x+ = J(x; y), y+ = J(y; x)."""

    def step(self, move: Move, metrics: tuple[Metric, ...], states: States, memory: Any, tau: float) -> Result:
        return _moved(move, states, states)

    def seen_by(self, player: int, old: States, new: States) -> States:
        return old


@dataclass(frozen=True)
class InTurn(Coupling):
    """Players move one after the other, in the order of `turns`; None: by their numbers."""

    turns: tuple[int, ...] | None = None

    def order(self, states: States) -> tuple[int, ...]:
        """Return the players in the order in which they move."""
        return tuple(range(len(states))) if self.turns is None else self.turns


@final
class Alternating(InTurn):
    """Every player sees the newest states (Gauss-Seidel): x+ = J(x; y), y+ = J(y; x+)."""

    def step(self, move: Move, metrics: tuple[Metric, ...], states: States, memory: Any, tau: float) -> Result:
        current, infos = list(states), [StepInfo(0.0, 0.0, 0)] * len(states)
        for player in self.order(states):
            current[player], infos[player] = move(player, states[player], tuple(current))
        return tuple(current), memory, tuple(infos)

    def seen_by(self, player: int, old: States, new: States) -> States:
        order = self.order(old)
        moved = order[: order.index(player)]
        return tuple(new[k] if k in moved else old[k] for k in range(len(old)))


@final
class Symmetric(InTurn):
    """Strang splitting: half steps of all players but the last in order, a step of the last, half steps back in order.

    Its own inverse under tau -> -tau if the players' steps are: of order 2 where they are (on bilinear games even explicit ones
    are), of order 1 else.
    """

    def step(self, move: Move, metrics: tuple[Metric, ...], states: States, memory: Any, tau: float) -> Result:
        *others, last = self.order(states)
        current, infos = list(states), [StepInfo(0.0, 0.0, 0)] * len(states)
        for player in (*others, last, *reversed(others)):
            current[player], info = move(player, current[player], tuple(current), share=1.0 if player == last else 0.5)
            infos[player] = info.after(infos[player])
        return tuple(current), memory, tuple(infos)


@final
class Implicit(Coupling):
    """Every player sees the others' new states: x+ = J(x; y+), y+ = J(y; x+), the Nash point of the regularised game."""

    def step(self, move: Move, metrics: tuple[Metric, ...], states: States, memory: Any, tau: float) -> Result:
        new, infos = regularised_nash(move, metrics, states)
        return new, memory, infos

    def seen_by(self, player: int, old: States, new: States) -> States:
        return (*new[:player], old[player], *new[player + 1 :])


@final
class Extragradient(Coupling):
    """A simultaneous step as prediction, then each player's step from the old state against the predicted ones.

    The variational form of Korpelevich's method; `Explicit` takes the gradient at the prediction, its own part included.
    """

    def step(self, move: Move, metrics: tuple[Metric, ...], states: States, memory: Any, tau: float) -> Result:
        predicted, _, first = _moved(move, states, states)
        new, _, second = _moved(move, states, predicted)
        infos = (replace(info.after(guess), distance=info.distance) for guess, info in zip(first, second, strict=True))
        return new, memory, tuple(infos)


@final
class Optimistic(Coupling):
    """Popov's method with extrapolated energies, which make sense in every metric space (OPT-JKO of theory section 4.2).

    Each player descends (1 + w) E(.; now) - w E(.; before) with w = `Scheme.ahead` * tau / (the step before): for equal steps
    2 E(.; now) - E(.; before), which looks ahead to the end of the step, or, with w = 1/2, to its middle. It remembers the
    states before and their step; its own first step is a simultaneous one.
    """

    def init(self, states: States) -> Any:
        return states, 0.0

    def step(self, move: Move, metrics: tuple[Metric, ...], states: States, memory: Any, tau: float) -> Result:
        past, before = memory
        ratio = tau / before if before > 0.0 else 0.0
        results = [move(player, own, states, past=past, ratio=ratio) for player, own in enumerate(states)]
        return tuple(state for state, _ in results), (states, tau), tuple(info for _, info in results)


@final
class Adjoint(InTurn):
    """Alternating half steps, then their adjoints: the players in reverse order, each by the adjoint of its own half step.

    A step composed with its adjoint is its own inverse under tau -> -tau, and so of order 2 (ALT-ADJ of theory, 4.5). Every
    player sees the newest states throughout.
    """

    def step(self, move: Move, metrics: tuple[Metric, ...], states: States, memory: Any, tau: float) -> Result:
        current, infos = list(states), [StepInfo(0.0, 0.0, 0)] * len(states)
        there = self.order(states)
        for player, adjoint in (*((k, False) for k in there), *((k, True) for k in reversed(there))):
            current[player], info = move(player, current[player], tuple(current), share=0.5, adjoint=adjoint)
            infos[player] = info.after(infos[player])
        return tuple(current), memory, tuple(infos)


def _moved(move: Move, states: States, seen: States) -> Result:
    """Return every player's step from `states` against the opponents in `seen`."""
    results = [move(player, own, seen) for player, own in enumerate(states)]
    return tuple(state for state, _ in results), (), tuple(info for _, info in results)


COUPLINGS: dict[str, Coupling] = {
    "simultaneous": Simultaneous(),
    "alternating": Alternating(),
    "symmetric": Symmetric(),
    "implicit": Implicit(),
    "extragradient": Extragradient(),
    "optimistic": Optimistic(),
    "adjoint": Adjoint(),
}
COMMON = tuple(name for name in COUPLINGS if name != "adjoint")
"""The couplings that suit every step of one player; "adjoint" needs the adjoint of the step too."""
