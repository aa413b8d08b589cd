"""Critics: functions D on R^d with a state of their own, the second player of a GAN."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy, Quadratic
from measureflow.errors import UnsupportedError
from measureflow.games.losses import Sample, Side
from measureflow.states import State, Vector

Traversal = tuple[np.ndarray, "np.ndarray | None", np.ndarray]


class Critic(ABC):
    """A function D(x) that depends on a critic's state."""

    linear: bool = False
    """Whether D is linear in the coordinates of a state of a Hilbert space."""

    @abstractmethod
    def check(self, name: str, state: State, dim: int) -> None:
        """Raise unless `state` can be this critic's state for points in dimension `dim`."""

    @abstractmethod
    def values(self, state: State, points: np.ndarray) -> np.ndarray:
        """Return D at points (n, d): shape (n,)."""

    @abstractmethod
    def values_and_slopes(self, state: State, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return D and its gradient in x at points (n, d): shapes (n,) and (n, d)."""

    @abstractmethod
    def pullback(
        self, state: State, points: np.ndarray, q: np.ndarray | None, directions: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the gradient in the state, of the shape of its coordinates, of sum_i q_i D(x_i) + sum_i u_i . grad D(x_i).

        Points (n, d), q (n,), directions u (n, d); None leaves a sum out. As every gradient it is that of the state's space:
        for a law of neurons it has no factor 1/H.
        """

    def payoff(self, points: np.ndarray, q: np.ndarray) -> Energy:
        """Return the energy c -> sum_i q_i D_c(x_i) of the critic's state, for points (n, d) and signed weights q (n,)."""
        return _Payoff(self, points, q)

    def traverse(self, state: State, sample: Sample, side: Side, want_slopes: bool) -> Traversal:
        """Return D and, if wanted, its gradient in x at a sample, and the gradient in the state of E phi(D)."""
        slopes: np.ndarray | None = None
        if want_slopes:
            values, slopes = self.values_and_slopes(state, sample.points)
        else:
            values = self.values(state, sample.points)
        return values, slopes, self.pullback(state, sample.points, sample.weights * side.curve(values)[1])

    def ridge(self, beta: float) -> Energy:
        """Return the energy (beta/2) |c|^2."""
        return Quadratic(beta)

    def roughness(self, points: np.ndarray, weights: np.ndarray) -> Energy | None:
        """Return the energy (1/2) sum_i w_i |grad D(x_i)|^2 where it has a closed form."""
        return None

    def spectral_bound(self, bound: float) -> Energy:
        """Return the indicator of the critics whose weight matrices have spectral norms of at most `bound`."""
        raise UnsupportedError(f"a SpectralBound is for critics with weight matrices, got {self!r}")


@final
class _Payoff(Energy):
    """c -> sum_i q_i D_c(x_i)."""

    def __init__(self, critic: Critic, points: np.ndarray, q: np.ndarray) -> None:
        self.critic = critic
        self.points = points
        self.q = q

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        return float(self.q @ self.critic.values(state, self.points)), self.critic.pullback(state, self.points, self.q)


@final
class FeatureCritic(Critic):
    """D_c(x) = sum_j c_j phi_j(x) with given features; its state is a `Vector` of weights c.

    Parameters
    ----------
    features : callable
        (n, d) -> (n, p).
    gradient : callable
        (n, d) -> (n, p, d).

    Raises
    ------
    TypeError
        If an argument is not a function.
    CallbackError
        At evaluation, if a function returns the wrong shape or values that are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from measureflow import Vector
    >>> critic = FeatureCritic(lambda x: x, lambda x: np.broadcast_to(np.eye(2), (len(x), 2, 2)))
    >>> critic.values(Vector([1.0, -1.0]), np.array([[3.0, 2.0]]))
    array([1.])
    """

    linear = True
    LARGEST = 2000
    """Features up to which a gradient penalty becomes a matrix."""

    def __init__(self, features: Callable[[np.ndarray], Any], gradient: Callable[[np.ndarray], Any]) -> None:
        self.features = check.function("features", features)
        self.gradient = check.function("gradient", gradient)
        self._kept: list[tuple[np.ndarray, np.ndarray]] = []

    def check(self, name: str, state: State, dim: int) -> None:
        check.instance(name, state, Vector, "a Vector, one weight for each feature")
        self._features(np.zeros((1, dim)), len(state))

    def _features(self, points: np.ndarray, count: int | None = None) -> np.ndarray:
        """Return the features at points; those of the last two arrays of points are kept."""
        for known, values in self._kept:
            if known is points and count in (None, values.shape[1]):
                return values
        values = check.returned("features", self.features(points), (len(points), count))
        self._kept = [*self._kept[-1:], (points, values)]
        return values

    def _slopes(self, points: np.ndarray, count: int) -> np.ndarray:
        return check.returned("gradient", self.gradient(points), (len(points), count, points.shape[1]))

    def values(self, state: State, points: np.ndarray) -> np.ndarray:
        weights = check.instance("state", state, Vector, "a Vector, one weight for each feature").values
        points = check.array("points", points, ndim=2)
        return np.asarray(self._features(points, len(weights)) @ weights)

    def values_and_slopes(self, state: State, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = self.values(state, points)
        points = check.array("points", points, ndim=2)
        return values, np.einsum("npd,p->nd", self._slopes(points, len(state)), state.coordinates)

    def pullback(
        self, state: State, points: np.ndarray, q: np.ndarray | None, directions: np.ndarray | None = None
    ) -> np.ndarray:
        total = np.zeros(len(state))
        if q is not None:
            total += q @ self._features(points, len(state))
        if directions is not None:
            total += np.einsum("npd,nd->p", self._slopes(points, len(state)), directions)
        return total

    def payoff(self, points: np.ndarray, q: np.ndarray) -> Energy:
        return Quadratic(0.0, linear=q @ self._features(points))

    def roughness(self, points: np.ndarray, weights: np.ndarray) -> Energy | None:
        count = self._features(points[:1]).shape[1]
        if count > self.LARGEST:
            return None
        slopes = self._slopes(points, count)
        matrix = np.einsum("npd,nqd->pq", slopes * weights[:, None, None], slopes, optimize=True)
        return Quadratic(0.5 * (matrix + matrix.T))
