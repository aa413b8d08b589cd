"""Cells of a grid that mass may not enter."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies.base import Energy, unsupported
from measureflow.states import Histogram, State


@final
class Obstacle(Energy):
    """The indicator of {no mass in blocked cells}, on histograms: walls inside the box.

    ``JKO(inner="linearised")`` and `BDF2` let mass flow around blocked cells, as the heat in a plate with holes: the distance
    that they minimise is measured along paths in the free cells. The straight-line Wasserstein distance knows no such walls (it
    would carry mass through them), and exact minimizing movements do not accept an obstacle.

    Parameters
    ----------
    mask : array_like of bool, shape grid.shape
        True for blocked cells, of which there must be free ones left.

    Raises
    ------
    TypeError, ValueError
        If mask is not as described; at evaluation, on states other than a `Histogram` of that shape.

    Examples
    --------
    >>> from measureflow import Grid, Histogram
    >>> wall = Obstacle([False, True, False])
    >>> wall.value(Histogram([0.5, 0.5, 0.0], Grid([(0.0, 1.0)], (3,))))
    inf
    """

    boxed = False

    def __init__(self, mask: Any) -> None:
        self.mask = _booleans(mask)

    @property
    def blocked(self) -> np.ndarray:
        """The mask as an array of bool."""
        return np.asarray(self.mask, dtype=bool)

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        if not isinstance(state, Histogram):
            raise unsupported(self, state, "Histogram")
        if state.masses.shape != self.mask.shape:
            raise ValueError(f"mask must have the shape {state.masses.shape} of the state's grid, got {self.mask.shape}")
        inside = bool(np.any(state.masses[self.blocked] > 0.0))
        return np.inf if inside else 0.0, np.zeros(state.masses.shape)

    def __repr__(self) -> str:
        return f"Obstacle({int(self.mask.sum())} of {self.mask.size} cells)"


def _booleans(mask: Any) -> np.ndarray:
    """Return the mask as integers 0 and 1, which files can hold, after checking it."""
    try:
        values = np.asarray(mask)
    except ValueError:
        values = np.empty(0, dtype=object)
    plain = values.dtype == bool or (values.dtype == np.int64 and bool(np.all((values == 0) | (values == 1))))
    if not plain:
        raise TypeError(f"mask must be an array of bool, got {check.show(mask)}")
    if values.ndim not in (1, 2, 3) or values.all():
        raise ValueError(f"mask must have 1 to 3 axes and free cells, got {check.show(mask)}")
    kept = values.astype(np.int64)
    kept.flags.writeable = False
    return kept
