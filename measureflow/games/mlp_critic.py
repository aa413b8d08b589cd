"""A multi-layer perceptron as critic."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.games.critics import Critic
from measureflow.games.network import ACTIVATIONS, Layers, check_parameters, checked_widths, matrices, random_parameters
from measureflow.states import State, Vector


@final
class MLPCritic(Critic):
    """D_w(x): a network of any depth with one linear output; its state is the `Vector` of parameters w, that move in R^p.

    Parameters are, layer by layer, the matrix (in, out) row by row and the biases (out,).

    Parameters
    ----------
    widths : sequence of int
        Neurons of the hidden layers; () is an affine function.
    activation : {"tanh", "relu", "softplus"}
    dtype : {"float64", "float32"}
        Precision of the network's sums.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Notes
    -----
    Gradients are fused forward and backward sweeps over blocks of points; those of gradient penalties are derived by hand, a
    directional derivative and the sweep back through it. With "relu" D has kinks: take the scheme `Explicit`.

    Examples
    --------
    >>> import numpy as np
    >>> from measureflow import Vector
    >>> MLPCritic(widths=()).values(Vector([2.0, -1.0, 0.5]), np.array([[1.0, 3.0]]))
    array([-0.5])
    """

    def __init__(self, widths: Any = (64, 64), activation: str = "tanh", dtype: str = "float64") -> None:
        self.widths = checked_widths(widths)
        self.activation = check.choice("activation", activation, ACTIVATIONS)
        self.dtype = check.choice("dtype", dtype, ("float64", "float32"))

    def layers(self, dim: int) -> Layers:
        """Return the widths of all layers for points in dimension `dim`."""
        return (dim, *self.widths, 1)

    def initial(self, dim: int, seed: int = 0, scale: float = 1.0) -> Vector:
        """Return random parameters for points in dimension `dim`: matrices N(0, scale^2 / in), biases 0."""
        return random_parameters(self.layers(check.integer("dim", dim, least=1)), seed, scale)

    def check(self, name: str, state: State, dim: int) -> None:
        check_parameters(name, state, self.layers(dim))

    def values(self, state: State, points: np.ndarray) -> np.ndarray:
        from measureflow.kernels import mlp  # numba is loaded at first use

        return np.asarray(mlp.values(*self._arguments(state, points))[:, 0], dtype=np.float64)

    def values_and_slopes(self, state: State, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from measureflow.kernels.mlp import with_slopes

        values, slopes = with_slopes(*self._arguments(state, points))
        return values.astype(np.float64, copy=False), slopes.astype(np.float64, copy=False)

    def pullback(
        self, state: State, points: np.ndarray, q: np.ndarray | None, directions: np.ndarray | None = None
    ) -> np.ndarray:
        from measureflow.kernels.mlp import pullback, pullback_slopes

        arguments, total = self._arguments(state, points), np.zeros(len(state))
        if q is not None:
            total += pullback(*arguments, q[:, None].astype(self.dtype, copy=False))[0]
        if directions is not None:
            total += pullback_slopes(*arguments, directions.astype(self.dtype, copy=False))
        return total

    def _arguments(self, state: State, points: np.ndarray) -> tuple[np.ndarray, Layers, str, np.ndarray]:
        """Return parameters, layers, activation and points as the kernels take them."""
        x = check.array("points", points, ndim=2)
        layers = self.layers(x.shape[1])
        check_parameters("state", state, layers)
        return state.coordinates, layers, self.activation, x.astype(self.dtype, copy=False)

    def spectral_bound(self, bound: float) -> Energy:
        return _MatrixBall(self.widths, bound)

    def __repr__(self) -> str:
        return f"MLPCritic({self.widths}, {self.activation!r})"


@final
class _MatrixBall(Energy):
    """The indicator of networks whose matrices have spectral norms of at most `bound`; singular values are clipped."""

    boxed = False

    def __init__(self, widths: Layers, bound: float) -> None:
        self.widths = widths
        self.bound = bound

    def _matrices(self, size: int) -> list[tuple[slice, tuple[int, int]]]:
        """Return the matrices among `size` parameters, which tell the dimension of the points."""
        rest = matrices((*self.widths, 1))
        behind = rest[-1][0].stop + 1 if rest else 0
        first = self.widths[0] if self.widths else 1
        dim = (size - behind) // first - 1
        return matrices((dim, *self.widths, 1))

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        z = state.coordinates
        norms = [np.linalg.norm(z[cut].reshape(shape), 2) for cut, shape in self._matrices(len(z))]
        return 0.0 if max(norms) <= self.bound * (1.0 + 1e-9) else np.inf, np.zeros(z.shape)

    def project(self, z: np.ndarray) -> np.ndarray:
        z = z.copy()
        for cut, shape in self._matrices(len(z)):
            left, sizes, right = np.linalg.svd(z[cut].reshape(shape), full_matrices=False)
            if sizes[0] > self.bound:
                z[cut] = ((left * np.minimum(sizes, self.bound)) @ right).ravel()
        return z

    def __repr__(self) -> str:
        return f"SpectralBound({self.bound:g})"
