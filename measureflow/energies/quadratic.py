"""Quadratic potentials, the ones with closed forms on every state."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies.base import PointEnergy
from measureflow.states import Gaussian


@final
class Quadratic(PointEnergy):
    """E(mu) = int (x - c)^T A (x - c) / 2 + b . x dmu; minimizing movements are linear maps (theory E1, S2).

    Parameters
    ----------
    matrix : float or array_like, shape (d, d)
        A, symmetric; a number stands for that multiple of the identity in any dimension.
    centre : array_like, shape (d,), optional
        c, zero by default.
    linear : array_like, shape (d,), optional
        b, zero by default.
    constant : float
        Added to the value.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described, or a state has another dimension.

    Examples
    --------
    >>> from measureflow import Vector
    >>> Quadratic(2.0, centre=[1.0, 0.0]).gradient(Vector([0.0, 1.0]))
    array([-2.,  2.])
    """

    def __init__(self, matrix: Any = 1.0, centre: Any = None, linear: Any = None, constant: float = 0.0) -> None:
        self.constant = check.scalar("constant", constant)
        a = check.array("matrix", matrix, ndim=(0, 2))
        self.matrix = a if a.ndim == 0 else check.symmetric("matrix", a)
        self.centre = None if centre is None else np.atleast_1d(check.array("centre", centre, ndim=(0, 1)))
        self.linear = None if linear is None else np.atleast_1d(check.array("linear", linear, ndim=(0, 1)))
        sizes = {len(v) for v in (self.centre, self.linear) if v is not None} | ({len(a)} if a.ndim else set())
        if len(sizes) > 1:
            raise ValueError(f"matrix, centre and linear must have one dimension, got {sorted(sizes)}")
        self._dim = sizes.pop() if sizes else None

    @property
    def convexity(self) -> float:
        return float(self.matrix if self.matrix.ndim == 0 else np.linalg.eigvalsh(self.matrix)[0])

    def normal_form(self, dim: int) -> tuple[np.ndarray, np.ndarray, float]:
        """Return A (d, d), b (d,) and e such that the potential is x.A x/2 + b.x + e in dimension `dim`."""
        if self._dim not in (None, dim):
            raise ValueError(f"this Quadratic lives in dimension {self._dim}, the state has dimension {dim}")
        a = float(self.matrix) * np.eye(dim) if self.matrix.ndim == 0 else self.matrix
        b = np.zeros(dim) if self.linear is None else self.linear
        if self.centre is None:
            return a, b, self.constant
        return a, b - a @ self.centre, 0.5 * float(self.centre @ a @ self.centre) + self.constant

    def values(self, points: np.ndarray) -> np.ndarray:
        """Return the potential at points (n, d): (n,)."""
        return self._both(points)[0]

    def _both(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        dim = points.shape[1]
        if self._dim not in (None, dim):
            self.normal_form(dim)
        offset = points if self.centre is None else points - self.centre
        slope = offset * float(self.matrix) if self.matrix.ndim == 0 else offset @ self.matrix
        values = 0.5 * np.einsum("nd,nd->n", offset, slope) + self.constant
        if self.linear is None:
            return values, slope
        return values + points @ self.linear, slope + self.linear

    def _on_atoms(self, points: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
        values, slope = self._both(points)
        return float(weights @ values), slope

    def _first_variation(self, points: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
        values = self._both(points)[0]
        return float(weights @ values), values

    def _on_gaussian(self, law: Gaussian) -> tuple[float, np.ndarray]:
        a, b, e = self.normal_form(law.dim)
        value = 0.5 * float(law.mean @ a @ law.mean + np.sum(a * law.cov)) + float(b @ law.mean) + e
        return value, np.vstack([a @ law.mean + b, 0.5 * a])

    def __repr__(self) -> str:
        return f"Quadratic({'matrix' if self.matrix.ndim else f'{float(self.matrix):g}'})"
