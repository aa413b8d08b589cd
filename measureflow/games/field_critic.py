"""A critic that is a function on a grid."""

from __future__ import annotations

from itertools import product
from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.games.critics import Critic
from measureflow.metrics.sobolev import bessel
from measureflow.states import Field, Grid, State


@final
class FieldCritic(Critic):
    """D(x) interpolates a function on a grid; its state is a `Field`, that ascends in L2 or, with the metric `Sobolev`, in H^s.

    Between cell centres D is multilinear; in the outer half cells of a side that is not periodic it is constant across that side.

    Parameters
    ----------
    grid : Grid
        Points outside a side that is not periodic count as on it.
    order : float
        `Ridge` (beta) is (beta/2) |D|^2 in H^order, as `Sobolev` defines it; 0 is L2.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described.

    Examples
    --------
    >>> import numpy as np
    >>> from measureflow import Field, Grid
    >>> grid = Grid([(0.0, 3.0)], (3,))
    >>> FieldCritic(grid).values(Field([0.0, 1.0, 4.0], grid), np.array([[1.0], [2.25]]))
    array([0.5 , 3.25])
    """

    def __init__(self, grid: Grid, order: float = 0.0) -> None:
        self.grid = check.instance("grid", grid, Grid, "a Grid")
        self.order = check.scalar("order", order)
        self._kept: list[tuple[np.ndarray, Any]] = []

    def check(self, name: str, state: State, dim: int) -> None:
        field = check.instance(name, state, Field, "a Field on the critic's grid")
        if field.grid != self.grid:
            raise ValueError(f"{name} must live on the critic's grid {self.grid}, got {field.grid}")
        if dim != self.grid.dim:
            raise ValueError(f"critic must have a grid of dimension {dim}, got {self.grid}")

    def _rows(self, points: np.ndarray) -> tuple[Any, list[Any]]:
        """Return the sparse matrices (n, cells) of values and of slopes in each direction; those of two point sets are kept."""
        for known, found in self._kept:
            if known is points:
                return found
        found = _interpolation(self.grid, check.array("points", points, shape=(None, self.grid.dim)))
        self._kept = [*self._kept[-1:], (points, found)]
        return found

    def values(self, state: State, points: np.ndarray) -> np.ndarray:
        self.check("state", state, points.shape[1])
        return np.asarray(self._rows(points)[0] @ state.coordinates.ravel())

    def values_and_slopes(self, state: State, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = self.values(state, points)
        flat = state.coordinates.ravel()
        return values, np.stack([matrix @ flat for matrix in self._rows(points)[1]], axis=1)

    def pullback(
        self, state: State, points: np.ndarray, q: np.ndarray | None, directions: np.ndarray | None = None
    ) -> np.ndarray:
        rows, slopes = self._rows(points)
        total = np.zeros(self.grid.shape).ravel()
        if q is not None:
            total += rows.T @ q
        if directions is not None:
            for matrix, u in zip(slopes, directions.T, strict=True):
                total += matrix.T @ u
        return total.reshape(self.grid.shape) / self.grid.cell_volume

    def ridge(self, beta: float) -> Energy:
        return _FieldRidge(beta, self.order)

    def __repr__(self) -> str:
        return f"FieldCritic({self.grid}, order={self.order:g})"


@final
class _FieldRidge(Energy):
    """D -> (beta/2) |D|^2 in H^s."""

    def __init__(self, beta: float, order: float) -> None:
        self.beta = beta
        self.order = order

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        field = check.instance("state", state, Field, "a Field")
        smooth = self.beta * bessel(field.values, field.grid, self.order)
        return 0.5 * field.grid.cell_volume * float(np.sum(smooth * field.values)), smooth

    @property
    def convexity(self) -> float:
        return self.beta


def _interpolation(grid: Grid, points: np.ndarray) -> tuple[Any, list[Any]]:
    """Return the matrices of multilinear interpolation between cell centres and of its derivatives."""
    from scipy.sparse import csr_array

    n, sides = len(points), range(grid.dim)
    low, high, share, width = [], [], [], []
    for k in sides:
        cells, step = grid.shape[k], grid.spacing[k]
        place = (points[:, k] - grid.bounds[k][0]) / step - 0.5
        if grid.periodic[k]:
            left = np.floor(place).astype(np.int64)
            low.append(left % cells)
            high.append((left + 1) % cells)
        else:
            place = np.clip(place, 0.0, cells - 1.0)
            left = np.minimum(place.astype(np.int64), max(cells - 2, 0))
            low.append(left)
            high.append(np.minimum(left + 1, cells - 1))
        share.append(place - left)
        inside = np.ones(n) if grid.periodic[k] else ((place > 0.0) & (place < cells - 1.0)).astype(float)
        width.append(inside / step)
    corners = list(product((0, 1), repeat=grid.dim))
    columns = [
        np.ravel_multi_index([(low, high)[c][k] for k, c in zip(sides, corner, strict=True)], grid.shape) for corner in corners
    ]

    def matrix(derivative: int | None) -> Any:
        entries = []
        for corner in corners:
            weight = np.ones(n)
            for k, c in zip(sides, corner, strict=True):
                weight = weight * ((2 * c - 1) * width[k] if k == derivative else share[k] if c else 1.0 - share[k])
            entries.append(weight)
        rows = np.tile(np.arange(n), len(corners))
        size = int(np.prod(grid.shape))
        return csr_array((np.concatenate(entries), (rows, np.concatenate(columns))), shape=(n, size))

    return matrix(None), [matrix(k) for k in sides]
