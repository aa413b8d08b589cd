"""Regular grids of cells on a box in one to three dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np

from measureflow import _validate as check


@final
@dataclass(frozen=True)
class Grid:
    """Equal cells that fill a box; functions live at the cell centres.

    Parameters
    ----------
    bounds : sequence of (lo, hi)
        One pair of finite numbers lo < hi a dimension, 1 to 3 of them.
    shape : sequence of int
        Number of cells a dimension, each at least 1 (an int stands for a 1-D shape).
    periodic : bool or sequence of bool
        Whether opposite sides are glued, for all or for each dimension.

    Raises
    ------
    TypeError, ValueError
        If bounds and shape do not describe such a box.

    Examples
    --------
    >>> grid = Grid([(0.0, 1.0)], (4,))
    >>> grid.axes[0]
    array([0.125, 0.375, 0.625, 0.875])
    >>> grid.cell_volume
    0.25
    """

    bounds: Any
    shape: Any
    periodic: Any = False

    def __post_init__(self) -> None:
        pairs = check.array("bounds", self.bounds, shape=(None, 2))
        if len(pairs) > 3:
            raise ValueError(f"bounds must have 1 to 3 pairs (lo, hi), got {len(pairs)}")
        if not np.all(pairs[:, 0] < pairs[:, 1]):
            raise ValueError(f"bounds must satisfy lo < hi in every dimension, got {pairs.tolist()}")
        sizes = (self.shape,) if isinstance(self.shape, (int, np.integer)) else self.shape
        flags = (self.periodic,) * len(pairs) if isinstance(self.periodic, (bool, np.bool_)) else self.periodic
        sizes = check.entries("shape", sizes, len(pairs), "one integer for each pair of bounds")
        flags = check.entries("periodic", flags, len(pairs), "one bool for each pair of bounds (or be one bool)")
        object.__setattr__(self, "bounds", tuple((float(lo), float(hi)) for lo, hi in pairs))
        object.__setattr__(self, "shape", tuple(check.integer("shape", k, least=1) for k in sizes))
        object.__setattr__(self, "periodic", tuple(check.flag("periodic", k) for k in flags))
        self._require_cells()

    def _require_cells(self) -> None:
        """Raise unless cells are wider than the rounding of their ends and their volume is a finite number."""
        with np.errstate(over="ignore", under="ignore"):
            narrow = self.spacing <= 4.0 * np.finfo(float).eps * np.abs(self.bounds).max(axis=1)
            if np.any(narrow) or not 0.0 < self.cell_volume < np.inf:
                raise ValueError(f"bounds must give cells of positive finite volume, got {self.bounds} for {self.shape} cells")

    @property
    def dim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def spacing(self) -> np.ndarray:
        """Width of a cell in each dimension, shape (d,)."""
        return np.array([(hi - lo) / k for (lo, hi), k in zip(self.bounds, self.shape, strict=True)])

    @property
    def cell_volume(self) -> float:
        """Volume of a cell."""
        return float(np.prod(self.spacing))

    @cached_property
    def edges(self) -> tuple[np.ndarray, ...]:
        """Faces of the cells, one array (n_k + 1,) a dimension."""
        return tuple(_kept(np.linspace(lo, hi, k + 1)) for (lo, hi), k in zip(self.bounds, self.shape, strict=True))

    @cached_property
    def axes(self) -> tuple[np.ndarray, ...]:
        """Centres of the cells, one array (n_k,) a dimension."""
        return tuple(_kept(0.5 * (edge[1:] + edge[:-1])) for edge in self.edges)

    @cached_property
    def centres(self) -> np.ndarray:
        """Centres of all cells, shape (n1, ..., nd, d)."""
        return _kept(np.stack(np.meshgrid(*self.axes, indexing="ij"), axis=-1))

    @property
    def points(self) -> np.ndarray:
        """Centres of all cells as a list, shape (n1 * ... * nd, d)."""
        return self.centres.reshape(-1, self.dim)


def _kept(values: np.ndarray) -> np.ndarray:
    values.flags.writeable = False
    return values
