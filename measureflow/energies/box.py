"""The constraint that coordinates stay in an interval."""

from __future__ import annotations

from typing import final

import numpy as np

from measureflow import _validate as check
from measureflow.energies.base import Bounds, Energy
from measureflow.states import State


@final
class Box(Energy):
    """The indicator of {lo <= every coordinate <= hi}: steps are projected on it (clipping).

    Parameters
    ----------
    lo, hi : float
        Bounds, lo < hi. Value 0 inside, infinite outside; the gradient is reported as 0.

    Examples
    --------
    >>> from measureflow import Vector
    >>> Box(-1.0, 1.0).value(Vector([2.0]))
    inf
    """

    def __init__(self, lo: float, hi: float) -> None:
        self.lo = check.scalar("lo", lo)
        self.hi = check.scalar("hi", hi, above=self.lo)

    @property
    def bounds(self) -> Bounds:
        return self.lo, self.hi

    @property
    def convexity(self) -> float:
        return 0.0

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        z = state.coordinates
        inside = z.min() >= self.lo and z.max() <= self.hi
        return 0.0 if inside else np.inf, np.zeros(z.shape)

    def _variation(self, law: State) -> np.ndarray:
        return np.zeros(len(law))

    def __repr__(self) -> str:
        return f"Box({self.lo:g}, {self.hi:g})"
