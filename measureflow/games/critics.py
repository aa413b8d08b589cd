"""Critics: functions D on R^d with a state of their own, the second player of a GAN."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy, Quadratic
from measureflow.states import Particles, State, Vector


class Critic(ABC):
    """A function D(x) that depends on a critic's state, linear in that state or in the law that it is."""

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
    def payoff(self, points: np.ndarray, q: np.ndarray) -> Energy:
        """Return the energy c -> sum_i q_i D_c(x_i) of the critic's state, for points (n, d) and signed weights q (n,)."""


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

    def __init__(self, features: Callable[[np.ndarray], Any], gradient: Callable[[np.ndarray], Any]) -> None:
        self.features = check.function("features", features)
        self.gradient = check.function("gradient", gradient)

    def check(self, name: str, state: State, dim: int) -> None:
        check.instance(name, state, Vector, "a Vector, one weight for each feature")
        self._features(np.zeros((1, dim)), len(state))

    def _features(self, points: np.ndarray, count: int | None = None) -> np.ndarray:
        return check.returned("features", self.features(points), (len(points), count))

    def values(self, state: State, points: np.ndarray) -> np.ndarray:
        weights = check.instance("state", state, Vector, "a Vector, one weight for each feature").values
        points = check.array("points", points, ndim=2)
        return np.asarray(self._features(points, len(weights)) @ weights)

    def values_and_slopes(self, state: State, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = self.values(state, points)
        slopes = check.returned("gradient", self.gradient(points), (len(points), len(state), np.shape(points)[1]))
        return values, np.einsum("npd,p->nd", slopes, state.coordinates)

    def payoff(self, points: np.ndarray, q: np.ndarray) -> Energy:
        return Quadratic(0.0, linear=q @ self._features(points))


@final
class NeuronCritic(Critic):
    """D(x) = mean over atoms (a, w, b) of a act(w.x + b); its state is the law of neurons (theory, section 7.3).

    The state is `Particles` in R^(d + 2), columns a, w, b. The critic ascends in W2, so that its gradient at a neuron is that of
    a sum_i q_i act(w.x_i + b), without a factor 1/H.

    Parameters
    ----------
    activation : {"tanh", "relu"}
    dtype : {"float64", "float32"}
        Precision of the sums over neurons and points; float32 is two to three times as fast, with relative errors of 1e-6.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of these.

    Notes
    -----
    With "relu" D has kinks, at which minimizing movements may not converge: take the scheme `Explicit`.
    Above three dimensions the work is small matrix products, which run on one BLAS thread.

    Examples
    --------
    >>> import numpy as np
    >>> from measureflow import Particles
    >>> NeuronCritic("relu").values(Particles([[2.0, 1.0, 0.5]]), np.array([[1.0], [-1.0]]))
    array([3., 0.])
    """

    def __init__(self, activation: str = "tanh", dtype: str = "float64") -> None:
        self.activation = check.choice("activation", activation, ("tanh", "relu"))
        self.dtype = check.choice("dtype", dtype, ("float64", "float32"))

    def check(self, name: str, state: State, dim: int) -> None:
        check.instance(name, state, Particles, "Particles, the law of neurons")
        if state.coordinates.shape[1] != dim + 2:
            raise ValueError(
                f"{name} must be Particles in dimension {dim + 2} (columns a, w, b) for points in dimension {dim}, got {state!r}"
            )

    def values(self, state: State, points: np.ndarray) -> np.ndarray:
        points = check.array("points", points, ndim=2)
        return np.asarray(self.run(state, points, np.zeros(len(points)))[0])

    def values_and_slopes(self, state: State, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        points = check.array("points", points, ndim=2)
        values, slopes, _ = self.run(state, points, np.zeros(len(points)), want_points=True)
        return values, slopes

    def payoff(self, points: np.ndarray, q: np.ndarray) -> Energy:
        return _NeuronPayoff(self, points, q)

    def run(self, state: State, points: np.ndarray, q: np.ndarray, *, want_points: bool = False, want_atoms: bool = False) -> Any:
        """Run the fused kernel: D at points, its gradient in x, and the gradient of sum_i q_i D(x_i) at the neurons."""
        from measureflow.kernels.neurons import evaluate  # numba is loaded at first use

        self.check("state", state, points.shape[1])
        assert isinstance(state, Particles)
        x = points.astype(self.dtype, copy=False)
        results = evaluate(x, q, state.points, state.weights, self.activation, want_points, want_atoms)
        return tuple(None if part is None else part.astype(np.float64, copy=False) for part in results)

    def __repr__(self) -> str:
        return f"NeuronCritic({self.activation!r})"


@final
class _NeuronPayoff(Energy):
    """nu -> sum_i q_i D_nu(x_i): a potential a sum_i q_i act(w.x_i + b) integrated against the law of neurons."""

    def __init__(self, critic: NeuronCritic, points: np.ndarray, q: np.ndarray) -> None:
        self.critic = critic
        self.points = points
        self.q = q

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        values, _, gradient = self.critic.run(state, self.points, self.q, want_atoms=True)
        return float(self.q @ values), gradient
