"""Functions on a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from measureflow import _validate as check
from measureflow.states.base import State, owned
from measureflow.states.grid import Grid


@final
@dataclass(frozen=True, eq=False, repr=False, init=False)
class Field(State):
    """A function on a grid by its values at the cell centres; its space is L2 (or H^s with the metric `Sobolev`).

    Parameters
    ----------
    values : array_like, shape grid.shape
    grid : Grid

    Raises
    ------
    TypeError, ValueError
        If values are not finite reals of the grid's shape.

    Examples
    --------
    >>> Field([0.0, 1.0, 0.0], Grid([(0.0, 3.0)], (3,)))
    Field(shape=(3,), from 0 to 1)
    """

    values: np.ndarray
    grid: Grid

    def __init__(self, values: ArrayLike, grid: Grid) -> None:
        object.__setattr__(self, "grid", check.instance("grid", grid, Grid, "a Grid"))
        object.__setattr__(self, "values", check.array("values", values, shape=grid.shape))

    @property
    def coordinates(self) -> np.ndarray:
        """The values, shape grid.shape."""
        return self.values

    def replace(self, coordinates: np.ndarray) -> Field:
        """Return the function with other values on the same grid."""
        field = object.__new__(Field)
        object.__setattr__(field, "values", owned("values", coordinates, self.values.shape))
        object.__setattr__(field, "grid", self.grid)
        return field

    def _summary(self) -> str:
        return f"shape={self.grid.shape}, from {self.values.min():.6g} to {self.values.max():.6g}"
