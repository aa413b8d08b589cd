"""R^p, and L2 for functions on a grid."""

from __future__ import annotations

from typing import final

import numpy as np

from measureflow.errors import UnsupportedError
from measureflow.metrics.base import Chart, Flat, Metric, same_structure
from measureflow.states import Field, State, Vector


@final
class Euclidean(Metric):
    """The Euclidean distance of `Vector` and the L2 distance of `Field`.

    Examples
    --------
    >>> from measureflow import Vector
    >>> Euclidean().distance(Vector([0.0, 0.0]), Vector([3.0, 4.0]))
    5.0
    """

    def _distance(self, a: State, b: State) -> float:
        same_structure(a, b)
        chart = self.chart(a)
        return chart.norm(np.asarray(b) - np.asarray(a))

    def chart(self, base: State) -> Chart:
        """Return the state's own coordinates (R^p, or L2 with the cell volume as weight)."""
        if isinstance(base, Vector):
            return Flat(base, 1.0)
        if isinstance(base, Field):
            return Flat(base, base.grid.cell_volume)
        raise UnsupportedError(f"the Euclidean metric is for Vector and Field, got {type(base).__name__}")
