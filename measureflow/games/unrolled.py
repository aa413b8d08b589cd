"""Generators that foresee some steps of the critic (theory, 4.2 and 6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.errors import UnsupportedError
from measureflow.games.base import AbstractGame, States
from measureflow.games.differences import Derived, along, largest, require_free
from measureflow.metrics import Metric, natural
from measureflow.states import State


@final
class Unrolled(AbstractGame):
    """A zero-sum game in which player 0 descends x -> E_0(x; y^K(x)), y^K being the critic y after K explicit steps against x.

    Player 1 plays as before. The gradient goes through the steps, by a reverse sweep. On J = omega x y the flow has the
    eigenvalues -K eta omega^2 +- sqrt(K^2 eta^2 omega^4 - omega^2): a damping by foresight (theory, section 6; Metz et al.,
    arXiv 1611.02163).

    Parameters
    ----------
    game : game
        Zero-sum, of two players; player 1 is a `Vector`, `Particles` or a `Field`.
    steps : int
        K, at least 1.
    size : float
        eta, the size of each of these steps, positive.
    metric : Metric, optional
        In which the critic steps; None: its natural one.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    Second derivatives are central differences of the frozen energies' gradients along displacements of 1e-3: exact for
    quadratic payoffs, with an error of about 1e-12 of the gradients for smooth ones on the scale 1.

    Examples
    --------
    >>> import measureflow as mf
    >>> game = mf.games.Unrolled(mf.games.Bilinear(1.0), 5, 0.1)
    >>> states = mf.Vector([1.0]), mf.Vector([3.0])
    >>> game.energy(0, states).gradient(states[0]).round(9)
    array([4.])
    """

    def __init__(self, game: AbstractGame, steps: int, size: float, metric: Metric | None = None) -> None:
        self.game = check.instance("game", game, AbstractGame, "a zero-sum game of two players")
        if not game.zero_sum:
            raise UnsupportedError(f"game must be a zero-sum game of two players to be unrolled, got {check.show(game)}")
        self.steps = check.integer("steps", steps, least=1)
        self.size = check.scalar("size", size, above=0.0)
        self.metric = check.instance("metric", metric, (Metric, type(None)), "a Metric or None")

    def check(self, states: States) -> None:
        self.game.check(states)
        require_free("initial[1]", states[1])

    def minibatch(self, size: int, rng: np.random.Generator) -> AbstractGame | None:
        drawn = self.game.minibatch(size, rng)
        return None if drawn is None else Unrolled(drawn, self.steps, self.size, self.metric)

    def _frozen(self, player: int, others: States) -> Energy:
        if player == 1:
            return self.game.energy(1, (others[0], others[0]))
        require_free("states[1]", others[0])
        return _Foresight(self, others[0])

    def __repr__(self) -> str:
        return f"Unrolled({self.game!r}, steps={self.steps}, size={self.size:g})"


@final
class _Foresight(Derived):
    """x -> E_0(x; y^K(x)).

    With l_K = grad_y E_0(x; y_K) and l_k = l_{k+1} - eta (d/ds grad_y E_1)(y_k + s l_{k+1}; x) the gradient is
    grad_x E_0(x; y_K) + eta sum_k (d/ds grad_x E_0)(x; y_k + s l_{k+1}), as E_1 = -E_0.
    """

    def __init__(self, unrolled: Unrolled, critic: State) -> None:
        self.game, self.steps, self.size = unrolled.game, unrolled.steps, unrolled.size
        self.critic = critic
        self.chart = (unrolled.metric or natural(critic)).chart(critic)

    @property
    def _own(self) -> Energy:
        return self.game.energy(0, (self.critic, self.critic))

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        frozen = self.game.energy(1, (state, self.critic))
        path, moves = self._path(frozen)
        value, slope = self._against(state, path[-1]).value_and_gradient(state)
        adjoint, gradient = -self._critic_slope(frozen, path[-1]), slope.copy()
        for z, free in zip(reversed(path[:-1]), reversed(moves), strict=True):
            adjoint = adjoint * free
            length = largest(adjoint)
            if length == 0.0:
                break
            gradient += self.size * self._along(z, adjoint, length, lambda y: self._against(state, y).gradient(state))
            adjoint = adjoint - self.size * self._along(z, adjoint, length, lambda y: self._critic_slope(frozen, y))
        return value, gradient

    def _path(self, frozen: Energy) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return the critic's coordinates before and after each step, and which of them a step was free to move."""
        if not frozen.boxed:
            raise UnsupportedError(f"steps of a critic must have no constraints but boxes to be unrolled, got {frozen!r}")
        path, moves = [self.chart.origin], []
        for _ in range(self.steps):
            z = path[-1] - self.size * self._critic_slope(frozen, path[-1])
            path.append(frozen.project(z))
            moves.append(path[-1] == z)
        return path, moves

    def _critic_slope(self, frozen: Energy, z: np.ndarray) -> np.ndarray:
        return self.chart.pull(z, frozen.gradient(self.chart.state(z)))

    def _against(self, state: State, z: np.ndarray) -> Energy:
        """Return player 0's energy against the critic at z."""
        return self.game.energy(0, (state, self.chart.state(z)))

    def _along(self, z: np.ndarray, direction: np.ndarray, length: float, f: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        return along(lambda s: f(z + s * direction), length, largest(z))
