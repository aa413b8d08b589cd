"""Transport between Gaussians: the Bures distance of covariance matrices and the linear map that is optimal.

With any factors ``S0 = L L'`` and ``S1 = C C'`` and the singular values ``L' C = U s V'``, the distance is
``|L - C V U'|_F`` (Bhatia, Jain and Lim, On the Bures-Wasserstein distance between positive definite matrices, 2019,
theorem 1), and the map is ``A = L'^{-1} U s U' L^{-1}``. Neither takes the square root of a small eigenvalue of a
product, nor a difference of traces, so that equal matrices are at distance 0 to rounding. The convention is that of
theory.md section 1 and S18.
"""

from __future__ import annotations

import numpy as np

from measureflow import _validate
from measureflow.transport.plan import exponent, unscale


def sqrtm_psd(S: np.ndarray) -> np.ndarray:
    """Return the symmetric square root (d, d) of a symmetric positive semidefinite matrix S (d, d)."""
    S = _covariance("S", S)
    values, vectors = np.linalg.eigh(S)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return np.asarray(0.5 * (root + root.T))


def bures_distance_squared(S0: np.ndarray, S1: np.ndarray) -> float:
    """Return ``tr(S0 + S1 - 2 (S0^{1/2} S1 S0^{1/2})^{1/2})``, the squared W2 of centred Gaussians.

    Parameters
    ----------
    S0, S1 : ndarray, shape (d, d)
        Symmetric positive semidefinite matrices; both may be singular.
    """
    S0, S1, size = _pair(S0, S1)
    L, C = _factor(S0), _factor(S1)
    U, _, Vt = np.linalg.svd(L.T @ C)
    return unscale(float(np.sum((L - C @ (U @ Vt).T) ** 2)), size)


def bures_map(S0: np.ndarray, S1: np.ndarray) -> np.ndarray:
    """Return the symmetric matrix A >= 0 with ``A S0 A = S1``: x -> A x transports N(0, S0) to N(0, S1).

    Parameters
    ----------
    S0 : ndarray, shape (d, d)
        Symmetric positive definite matrix.
    S1 : ndarray, shape (d, d)
        Symmetric positive semidefinite matrix; it may be singular.

    Returns
    -------
    ndarray, shape (d, d)
        The same as ``S0^{-1/2} (S0^{1/2} S1 S0^{1/2})^{1/2} S0^{-1/2}``.

    Raises
    ------
    ValueError
        If S0 is singular to rounding: there is in general no map then, because mass of a subspace would have to split.
    """
    S0, S1, _ = _pair(S0, S1)
    L, C = _definite_factor(S0), _factor(S1)
    U, values, _ = np.linalg.svd(L.T @ C)
    half = np.linalg.solve(L.T, U)  # a triangular solver of SciPy would start threads even for small matrices
    A = (half * values) @ half.T
    return np.asarray(0.5 * (A + A.T))


def gaussian_distance(m0: np.ndarray, S0: np.ndarray, m1: np.ndarray, S1: np.ndarray) -> float:
    """Return W2 between the Gaussians N(m0, S0) and N(m1, S1).

    Parameters
    ----------
    m0, m1 : ndarray, shape (d,)
        Means.
    S0, S1 : ndarray, shape (d, d)
        Covariance matrices, symmetric positive semidefinite.
    """
    m0 = _validate.array("m0", m0, ndim=1)
    m1 = _validate.array("m1", m1, shape=m0.shape)
    if np.shape(S0) != m0.shape * 2:
        raise ValueError(f"S0 must have shape {m0.shape * 2}, got {np.shape(S0)}")
    return float(np.hypot(np.linalg.norm(m0 - m1), np.sqrt(bures_distance_squared(S0, S1))))


def _covariance(name: str, S: np.ndarray) -> np.ndarray:
    return _validate.symmetric(name, _validate.array(name, S, ndim=2), definite=True)


def _pair(S0: np.ndarray, S1: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Return both matrices times ``2^-e``, entries below 1, and e."""
    S0, S1 = _covariance("S0", S0), _covariance("S1", S1)
    if S0.shape != S1.shape:
        raise ValueError(f"S1 must have the shape of S0, {S0.shape}, got {S1.shape}")
    size = exponent(S0, S1)
    return np.ldexp(S0, -size), np.ldexp(S1, -size), size


def _factor(S: np.ndarray) -> np.ndarray:
    """Return L (d, d) with ``L L' = S``: the Cholesky factor, or one from the eigenvalues where S is singular."""
    try:
        return np.linalg.cholesky(S)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(S)
        return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _definite_factor(S0: np.ndarray) -> np.ndarray:
    """Return the Cholesky factor of S0; its pivots say, independently of scales, whether S0 is singular."""
    try:
        L = np.linalg.cholesky(S0)
        lowest = float(np.min(np.diag(L) ** 2 / np.diag(S0)))
    except np.linalg.LinAlgError:
        lowest = 0.0
    if lowest <= len(S0) * np.finfo(np.float64).eps:
        raise ValueError(f"S0 must be positive definite, got one that is singular to rounding (pivot {lowest:.3g})")
    return np.asarray(L)
