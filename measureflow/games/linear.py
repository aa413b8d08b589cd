"""Bilinear and linear-quadratic games, on vectors and on laws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy, Quadratic
from measureflow.errors import UnsupportedError
from measureflow.games.base import AbstractGame, States
from measureflow.metrics import Euclidean, Wasserstein
from measureflow.states import Field, Gaussian, Histogram, Law, State, Vector, atoms, moments


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
        pull = self.C @ y if player == 0 else -self.C.T @ y
        mine, theirs = self._curvatures[player], self._curvatures[1 - player]
        rest = Quadratic(0.0, linear=pull, constant=0.0 if theirs is None else -theirs.value(others[0]))
        return rest if mine is None else mine + rest

    @cached_property
    def _curvatures(self) -> tuple[Quadratic | None, Quadratic | None]:
        """The players' own parts; None for none."""
        return Quadratic(self.P) if self.P.any() else None, Quadratic(self.Q) if self.Q.any() else None

    def best_response(self, player: int, states: States) -> State | None:
        """Return the minimiser of the player's energy, a Dirac mass for laws; None if the energy is unbounded below."""
        return quadratic_minimiser(self.energy(player, states), states[player])

    def invariants(self, metrics: Sequence[Any], speeds: Sequence[float]) -> dict[str, Callable[[States], float]]:
        """Return |x|^2/eta_0 + |y|^2/eta_1 of vectors, or of the means of laws in W2, if P = Q = 0 (theory, section 6)."""
        flat = all(isinstance(metric, Euclidean) or (isinstance(metric, Wasserstein) and metric.p == 2) for metric in metrics)
        if not flat or np.any(self.P) or np.any(self.Q):
            return {}

        def squared_radius(states: States) -> float:
            centres = (barycentre(f"states[{k}]", state) for k, state in enumerate(states))
            return float(sum(centre @ centre / eta for centre, eta in zip(centres, speeds, strict=True)))

        return {"squared radius": squared_radius}


def quadratic_minimiser(energy: Energy, like: State) -> State | None:
    """Return a state of the structure of `like` that minimises a sum of `Quadratic` energies.

    The minimiser of the potential as a `Vector`, or the law that sits there; of a `Histogram` the cell where the potential is
    least. None if another energy is in the sum, or the sum is unbounded below.

    Examples
    --------
    >>> quadratic_minimiser(Quadratic(2.0, linear=[4.0]), Vector([1.0]))
    Vector([-2])
    """
    terms = energy.terms()
    if isinstance(like, Field) or not all(isinstance(term, Quadratic) for _, term in terms):
        return None
    if isinstance(like, Histogram):
        return best_cell(energy.gradient(like), like)
    points = atoms(like)[0] if not isinstance(like, Gaussian) else like.mean[None]
    forms = [(c, *term.normal_form(points.shape[1])) for c, term in terms if isinstance(term, Quadratic)]
    point = _lowest(sum(c * a for c, a, _, _ in forms), sum(c * b for c, _, b, _ in forms))
    if point is None:
        return None
    place = np.zeros(like.coordinates.shape)
    if isinstance(like, Gaussian):
        place[0] = point
    else:
        place[...] = point
    return like.replace(place)


def best_cell(values: np.ndarray, like: State) -> State:
    """Return the histogram that has all its mass in the cell of least value, the minimiser of the integral of a potential."""
    masses = np.zeros(like.coordinates.shape)
    masses.flat[np.argmin(values)] = 1.0
    return like.replace(masses)


def _lowest(matrix: Any, slope: Any) -> np.ndarray | None:
    """Return a minimiser of x.A x/2 + b.x, the one of least norm; None if there is none."""
    values, vectors = np.linalg.eigh(matrix)
    part = vectors.T @ slope
    bent = values > 1e-12 * np.abs(values).max()
    sinks = values.min() < -1e-12 * np.abs(values).max() or np.abs(part[~bent]).max(initial=0.0) > 1e-14 * np.abs(part).max()
    return None if sinks else np.asarray(-vectors[:, bent] @ (part[bent] / values[bent]))


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
