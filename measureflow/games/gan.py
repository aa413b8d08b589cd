"""Generative adversarial games: a generator law against a critic."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy, Quadratic
from measureflow.energies.base import PointEnergy
from measureflow.energies.discrepancy import random_atoms
from measureflow.games.base import AbstractGame, States
from measureflow.games.critics import Critic
from measureflow.states import Histogram, Law, Particles, Quantiles, State, atoms


@final
@dataclass(frozen=True)
class Ridge:
    """Penalty (beta/2) |c|^2 on a critic; for a law of neurons the mean of |c|^2 beta/2 under the law.

    Parameters
    ----------
    beta : float
        Nonnegative.

    Examples
    --------
    >>> Ridge(1.0)
    Ridge(beta=1.0)
    """

    beta: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", check.scalar("beta", self.beta, least=0.0))


@final
class GAN(AbstractGame):
    """J(mu, c) = E_mu D_c - E_target D_c - penalty(c): the generator mu descends J, the critic c ascends it.

    With ``loss="wasserstein"`` this is the game of an integral probability metric (theory, section 7.2). Initial states are
    the pair (generator law, critic state); ``speeds=(1, eta)`` makes the critic eta times as fast.

    Parameters
    ----------
    target : Particles, Quantiles or Histogram
        The law to reach; its atoms are used, or random ones in each step with `batch`.
    loss : {"wasserstein"}
    critic : Critic
        `FeatureCritic` or `NeuronCritic`.
    penalty : Ridge, optional

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or initial states do not fit target and critic.

    Examples
    --------
    >>> import numpy as np
    >>> import measureflow as mf
    >>> critic = mf.games.FeatureCritic(lambda x: x, lambda x: np.ones((len(x), 1, 1)))
    >>> game = mf.games.GAN(mf.Particles([[2.0]]), critic=critic, penalty=mf.games.Ridge(1.0))
    >>> sol = mf.solve(game, (mf.Particles([[0.0]]), mf.Vector([0.0])), 20.0, 0.05)
    >>> float(sol.states[-1][0].points[0, 0]).__round__(2)
    2.0
    """

    def __init__(self, target: Law, loss: str = "wasserstein", *, critic: Critic, penalty: Ridge | None = None) -> None:
        self.target = check.instance("target", target, (Particles, Quantiles, Histogram), "Particles, Quantiles or a Histogram")
        self.loss = check.choice("loss", loss, ("wasserstein",))
        self.critic = check.instance("critic", critic, Critic, "a FeatureCritic or a NeuronCritic")
        self.penalty = check.instance("penalty", penalty, (Ridge, type(None)), "a Ridge or None")
        points, weights = atoms(target)
        held = weights > 0.0
        self._points, self._weights = points[held], weights[held]
        self._cost = Quadratic(0.0 if penalty is None else penalty.beta)

    @cached_property
    def _on_target(self) -> Energy:
        """The energy c -> E_target D_c."""
        return self.critic.payoff(self._points, self._weights)

    def check(self, states: States) -> None:
        self._check_generator("initial[0]", states[0])
        self.critic.check("initial[1]", states[1], self.target.dim)

    def _check_generator(self, name: str, state: State) -> None:
        law = check.instance(name, state, (Particles, Quantiles), "Particles or Quantiles, the generator's law")
        if law.dim != self.target.dim:
            raise ValueError(f"{name} must have the target's dimension {self.target.dim}, got {law!r}")

    def minibatch(self, size: int, rng: np.random.Generator) -> AbstractGame | None:
        if isinstance(self.target, Histogram):
            return None
        return GAN(random_atoms(self.target, size, rng), self.loss, critic=self.critic, penalty=self.penalty)

    def _frozen(self, player: int, others: States) -> Energy:
        if player == 0:
            return _GeneratorEnergy(self, others[0])
        self._check_generator("states[0]", others[0])
        points, weights = atoms(others[0])
        return self.critic.payoff(points, -weights) + self._on_target + self._cost


@final
class _GeneratorEnergy(PointEnergy):
    """mu -> E_mu D_c - E_target D_c - penalty(c) for a frozen critic c: a potential."""

    def __init__(self, game: GAN, critic: State) -> None:
        self.game = game
        self.critic = critic

    def _offset(self) -> float:
        """Return E_target D_c + penalty(c); the critic's own step from the same c asks for it too, and finds it kept."""
        return self.game._on_target.value(self.critic) + self.game._cost.value(self.critic)

    def _on_atoms(self, points: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
        values, slopes = self.game.critic.values_and_slopes(self.critic, points)
        return float(weights @ values) - self._offset(), slopes

    def _first_variation(self, points: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
        values = self.game.critic.values(self.critic, points)
        return float(weights @ values) - self._offset(), values
