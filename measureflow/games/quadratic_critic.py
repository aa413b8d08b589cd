"""Quadratic critics psi.x + x.A x/2 (theory, sections 8 M5 and 9.4 G12)."""

from __future__ import annotations

import numpy as np

from measureflow.games.critics import FeatureCritic
from measureflow.states import Gaussian, Law, State, Vector, moments


def monomials(x: np.ndarray) -> np.ndarray:
    """Return x_i, x_i^2/2 and x_i x_j/sqrt2, (n, d + d (d + 1)/2): psi.x + x.A x/2 with the Frobenius norm of A."""
    first, second = np.triu_indices(x.shape[1], 1)
    return np.hstack([x, 0.5 * x**2, np.sqrt(0.5) * x[:, first] * x[:, second]])


def monomial_slopes(x: np.ndarray) -> np.ndarray:
    """Return the gradients of `monomials`, (n, p, d)."""
    n, d = x.shape
    unit = np.eye(d)
    first, second = np.triu_indices(d, 1)
    mixed = np.sqrt(0.5) * (x[:, second, None] * unit[first] + x[:, first, None] * unit[second])
    return np.concatenate([np.broadcast_to(unit, (n, d, d)), x[:, :, None] * unit, mixed], axis=1)


def quadratic_critic() -> FeatureCritic:
    """Return the critic psi.x + x.A x/2 in any dimension d, its d + d (d + 1)/2 weights normed by |psi|^2 + |A|^2 (Frobenius).

    Against it every velocity is affine, so that Gaussians stay Gaussians (theory, G12).

    Examples
    --------
    >>> from measureflow import Vector
    >>> quadratic_critic().values(Vector([1.0, 4.0]), np.array([[3.0]]))
    array([21.])
    """
    return FeatureCritic(monomials, monomial_slopes)


def critic_of(psi: np.ndarray, A: np.ndarray) -> Vector:
    """Return the weights of the critic psi.x + x.A x/2."""
    return Vector(np.concatenate([psi, np.diag(A), np.sqrt(2.0) * A[np.triu_indices(len(A), 1)]]))


def parts_of(critic: Vector, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Return psi and A of a critic's weights."""
    above = np.zeros((d, d))
    above[np.triu_indices(d, 1)] = np.sqrt(0.5) * critic.values[2 * d :]
    return critic.values[:d], np.diag(critic.values[d : 2 * d]) + above + above.T


def variance_energy(states: tuple[State, ...], target: Law, speeds: tuple[float, float]) -> float:
    """Return H = a^2/(2 eta_1) + (g^2/4 - (g*^2/2) log g)/eta_0, conserved by centred laws on the line (theory, G12)."""
    squares = [float((law.cov if isinstance(law, Gaussian) else moments(law)[1])[0, 0]) for law in (states[0], target)]  # type: ignore[arg-type]
    curvature = float(states[1].coordinates[1])
    return 0.5 * curvature**2 / speeds[1] + (0.25 * squares[0] - 0.25 * squares[1] * float(np.log(squares[0]))) / speeds[0]
