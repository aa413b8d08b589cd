"""Laws given by masses of grid cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from measureflow import _validate as check
from measureflow.states.base import MassLaw, normalised, owned, weighted_moments
from measureflow.states.grid import Grid


@final
@dataclass(frozen=True, eq=False, repr=False, init=False)
class Histogram(MassLaw):
    """The law that puts a mass on each cell of a grid.

    Integrals against a histogram are sums over cell centres (midpoint rule); its density is mass / cell volume; transport
    in 1-D treats the mass of a cell as spread evenly over it.

    Parameters
    ----------
    masses : array_like, shape grid.shape
        Nonnegative, with sum 1.
    grid : Grid

    Raises
    ------
    TypeError, ValueError
        If masses do not fit the grid, are negative or do not sum to 1.

    Examples
    --------
    >>> grid = Grid([(0.0, 1.0)], (4,))
    >>> Histogram([0.25, 0.25, 0.5, 0.0], grid).mean()
    array([0.4375])
    """

    masses: np.ndarray
    grid: Grid

    def __init__(self, masses: ArrayLike, grid: Grid) -> None:
        object.__setattr__(self, "grid", check.instance("grid", grid, Grid, "a Grid"))
        object.__setattr__(self, "masses", _nonnegative(check.array("masses", masses, shape=grid.shape)))

    @staticmethod
    def from_density(f: Callable[[np.ndarray], np.ndarray], grid: Grid) -> Histogram:
        """Return the histogram of a density known up to a factor.

        Parameters
        ----------
        f : callable
            (..., d) -> (...), nonnegative; evaluated at the cell centres and normalised.
        grid : Grid

        Raises
        ------
        CallbackError
            If f returns the wrong shape or values that are not finite.
        ValueError
            If f is negative somewhere or zero everywhere.
        """
        check.function("f", f)
        check.instance("grid", grid, Grid, "a Grid")
        values = check.returned("f", f(grid.centres), grid.shape)
        if values.min() < 0.0 or values.max() == 0.0:
            raise ValueError(f"f must be nonnegative and positive somewhere, got values in [{values.min():g}, {values.max():g}]")
        scaled = values / values.max()
        return Histogram(scaled / scaled.sum(), grid)

    @property
    def coordinates(self) -> np.ndarray:
        """The masses, shape grid.shape."""
        return self.masses

    @property
    def density(self) -> np.ndarray:
        """Mass divided by cell volume, shape grid.shape."""
        return self.masses / self.grid.cell_volume

    @property
    def dim(self) -> int:
        """Dimension of the grid."""
        return self.grid.dim

    def replace(self, coordinates: np.ndarray) -> Histogram:
        """Return the histogram on the same grid with other masses (nonnegative, sum 1)."""
        law = object.__new__(Histogram)
        object.__setattr__(law, "masses", _nonnegative(owned("masses", coordinates, self.masses.shape)))
        object.__setattr__(law, "grid", self.grid)
        return law

    def _levels(self) -> int | None:
        return int(self.masses.size)

    def _atoms(self) -> tuple[np.ndarray, np.ndarray]:
        return self.grid.points, self.masses.ravel()

    def _quantile(self, levels: np.ndarray) -> np.ndarray:
        cdf = np.concatenate([[0.0], np.cumsum(self.masses)])
        cdf /= cdf[-1]
        cell = np.clip(np.searchsorted(cdf, levels, side="left") - 1, 0, self.masses.size - 1)
        share = (levels - cdf[cell]) / (cdf[cell + 1] - cdf[cell])
        return np.asarray(np.maximum.accumulate(self.grid.edges[0][cell] + share * self.grid.spacing[0]))

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        return weighted_moments(self.grid.points, self.masses.ravel())

    def _draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        cells = rng.choice(self.masses.size, size=n, p=self.masses.ravel())
        return self.grid.points[cells] + (rng.random((n, self.dim)) - 0.5) * self.grid.spacing

    def _summary(self) -> str:
        box = " x ".join(f"[{lo:g}, {hi:g}]" for lo, hi in self.grid.bounds)
        return f"shape={self.grid.shape} on {box}"


def _nonnegative(masses: np.ndarray) -> np.ndarray:
    if masses.min() < 0.0:
        raise ValueError(f"masses must be nonnegative, got the minimum {masses.min():g}")
    return normalised("masses", masses)
