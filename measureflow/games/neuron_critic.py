"""The critic of mean-field games: a law of neurons (theory, section 7.3)."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.games.critics import Critic, Traversal
from measureflow.games.losses import Sample, Side
from measureflow.states import Particles, State


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

    def pullback(
        self, state: State, points: np.ndarray, q: np.ndarray | None, directions: np.ndarray | None = None
    ) -> np.ndarray:
        if directions is None:
            return np.asarray(self.run(state, points, np.zeros(len(points)) if q is None else q, want_atoms=True)[2])
        from measureflow.kernels.neuron_slopes import directional  # numba is loaded at first use

        law = self._law(state, points)
        x, u = points.astype(self.dtype, copy=False), directions.astype(self.dtype, copy=False)
        sums = directional(x, u, law.points, self.activation).astype(np.float64, copy=False)
        return sums if q is None else sums + self.pullback(state, points, q)

    def traverse(self, state: State, sample: Sample, side: Side, want_slopes: bool) -> Traversal:
        from measureflow.kernels import neuron_losses as kernel

        law = self._law(state, sample.points)
        kind, x = getattr(kernel, side.slope.upper()), sample.points.astype(self.dtype, copy=False)
        if kind == kernel.ONE:
            return self.run(state, sample.points, side.sign * sample.weights, want_points=want_slopes, want_atoms=True)
        return _doubles(
            kernel.evaluate_loss(x, sample.weights, law.points, law.weights, self.activation, kind, side.sign, want_slopes)
        )

    def spectral_bound(self, bound: float) -> Energy:
        return NeuronBall(bound)

    def _law(self, state: State, points: np.ndarray) -> Particles:
        self.check("state", state, points.shape[1])
        assert isinstance(state, Particles)
        return state

    def run(self, state: State, points: np.ndarray, q: np.ndarray, *, want_points: bool = False, want_atoms: bool = False) -> Any:
        """Run the fused kernel: D at points, its gradient in x, and the gradient of sum_i q_i D(x_i) at the neurons."""
        from measureflow.kernels.neurons import evaluate

        law = self._law(state, points)
        x = points.astype(self.dtype, copy=False)
        return _doubles(evaluate(x, q, law.points, law.weights, self.activation, want_points, want_atoms))

    def __repr__(self) -> str:
        return f"NeuronCritic({self.activation!r})"


def _doubles(parts: Any) -> Any:
    return tuple(None if part is None else part.astype(np.float64, copy=False) for part in parts)


@final
class NeuronBall(Energy):
    """The indicator of the laws of neurons with |a| <= bound and |w| <= bound: steps are projected on it."""

    boxed = False

    def __init__(self, bound: float) -> None:
        self.bound = bound

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        z = state.coordinates
        size = max(float(np.abs(z[:, 0]).max()), float(np.linalg.norm(z[:, 1:-1], axis=1).max()))
        return 0.0 if size <= self.bound * (1.0 + 1e-12) else np.inf, np.zeros(z.shape)

    def project(self, z: np.ndarray) -> np.ndarray:
        a, w = np.clip(z[:, :1], -self.bound, self.bound), z[:, 1:-1]
        length = np.linalg.norm(w, axis=1, keepdims=True)
        return np.hstack([a, w * np.minimum(1.0, self.bound / np.maximum(length, 1e-300)), z[:, -1:]])

    def __repr__(self) -> str:
        return f"SpectralBound({self.bound:g})"
