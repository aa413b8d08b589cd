"""Potentials given by their values on cells."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from measureflow import _validate as check
from measureflow.energies.base import Energy, unsupported
from measureflow.states import Histogram, State


@final
class CellPotential(Energy):
    """E(p) = sum_i values_i p_i + constant, linear in the masses of a histogram.

    Its Fisher-Rao flow is p_t proportional to p_0 exp(-t values) (theory, F1); the expected cost of a mixed strategy is one.

    Parameters
    ----------
    values : array_like, shape grid.shape
        One number a cell.
    constant : float
        Added to the value.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as described; at evaluation, on states other than a `Histogram` of that shape.

    Examples
    --------
    >>> from measureflow import Grid, Histogram
    >>> CellPotential([1.0, 3.0]).value(Histogram([0.5, 0.5], Grid([(0.0, 1.0)], (2,))))
    2.0
    """

    def __init__(self, values: Any, constant: float = 0.0) -> None:
        self.values = check.array("values", values, ndim=(1, 2, 3))
        self.constant = check.scalar("constant", constant)

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        if not isinstance(state, Histogram):
            raise unsupported(self, state, "Histogram")
        if state.masses.shape != self.values.shape:
            raise ValueError(f"values must have the shape {state.masses.shape} of the state's grid, got {self.values.shape}")
        return float(np.sum(self.values * state.masses)) + self.constant, self.values.copy()

    def __repr__(self) -> str:
        return f"CellPotential(shape={self.values.shape})"
