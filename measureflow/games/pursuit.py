"""Two laws that feel each other's squared Wasserstein distance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy, SquaredWasserstein
from measureflow.games.base import AbstractGame, States
from measureflow.games.linear import barycentre
from measureflow.metrics import Wasserstein
from measureflow.states import Gaussian, Particles, Quantiles, State

LAWS = (Particles, Quantiles, Gaussian)


@final
class Pursuit(AbstractGame):
    """J(mu, nu) = W2^2(mu, nu) / 2: player 0 pursues player 1, who flees with the same speed (theory, G21).

    On the line, with quantile functions X and Y, X' = Y' = Y - X while these stay monotone: both translate for ever. With
    ``cooperative=True`` player 1 comes towards player 0 instead; then Y - X decays like exp(-2t) and the midpoint stays.

    Parameters
    ----------
    cooperative : bool
        Whether player 1 descends J too, so that the game is not zero-sum.

    Raises
    ------
    TypeError
        If `cooperative` is neither True nor False, or initial states are not laws of one kind and dimension.
    ValueError
        If initial laws differ in dimension, or in the number of their quantiles.

    Notes
    -----
    Players are two `Quantiles`, two `Gaussian` or two `Particles`. A minimizing movement of the player who flees exists
    for steps tau < 1 only: its energy is (-1)-convex on the line.

    Examples
    --------
    >>> from measureflow import Quantiles
    >>> laws = Quantiles([0.0, 1.0]), Quantiles([2.0, 5.0])
    >>> Pursuit().energy(1, laws).gradient(laws[1])
    array([-2., -4.])
    """

    def __init__(self, cooperative: bool = False) -> None:
        self.cooperative = check.flag("cooperative", cooperative)

    @property
    def zero_sum(self) -> bool:
        return not self.cooperative

    def check(self, states: States) -> None:
        for k, state in enumerate(states):
            check.instance(f"initial[{k}]", state, LAWS, "Particles, Quantiles or a Gaussian")
        first, second = states
        if type(first) is not type(second):
            raise TypeError(f"initial[1] must be a law of the kind of initial[0], {type(first).__name__}, got {second!r}")
        same = first.coordinates.shape if isinstance(first, Quantiles) else first.coordinates.shape[1:]
        if same != (second.coordinates.shape if isinstance(second, Quantiles) else second.coordinates.shape[1:]):
            raise ValueError(f"initial[1] must have the dimension, and Quantiles the length, of initial[0], got {second!r}")

    def best_response(self, player: int, states: States) -> State | None:
        """Return the opponent's law for a player that pursues; nobody can flee best."""
        return states[1 - player] if player == 0 or self.cooperative else None

    def invariants(self, metrics: Sequence[Any], speeds: Sequence[float]) -> dict[str, Callable[[States], float]]:
        """Return |mean(X)/eta_0 +- mean(Y)/eta_1| in W2, with plus for partners and minus for a pursuit."""
        if not all(isinstance(metric, Wasserstein) and metric.p == 2 for metric in metrics):
            return {}
        sign = 1.0 if self.cooperative else -1.0

        def centre(states: States) -> float:
            first, second = (barycentre(f"states[{k}]", state) for k, state in enumerate(states))
            return float(np.linalg.norm(first / speeds[0] + sign * second / speeds[1]))

        return {"weighted centre": centre}

    def _frozen(self, player: int, others: States) -> Energy:
        opponent = check.instance(f"states[{1 - player}]", others[0], LAWS, "Particles, Quantiles or a Gaussian")
        energy: Energy = SquaredWasserstein(opponent)
        return energy if player == 0 or self.cooperative else -energy

    def __repr__(self) -> str:
        return f"Pursuit(cooperative={self.cooperative})"
