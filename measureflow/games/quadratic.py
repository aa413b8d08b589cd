"""Quadratic games of two players, not necessarily zero-sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy, Quadratic
from measureflow.games.base import States
from measureflow.games.linear import _LinearQuadratic, _own_matrix


@final
class QuadraticGame(_LinearQuadratic):
    """E1 = x.P x/2 + x.C y and E2 = y.Q y/2 + y.D x: each player descends its own energy (theory, D1 and G22).

    With D = -C^T the flow is that of `LinearQuadratic`; with D = C^T the players cooperate. On laws, C and D act on the means.

    Parameters
    ----------
    P : float or array_like, shape (p, p)
        Symmetric; a number stands for that multiple of the identity.
    C : float or array_like, shape (p, q)
    Q : float or array_like, shape (q, q)
        Symmetric; a number stands for that multiple of the identity.
    D : float or array_like, shape (q, p)

    Raises
    ------
    TypeError, ValueError
        If the matrices do not fit or P, Q are not symmetric, or initial states do not fit them.

    Examples
    --------
    >>> from measureflow import Vector
    >>> game = QuadraticGame(1.0, -2.0, 3.0, -4.0)
    >>> game.energy(1, (Vector([1.0]), Vector([1.0]))).gradient(Vector([1.0]))
    array([-1.])
    """

    def __init__(self, P: Any, C: Any, Q: Any, D: Any) -> None:
        self.C = np.atleast_2d(check.array("C", C, ndim=(0, 2)))
        p, q = self.C.shape
        self.D = np.atleast_2d(check.array("D", D, ndim=(0, 2)))
        if self.D.shape != (q, p):
            raise ValueError(f"D must have shape {(q, p)} to fit C, got {self.D.shape}")
        self.P = _own_matrix("P", P, p)
        self.Q = _own_matrix("Q", Q, q)

    @property
    def zero_sum(self) -> bool:
        return not (self.P.any() or self.Q.any()) and np.array_equal(self.D, -self.C.T)

    def invariants(self, metrics: Sequence[Any], speeds: Sequence[float]) -> dict[str, Callable[[States], float]]:
        """Return those of the bilinear game that this one is, if it is zero-sum."""
        return super().invariants(metrics, speeds) if self.zero_sum else {}

    def _frozen(self, player: int, others: States) -> Energy:
        coupling = self.C if player == 0 else self.D
        opponent = self._centre(f"states[{1 - player}]", others[0], 1 - player)
        return Quadratic(self.P if player == 0 else self.Q, linear=coupling @ opponent)
