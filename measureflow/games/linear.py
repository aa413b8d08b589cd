"""Bilinear and linear-quadratic games, on vectors and on laws."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy, Quadratic
from measureflow.errors import UnsupportedError
from measureflow.games.base import AbstractGame, States
from measureflow.states import Law, State, Vector, moments


class _LinearQuadratic(AbstractGame):
    """J = x.P x/2 + x.C y - y.Q y/2; at the level of laws its double integral (theory, sections 6 and 9.4)."""

    P: np.ndarray
    C: np.ndarray
    Q: np.ndarray

    @property
    def zero_sum(self) -> bool:
        return True

    def check(self, states: States) -> None:
        for k, state in enumerate(states):
            self._centre(f"initial[{k}]", state, k)

    def _centre(self, name: str, state: State, player: int) -> np.ndarray:
        centre = barycentre(name, state)
        if centre.shape != (self.C.shape[player],):
            raise ValueError(f"{name} must have dimension {self.C.shape[player]} to fit C, got {state!r}")
        return centre

    def _frozen(self, player: int, others: States) -> Energy:
        y = self._centre(f"states[{1 - player}]", others[0], 1 - player)
        mine, theirs = (self.P, self.Q) if player == 0 else (self.Q, self.P)
        pull = self.C @ y if player == 0 else -self.C.T @ y
        return Quadratic(mine, linear=pull, constant=-Quadratic(theirs).value(others[0]))


def barycentre(name: str, state: State) -> np.ndarray:
    """Return the values of a Vector or the mean of a law."""
    if isinstance(state, Vector):
        return state.values
    if isinstance(state, Law):
        return moments(state)[0]
    raise UnsupportedError(f"{name} must be a Vector or a law to play a linear-quadratic game, got {type(state).__name__}")


@final
class Bilinear(_LinearQuadratic):
    """J(x, y) = x^T C y: player 0 descends, player 1 ascends; orbits rotate (theory, section 6).

    Parameters
    ----------
    C : float or array_like, shape (p, q)
        Coupling; a number for one dimension each.

    Notes
    -----
    Players are `Vector`, or laws, for which J is the double integral: then every particle moves with the opponent's mean.

    Examples
    --------
    >>> from measureflow import Vector
    >>> Bilinear(2.0).energy(0, (Vector([1.0]), Vector([3.0]))).gradient(Vector([1.0]))
    array([6.])
    """

    def __init__(self, C: Any) -> None:
        self.C = np.atleast_2d(check.array("C", C, ndim=(0, 2)))
        self.P = np.zeros((self.C.shape[0],) * 2)
        self.Q = np.zeros((self.C.shape[1],) * 2)


@final
class LinearQuadratic(_LinearQuadratic):
    """J(x, y) = x.P x/2 + x.C y - y.Q y/2: player 0 descends, player 1 ascends (theory, G2).

    Parameters
    ----------
    P : float or array_like, shape (p, p)
        Symmetric; a number stands for that multiple of the identity.
    C : float or array_like, shape (p, q)
    Q : float or array_like, shape (q, q)
        Symmetric; a number stands for that multiple of the identity.

    Raises
    ------
    TypeError, ValueError
        If the matrices do not fit or P, Q are not symmetric.

    Examples
    --------
    >>> from measureflow import Vector
    >>> game = LinearQuadratic(0.3, 2.0, 0.3)
    >>> game.energy(1, (Vector([1.0]), Vector([1.0]))).gradient(Vector([1.0]))
    array([-1.7])
    """

    def __init__(self, P: Any, C: Any, Q: Any) -> None:
        self.C = np.atleast_2d(check.array("C", C, ndim=(0, 2)))
        self.P = _own_matrix("P", P, self.C.shape[0])
        self.Q = _own_matrix("Q", Q, self.C.shape[1])


def _own_matrix(name: str, value: Any, size: int) -> np.ndarray:
    matrix = check.array(name, value, ndim=(0, 2))
    if matrix.ndim == 0:
        return float(matrix) * np.eye(size)
    if matrix.shape != (size, size):
        raise ValueError(f"{name} must have shape {(size, size)} to fit C, got {matrix.shape}")
    return check.symmetric(name, matrix)
