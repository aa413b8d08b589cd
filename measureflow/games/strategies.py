"""Games in which a player mixes finitely many choices: its state is a `Histogram` with one cell for each of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import CellPotential, Energy, Quadratic
from measureflow.games.base import AbstractGame, States
from measureflow.games.linear import best_cell
from measureflow.metrics import Euclidean, FisherRao, Metric
from measureflow.states import Histogram, State, Vector

NASH = 1e-12
"""Largest defect, relative to the payoffs, of strategies that count as an equilibrium."""


def _mixture(name: str, state: State, count: int) -> np.ndarray:
    """Return the probabilities of `count` choices, from a Histogram of that many cells."""
    check.instance(name, state, Histogram, "a Histogram")
    if state.coordinates.shape != (count,):
        raise ValueError(f"{name} must be a Histogram of {count} cells on a 1-D grid, got {state!r}")
    return state.coordinates


def cross_entropy(target: np.ndarray, masses: np.ndarray) -> float:
    """Return KL(target | masses) = sum target log(target / masses); infinite where masses miss a cell."""
    held = target > 0.0
    with np.errstate(divide="ignore"):
        return float(np.sum(target[held] * np.log(target[held] / masses[held])))


@final
class MatrixGame(AbstractGame):
    """J(p, q) = p^T A q for two mixed strategies: player 0 descends, player 1 ascends (theory, 3.6, G14).

    Parameters
    ----------
    A : array_like, shape (m, n)
        What player 0 pays player 1. Player 0 is a `Histogram` of m cells, player 1 one of n cells; their places do not matter.

    Raises
    ------
    TypeError, ValueError
        If A is not a matrix, or the states do not fit it.

    Notes
    -----
    With the metric `FisherRao` this is replicator dynamics; `Mirror` steps are multiplicative weights. If a mixed Nash point
    (p*, q*) equalises all payoffs, KL(p* | p)/eta_0 + KL(q* | q)/eta_1 is conserved.

    Examples
    --------
    >>> import measureflow as mf
    >>> pennies = MatrixGame([[1.0, -1.0], [-1.0, 1.0]])
    >>> p = mf.Histogram([0.75, 0.25], mf.Grid([(0.0, 2.0)], (2,)))
    >>> pennies.energy(1, (p, p)).gradient(p)
    array([-0.5,  0.5])
    >>> pennies.best_response(1, (p, p)).masses
    array([1., 0.])
    """

    def __init__(self, A: Any) -> None:
        self.A = check.array("A", A, ndim=2)

    @property
    def zero_sum(self) -> bool:
        return True

    def check(self, states: States) -> None:
        for k, state in enumerate(states):
            _mixture(f"initial[{k}]", state, self.A.shape[k])

    def _values(self, player: int, opponent: State) -> np.ndarray:
        """Return the energy of every choice of a player against the opponent."""
        other = _mixture(f"states[{1 - player}]", opponent, self.A.shape[1 - player])
        return np.asarray(self.A @ other if player == 0 else -(other @ self.A))

    def _frozen(self, player: int, others: States) -> Energy:
        return CellPotential(self._values(player, others[0]))

    def best_response(self, player: int, states: States) -> State | None:
        """Return a pure strategy that is best against the other of `states`."""
        return best_cell(self._values(player, states[1 - player]), states[player])

    def equaliser(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Return strategies (m,), (n,) that make all choices of the opponent worth the same, a mixed Nash point; None if none."""
        p, q = _equalising(self.A), _equalising(self.A.T)
        return None if p is None or q is None else (p, q)

    def invariants(self, metrics: Sequence[Any], speeds: Sequence[float]) -> dict[str, Callable[[States], float]]:
        nash = self.equaliser()
        if nash is None or not all(isinstance(metric, FisherRao) for metric in metrics):
            return {}

        def divergence(states: States) -> float:
            return sum(cross_entropy(w, x.coordinates) / eta for w, x, eta in zip(nash, states, speeds, strict=True))

        return {"KL to the mixed Nash point": divergence}


def _equalising(a: np.ndarray) -> np.ndarray | None:
    """Return w >= 0 with sum 1 and w @ a = v (1, ..., 1) for a number v; None if the solution of least length is none."""
    scale = float(np.max(np.abs(a))) or 1.0
    rows = np.vstack([np.column_stack([a.T / scale, -np.ones(a.shape[1])]), np.append(np.ones(a.shape[0]), 0.0)])
    right = np.append(np.zeros(a.shape[1]), 1.0)
    w, *_ = np.linalg.lstsq(rows, right, rcond=None)
    if np.max(np.abs(rows @ w - right)) > NASH or w[:-1].min() < -NASH:
        return None
    masses = np.maximum(w[:-1], 0.0)
    return np.asarray(masses / masses.sum())


@final
class ModeWeights(AbstractGame):
    """J(p, D) = sum_i D_i (p_i - q_i) - (beta/2) |D|^2: weights of modes against a linear critic (theory, 8 M3, G13).

    Parameters
    ----------
    target : Histogram
        The weights q of the modes, one cell each, on a 1-D grid.
    beta : float
        Ridge on the critic, nonnegative.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or the states do not fit the target.

    Notes
    -----
    Player 0, a `Histogram`, descends; player 1, a `Vector` of one number a mode, ascends. With the metrics `FisherRao` and
    `Euclidean` and speeds (1, eta): p' = -p (D - p.D), D' = eta (p - q - beta D). For beta = 0 the quantity
    KL(q | p) + |D|^2 / (2 eta) is conserved: weights oscillate, near uniform q with frequency sqrt(eta/k). Lost modes stay lost.

    Examples
    --------
    >>> import measureflow as mf
    >>> grid = mf.Grid([(0.0, 2.0)], (2,))
    >>> game = ModeWeights(mf.Histogram([0.5, 0.5], grid))
    >>> p, D = mf.Histogram([0.75, 0.25], grid), mf.Vector([0.0, 0.0])
    >>> -game.energy(1, (p, D)).gradient(D)
    array([ 0.25, -0.25])
    """

    def __init__(self, target: Histogram, beta: float = 0.0) -> None:
        self.target = check.instance("target", target, Histogram, "a Histogram")
        if target.dim != 1:
            raise ValueError(f"target must be a Histogram on a 1-D grid, got {target!r}")
        self.beta = check.scalar("beta", beta, least=0.0)

    @property
    def zero_sum(self) -> bool:
        return True

    def check(self, states: States) -> None:
        for k, state in enumerate(states):
            self._own(f"initial[{k}]", state, k)

    def _own(self, name: str, state: State, player: int) -> np.ndarray:
        count = len(self.target)
        if player == 0:
            return _mixture(name, state, count)
        values = check.instance(name, state, Vector, "a Vector").values
        if values.shape != (count,):
            raise ValueError(f"{name} must be a Vector of {count} numbers, one a mode, got {state!r}")
        return values

    def _frozen(self, player: int, others: States) -> Energy:
        seen = self._own(f"states[{1 - player}]", others[0], 1 - player)
        if player == 1:
            return Quadratic(self.beta, linear=self.target.masses - seen)
        return CellPotential(seen, -float(np.sum(seen * self.target.masses)) - 0.5 * self.beta * float(np.sum(seen**2)))

    def best_response(self, player: int, states: States) -> State | None:
        """Return the cheapest mode alone, or the critic (p - q)/beta; None without a ridge."""
        if player == 0:
            return best_cell(self._own("states[1]", states[1], 1), states[0])
        if self.beta == 0.0:
            return None
        return Vector((self._own("states[0]", states[0], 0) - self.target.masses) / self.beta)

    def invariants(self, metrics: Sequence[Metric], speeds: Sequence[float]) -> dict[str, Callable[[States], float]]:
        if self.beta != 0.0 or not isinstance(metrics[0], FisherRao) or not isinstance(metrics[1], Euclidean):
            return {}

        def total(states: States) -> float:
            kl = cross_entropy(self.target.masses, states[0].coordinates)
            return kl / speeds[0] + 0.5 * float(np.sum(states[1].coordinates ** 2)) / speeds[1]

        return {"KL(q | p) + |D|^2/2": total}
