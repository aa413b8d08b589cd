"""Generators: how the state of the first player of a GAN is a law, and how forces on that law move the state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies.quadrature import gaussian_gradient, gaussian_nodes
from measureflow.games.network import ACTIVATIONS, check_parameters, checked_widths, random_parameters
from measureflow.states import Gaussian, Histogram, Law, Particles, Quantiles, State, Vector, atoms

LAWS = (Particles, Quantiles, Histogram, Gaussian)
KINDS = "Particles, Quantiles, a Histogram or a Gaussian"


def law_points(asks: object, law: Law) -> tuple[np.ndarray, np.ndarray]:
    """Return points (n, d) and weights (n,) of a law: its atoms, cells, or the quadrature nodes of a Gaussian."""
    return gaussian_nodes(asks, law) if isinstance(law, Gaussian) else atoms(law)


class Generator(ABC):
    """A map from states to laws."""

    @abstractmethod
    def check(self, name: str, state: State, dim: int) -> None:
        """Raise unless `state` gives a law in dimension `dim`."""

    @abstractmethod
    def points(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        """Return points (n, d) and weights (n,) of the law."""

    @abstractmethod
    def gradient(self, state: State, values: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        """Return the gradient, of the shape of the state's coordinates, of E V from V (n,) and grad V (n, d) at the points."""

    def thinned(self, size: int, rng: np.random.Generator) -> Generator | None:
        """Return the generator of `size` random points of the law; None if the points are the state itself."""
        return None


@final
class LawGenerator(Generator):
    """The state is the law: `Particles`, `Quantiles`, a `Gaussian`, or a `Histogram` (weights of modes).

    Examples
    --------
    >>> from measureflow import Particles
    >>> LawGenerator().points(Particles([[1.0], [2.0]]))[1]
    array([0.5, 0.5])
    """

    def check(self, name: str, state: State, dim: int) -> None:
        law = check.instance(name, state, LAWS, f"{KINDS}, the generator's law")
        if law.dim != dim:
            raise ValueError(f"{name} must have the target's dimension {dim}, got {law!r}")

    def points(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        return law_points(self, check.instance("state", state, LAWS, KINDS))

    def gradient(self, state: State, values: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        if isinstance(state, Histogram):
            return values.reshape(state.grid.shape)
        if isinstance(state, Gaussian):
            return gaussian_gradient(state, slopes)
        return slopes.reshape(state.coordinates.shape)

    def __repr__(self) -> str:
        return "LawGenerator()"


@final
class MLPGenerator(Generator):
    """A network G_theta that pushes a latent law forward; the state is the `Vector` of its parameters theta.

    Hidden layers have an activation, the last layer is linear. Parameters are, layer by layer, the matrix (in, out) row by row
    and the biases (out,). They move in R^p, so that the law moves as the network lets it: theta' = -E (dG_theta/dtheta)^T grad V.

    Parameters
    ----------
    latent : Particles, Quantiles or Histogram
        The latent law; its atoms are pushed, or random ones in each step with ``batch=(target, own)``.
    dim : int
        Dimension of the law that is generated.
    widths : sequence of int
        Neurons of the hidden layers; () is an affine map.
    activation : {"tanh", "relu", "softplus"}
    dtype : {"float64", "float32"}
        Precision of the network's sums.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> import measureflow as mf
    >>> shift = MLPGenerator(mf.Particles([[0.0], [1.0]]), 1, widths=())
    >>> shift.points(mf.Vector([1.0, 5.0]))[0].tolist()
    [[5.0], [6.0]]
    """

    def __init__(self, latent: Law, dim: int, widths: Any = (64, 64), activation: str = "tanh", dtype: str = "float64") -> None:
        self.latent = check.instance("latent", latent, (Particles, Quantiles, Histogram), "Particles, Quantiles or a Histogram")
        self.dim = check.integer("dim", dim, least=1)
        self.widths = checked_widths(widths)
        self.activation = check.choice("activation", activation, ACTIVATIONS)
        self.dtype = check.choice("dtype", dtype, ("float64", "float32"))
        points, weights = atoms(latent)
        held = weights > 0.0
        self._latent, self._weights = points[held], weights[held]

    @property
    def layers(self) -> tuple[int, ...]:
        """Widths of all layers, the latent dimension first."""
        return (self.latent.dim, *self.widths, self.dim)

    def initial(self, seed: int = 0, scale: float = 1.0) -> Vector:
        """Return random parameters: matrices N(0, scale^2 / in), biases 0."""
        return random_parameters(self.layers, seed, scale)

    def check(self, name: str, state: State, dim: int) -> None:
        if self.dim != dim:
            raise ValueError(f"generator must have the target's dimension {dim}, got {self!r}")
        check_parameters(name, state, self.layers)

    def points(self, state: State) -> tuple[np.ndarray, np.ndarray]:
        from measureflow.kernels import mlp  # numba is loaded at first use

        check_parameters("state", state, self.layers)
        z = self._latent.astype(self.dtype, copy=False)
        out = mlp.values(state.coordinates, self.layers, self.activation, z)
        return out.astype(np.float64, copy=False), self._weights

    def gradient(self, state: State, values: np.ndarray, slopes: np.ndarray) -> np.ndarray:
        from measureflow.kernels.mlp import pullback

        z = self._latent.astype(self.dtype, copy=False)
        q = (self._weights[:, None] * slopes).astype(self.dtype, copy=False)
        return np.asarray(pullback(state.coordinates, self.layers, self.activation, z, q)[0], dtype=np.float64)

    def thinned(self, size: int, rng: np.random.Generator) -> Generator:
        from measureflow.energies.discrepancy import random_atoms

        return MLPGenerator(random_atoms(self.latent, size, rng), self.dim, self.widths, self.activation, self.dtype)

    def __repr__(self) -> str:
        return f"MLPGenerator({' -> '.join(map(str, self.layers))}, {self.activation!r})"
