"""Points of R^p."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from measureflow import _validate as check
from measureflow.states.base import State, owned


@final
@dataclass(frozen=True, eq=False, repr=False, init=False)
class Vector(State):
    """A point of R^p: the weights of a critic, or a player that is not a law.

    Parameters
    ----------
    values : array_like, shape (p,)
        A number stands for shape (1,).

    Raises
    ------
    TypeError, ValueError
        If values are not finite reals of this shape.

    Examples
    --------
    >>> Vector([1.0, 2.0]) @ [3.0, 4.0]
    np.float64(11.0)
    """

    values: np.ndarray

    def __init__(self, values: ArrayLike) -> None:
        point = np.atleast_1d(check.array("values", values, ndim=(0, 1)))
        point.flags.writeable = False
        object.__setattr__(self, "values", point)

    @property
    def coordinates(self) -> np.ndarray:
        """The values, shape (p,)."""
        return self.values

    def replace(self, coordinates: np.ndarray) -> Vector:
        """Return the point with other values (p,)."""
        point = object.__new__(Vector)
        object.__setattr__(point, "values", owned("values", coordinates, self.values.shape))
        return point

    def _summary(self) -> str:
        shown = ", ".join(f"{v:.6g}" for v in self.values[:6])
        return f"[{shown}{', ...' if len(self.values) > 6 else ''}]"
