"""Explicit steps with noise: the W2 flow of an energy with an entropy that atoms cannot evaluate."""

from __future__ import annotations

from functools import partial
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.errors import UnsupportedError
from measureflow.metrics import Metric
from measureflow.proximal import Step
from measureflow.schemes.base import Players, Scheme
from measureflow.schemes.couplings import COUPLINGS, Result
from measureflow.schemes.explicit import explicit_step
from measureflow.schemes.info import States
from measureflow.states import Particles, State, Vector


@final
class Langevin(Scheme):
    """Explicit Euler with noise: x+ = x - eta tau grad E(x) + sqrt(2 T eta tau) xi, projected on constraints.

    xi is standard normal. Noise adds T Ent to the energy of a law of many atoms: `Particles` follow the W2 flow of E + T Ent,
    up to fluctuations of size n^(-1/2). The energies of the solution are those without the entropy. Noise depends on the seed,
    the number of the step and the player only, so that a run can be resumed.

    Parameters
    ----------
    temperature : float or sequence of float
        T >= 0 of every player, or one number for each. Players with noise are `Particles` or `Vector`.
    coupling : {"simultaneous", "alternating"}
        See `Scheme`.
    seed : int

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; with tau="auto", as the distance of two noisy steps tells nothing about their errors.

    Examples
    --------
    >>> import numpy as np
    >>> import measureflow as mf
    >>> cloud = mf.Particles(np.zeros((4000, 1)))
    >>> sol = mf.solve(mf.energies.Quadratic(), cloud, 5.0, 0.1, scheme=mf.Langevin(0.5), save_at=10)
    >>> bool(abs(sol.states[-1].covariance()[0, 0] - 0.5 / 0.95) < 0.04)
    True
    """

    couplings = ("simultaneous", "alternating")

    def __init__(self, temperature: Any, coupling: str = "simultaneous", seed: int = 0) -> None:
        super().__init__(coupling)
        self.temperature = _temperatures(temperature)
        self.seed = check.seed("seed", seed)

    def _of_player(self, player: int) -> float:
        return self.temperature if isinstance(self.temperature, float) else self.temperature[player]

    def check(self, players: Players, states: States) -> None:
        super().check(players, states)
        if not isinstance(self.temperature, float) and len(self.temperature) != len(players):
            raise ValueError(f"temperature must have one entry for each of the {len(players)} players, got {self.temperature}")
        for player, x in enumerate(states):
            if self._of_player(player) > 0.0 and not isinstance(x, (Particles, Vector)):
                raise UnsupportedError(f"initial[{player}] must be Particles or a Vector to move with noise, got {x!r}")
            metric = players.metrics[player]
            if self._of_player(player) > 0.0 and metric.chart(x).origin.shape != x.coordinates.shape:
                raise UnsupportedError(f"noise moves points and leaves weights, which {metric!r} changes too")

    @property
    def comparable(self) -> bool:
        return bool(np.max(self.temperature) == 0.0)

    def init(self, players: Players, states: States) -> Any:
        return 0

    def advance(self, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        return explicit_step(energy, metric, x, tau)

    def step(self, players: Players, states: States, memory: Any, tau: float) -> Result:
        move = self.move(players, tau, partial(self._noisy, memory))
        new, _, infos = COUPLINGS[self.coupling].step(move, players.metrics, states, (), tau)
        return new, memory + 1, infos

    def _noisy(self, count: int, player: int, energy: Energy, metric: Metric, x: State, tau: float) -> Step:
        """Return a step with the noise of step number `count`."""
        temperature = self._of_player(player)
        if temperature == 0.0:
            return explicit_step(energy, metric, x, tau)
        rng = np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(count, player)))
        push = np.sqrt(2.0 * temperature * tau) * rng.standard_normal(x.coordinates.shape)
        return explicit_step(energy, metric, x, tau, push)

    def __repr__(self) -> str:
        return f"Langevin({self.temperature}, coupling={self.coupling!r}, seed={check.show(self.seed)})"


def _temperatures(temperature: Any) -> float | tuple[float, ...]:
    if isinstance(temperature, (list, tuple)):
        values = check.entries("temperature", temperature, None, "one number >= 0 a player")
        return tuple(check.scalar("temperature", value, least=0.0) for value in values)
    return check.scalar("temperature", temperature, least=0.0)
