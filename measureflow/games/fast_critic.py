"""The limit of an infinitely fast critic: the generator alone, in its best response (theory, section 7.2 and D9)."""

from __future__ import annotations

from typing import final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.errors import UnsupportedError
from measureflow.games.gan import GAN
from measureflow.states import State


@final
class FastCritic(Energy):
    """V(mu) = max over critics c of J(mu, c): the energy of a generator whose critic always is at its best (theory, section 7.2).

    With features and `Ridge` (beta) V = |Phi(mu) - Phi(target)|^2 / (2 beta), with an `RKHSCritic` MMD^2 / (2 beta). The gradient
    is that of the generator against the best critic (Danskin). Other limits have their own energies: `Wasserstein1`, `MMD`,
    `ChiSquared`, `JensenShannon`, `KL`.

    Parameters
    ----------
    game : GAN
        Zero-sum, with a critic whose best response is known (`GAN.best_response`): loss "wasserstein", a critic that is linear in
        its `Vector`, and a penalty `Ridge` or R1 that makes it unique.
    size : int
        Number of coordinates of the critic.

    Raises
    ------
    TypeError
        If game is not a GAN.
    UnsupportedError
        At evaluation, if no best response is known or it is not unique.

    Examples
    --------
    >>> import numpy as np
    >>> import measureflow as mf
    >>> critic = mf.games.FeatureCritic(lambda x: x, lambda x: np.ones((len(x), 1, 1)))
    >>> game = mf.games.GAN(mf.Particles([[2.0]]), critic=critic, penalty=mf.games.Ridge(0.5))
    >>> FastCritic(game, 1).value(mf.Particles([[0.0]]))
    4.0
    """

    def __init__(self, game: GAN, size: int) -> None:
        self.game = check.instance("game", game, GAN, "a GAN")
        self.size = check.integer("size", size, least=1)

    def best_critic(self, state: State) -> State:
        """Return the critic that maximises J against a generator."""
        from measureflow.states import Vector

        best = self.game.best_response(1, (state, Vector(np.zeros(self.size))))
        if best is None or not self.game.zero_sum:
            raise UnsupportedError(f"game must be zero-sum with a known, unique best response of the critic, got {self.game!r}")
        return best

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        value, gradient = self.game.energy(0, (state, self.best_critic(state))).value_and_gradient(state)
        return value, gradient.copy()

    def minibatch(self, size: int, rng: np.random.Generator) -> Energy | None:
        drawn = self.game.minibatch(size, rng)
        return FastCritic(drawn, self.size) if isinstance(drawn, GAN) else None
