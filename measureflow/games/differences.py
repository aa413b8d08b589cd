"""Derivatives along a direction, by central differences of fourth order."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np

from measureflow.energies import Energy
from measureflow.energies.base import Bounds
from measureflow.errors import UnsupportedError
from measureflow.states import Field, Particles, State, Vector

STEP = 1e-3
"""Displacement of a coordinate; truncation 3e-14 of the fifth derivative, rounding 1e-13 of the function."""


def along(f: Callable[[float], np.ndarray], direction: float, place: float) -> np.ndarray:
    """Return f'(0) where s displaces coordinates of size `place` by up to s times `direction`; exact for cubic functions."""
    h = STEP * max(1.0, 1e-3 * place) / direction
    return np.asarray((8.0 * (f(h) - f(-h)) - (f(2.0 * h) - f(-2.0 * h))) / (12.0 * h))


def largest(*arrays: np.ndarray) -> float:
    """Return the largest modulus of all entries."""
    return max(float(np.max(np.abs(array))) for array in arrays)


def require_free(name: str, state: State) -> None:
    """Raise UnsupportedError unless coordinates of a state may be displaced in all directions."""
    if not isinstance(state, (Vector, Particles, Field)):
        raise UnsupportedError(f"{name} must be a Vector, Particles or a Field to differentiate along its steps, got {state!r}")


class Derived(Energy):
    """An energy made of another's derivatives: it has the constraints of that energy."""

    @property
    @abstractmethod
    def _own(self) -> Energy:
        """The energy whose constraints hold."""

    @property
    def bounds(self) -> Bounds | None:
        return self._own.bounds

    @property
    def boxed(self) -> bool:  # type: ignore[override]
        return self._own.boxed

    def project(self, z: np.ndarray) -> np.ndarray:
        return self._own.project(z)
