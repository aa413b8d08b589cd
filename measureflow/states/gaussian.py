"""Gaussian laws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from measureflow import _validate as check
from measureflow.states.base import Law, owned
from measureflow.states.grid import Grid
from measureflow.states.histogram import Histogram


@final
@dataclass(frozen=True, eq=False, repr=False, init=False)
class Gaussian(Law):
    """The normal law N(mean, cov) on R^d.

    Parameters
    ----------
    mean : array_like, shape (d,)
        A number stands for shape (1,).
    cov : array_like, shape (d, d)
        Symmetric, positive semidefinite; a number stands for that multiple of the identity.

    Raises
    ------
    TypeError, ValueError
        If mean and cov are not finite reals of these shapes, or cov is not symmetric positive semidefinite.

    Examples
    --------
    >>> Gaussian([0.0, 1.0], [[2.0, 0.5], [0.5, 1.0]])
    Gaussian(d=2, mean=[0, 1], std=[1.41421, 1])
    """

    mean: np.ndarray
    cov: np.ndarray

    def __init__(self, mean: ArrayLike, cov: ArrayLike) -> None:
        centre = np.atleast_1d(check.array("mean", mean, ndim=(0, 1)))
        matrix = check.array("cov", cov, ndim=(0, 2))
        if matrix.ndim == 0:
            matrix = matrix * np.eye(len(centre))
        if matrix.shape != (len(centre), len(centre)):
            raise ValueError(f"cov must have shape {(len(centre), len(centre))} to fit mean, got {matrix.shape}")
        centre.flags.writeable = False
        object.__setattr__(self, "mean", centre)
        object.__setattr__(self, "cov", check.symmetric("cov", matrix, definite=True))

    @property
    def coordinates(self) -> np.ndarray:
        """Mean and covariance stacked, shape (d + 1, d): row 0 is the mean."""
        return np.vstack([self.mean, self.cov])

    @property
    def dim(self) -> int:
        """Dimension d."""
        return len(self.mean)

    def replace(self, coordinates: np.ndarray) -> Gaussian:
        """Return the Gaussian with these coordinates (d + 1, d)."""
        rows = owned("coordinates", coordinates, (self.dim + 1, self.dim))
        half = 0.5 * rows[1:]
        return Gaussian(rows[0], half + half.T)

    def density(self, points: np.ndarray) -> np.ndarray:
        """Return the Lebesgue density at points (..., d); the covariance must be invertible."""
        from scipy.stats import multivariate_normal

        x = check.array("points", points)
        if x.ndim == 0 or x.shape[-1] != self.dim:
            raise ValueError(f"points must have shape (..., {self.dim}), got {x.shape}")
        if np.linalg.eigvalsh(self.cov)[0] <= 0.0:
            raise ValueError(f"cov must be invertible for a density, got {self!r}")
        return np.asarray(multivariate_normal(self.mean, self.cov).pdf(x)).reshape(x.shape[:-1])

    def to_histogram(self, grid: Grid) -> Histogram:
        """Return the density at the cell centres of a grid of the same dimension, normalised."""
        check.instance("grid", grid, Grid, "a Grid")
        if grid.dim != self.dim:
            raise ValueError(f"grid must have the dimension {self.dim} of the law, got {grid.dim}")
        density = self.density(grid.centres)
        if not density.any():
            raise ValueError(f"grid must lie where {self!r} has mass, got {grid.bounds}")
        return Histogram.from_density(lambda points: density, grid)

    def _quantile(self, levels: np.ndarray) -> np.ndarray:
        from scipy.special import ndtri

        return np.asarray(self.mean[0] + np.sqrt(self.cov[0, 0]) * ndtri(levels))

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        return self.mean, self.cov

    def _draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.multivariate_normal(self.mean, self.cov, size=n, method="eigh")

    def _summary(self) -> str:
        shown = [", ".join(f"{v:.6g}" for v in row[:4]) + (", ..." if self.dim > 4 else "") for row in (self.mean, self._std())]
        return f"d={self.dim}, mean=[{shown[0]}], std=[{shown[1]}]"

    def _std(self) -> np.ndarray:
        return np.sqrt(np.diag(self.cov))
