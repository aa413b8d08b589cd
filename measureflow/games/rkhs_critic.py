"""A critic in the reproducing kernel Hilbert space of a kernel."""

from __future__ import annotations

from functools import cached_property
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy, Quadratic
from measureflow.energies.kernels import UserKernel, kernel_from
from measureflow.errors import UnsupportedError
from measureflow.games.critics import Critic
from measureflow.states import State, Vector

SMALLEST = 1e-12


@final
class RKHSCritic(Critic):
    """A function D of the Hilbert space H of a kernel, in the span of k(z_j, .) at given centres z_j (theory, section 7.2).

    Its state is the `Vector` c of coordinates in an orthonormal basis of that span: |c| = |D|_H, the critic ascends in H, and
    D = sum_j alpha_j k(z_j, .) with alpha = K^(-1/2) c, K_ij = k(z_i, z_j). With `Ridge` (beta) an infinitely fast critic is
    (m_mu - m_target)/beta, seen through the span; its generator follows MMD^2/(2 beta).

    Parameters
    ----------
    kernel : Kernel, str or callable
        Positive definite: `GaussianKernel`, `LaplaceKernel`, "gaussian", "laplace", or the user's own (`UserKernel`).
    centres : array_like, shape (m, d)
        Points where the critic may bend, as the atoms of the target and places that the generator passes.
    bandwidth : float
        Bandwidth of a kernel given by name.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or the kernel is not positive semidefinite at the centres.

    Notes
    -----
    Values and gradients are sums over centres without an n x m array. Directions in which K is below 1e-12 of its largest
    eigenvalue are left out. Gradient penalties need a kernel of x - y.

    Examples
    --------
    >>> import numpy as np
    >>> from measureflow import Vector
    >>> critic = RKHSCritic("gaussian", [[0.0]])
    >>> critic.values(Vector([2.0]), np.array([[0.0], [1.0]])).round(6)
    array([2.      , 1.213061])
    """

    linear = True

    def __init__(self, kernel: Any, centres: Any, bandwidth: float = 1.0) -> None:
        self.kernel = kernel_from(kernel, bandwidth)
        self.centres = check.array("centres", centres, ndim=2)
        if self._spectrum[0][0] < -1e-9 * self._spectrum[0][-1]:
            raise ValueError(f"kernel must be positive semidefinite at the centres, got {self.kernel!r}, which is not")

    @cached_property
    def _spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues, increasing, and eigenvectors of K."""
        z = self.centres
        columns = [self.kernel.integrate(z, z[j : j + 1], np.ones(1))[0] for j in range(len(z))]
        matrix = np.stack(columns, axis=1)
        eigenvalues, vectors = np.linalg.eigh(0.5 * (matrix + matrix.T))
        return eigenvalues, vectors

    def _whitened(self, vector: np.ndarray) -> np.ndarray:
        """Return K^(-1/2) times a vector (m,)."""
        eigenvalues, vectors = self._spectrum
        held = eigenvalues > SMALLEST * eigenvalues[-1]
        scale = np.where(held, 1.0 / np.sqrt(np.where(held, eigenvalues, 1.0)), 0.0)
        return np.asarray(vectors @ (scale * (vectors.T @ vector)))

    def check(self, name: str, state: State, dim: int) -> None:
        vector = check.instance(name, state, Vector, "a Vector, one coordinate for each centre")
        if len(vector) != len(self.centres):
            raise ValueError(f"{name} must have one coordinate for each of the {len(self.centres)} centres, got {vector!r}")
        if dim != self.centres.shape[1]:
            raise ValueError(f"critic must have centres in dimension {dim}, got dimension {self.centres.shape[1]}")

    def values(self, state: State, points: np.ndarray) -> np.ndarray:
        return self.values_and_slopes(state, points)[0]

    def values_and_slopes(self, state: State, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        points = check.array("points", points, ndim=2)
        self.check("state", state, points.shape[1])
        return self.kernel.integrate(points, self.centres, self._whitened(state.coordinates))

    def pullback(
        self, state: State, points: np.ndarray, q: np.ndarray | None, directions: np.ndarray | None = None
    ) -> np.ndarray:
        sums = np.zeros(len(self.centres))
        if q is not None:
            sums += self.kernel.integrate(self.centres, points, q)[0]
        if directions is not None:
            sums += self._against(points, directions)
        return self._whitened(sums)

    def _against(self, points: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Return sum_i u_i . grad_x k(x_i, z_j): by k(x - z) minus the gradient in z."""
        if isinstance(self.kernel, UserKernel):
            raise UnsupportedError("gradient penalties of an RKHSCritic need a built-in kernel, got a UserKernel")
        slopes = [self.kernel.integrate(self.centres, points, u)[1][:, k] for k, u in enumerate(directions.T)]
        return np.asarray(-np.sum(slopes, axis=0))

    def payoff(self, points: np.ndarray, q: np.ndarray) -> Energy:
        return Quadratic(0.0, linear=self._whitened(self.kernel.integrate(self.centres, points, q)[0]))

    def __repr__(self) -> str:
        return f"RKHSCritic({self.kernel!r}, {len(self.centres)} centres)"
