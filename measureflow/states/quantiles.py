"""Laws on the line by their quantile functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from measureflow import _validate as check
from measureflow.states.base import MassLaw, owned


@final
@dataclass(frozen=True, eq=False, repr=False, init=False)
class Quantiles(MassLaw):
    """A law on R by its quantile function at the levels (i + 1/2)/n.

    In these coordinates W2 is flat: it is the L2 distance of the values, on the cone of nondecreasing vectors.

    Parameters
    ----------
    values : array_like, shape (n,)
        Nondecreasing.

    Raises
    ------
    TypeError, ValueError
        If values are not finite reals in nondecreasing order.

    Examples
    --------
    >>> law = Quantiles([0.0, 1.0, 2.0, 3.0])
    >>> law.levels
    array([0.125, 0.375, 0.625, 0.875])
    >>> law.mean()
    array([1.5])
    """

    values: np.ndarray

    def __init__(self, values: ArrayLike) -> None:
        object.__setattr__(self, "values", _ordered(check.array("values", values, ndim=1)))

    @property
    def coordinates(self) -> np.ndarray:
        """The values, shape (n,)."""
        return self.values

    @property
    def levels(self) -> np.ndarray:
        """The levels (i + 1/2)/n, shape (n,)."""
        n = len(self.values)
        return (np.arange(n) + 0.5) / n

    @property
    def dim(self) -> int:
        """Always 1."""
        return 1

    def replace(self, coordinates: np.ndarray) -> Quantiles:
        """Return the law with other nondecreasing values (n,)."""
        law = object.__new__(Quantiles)
        object.__setattr__(law, "values", _ordered(owned("values", coordinates, self.values.shape)))
        return law

    def _levels(self) -> int | None:
        return len(self.values)

    def _atoms(self) -> tuple[np.ndarray, np.ndarray]:
        n = len(self.values)
        return self.values[:, None], np.full(n, 1.0 / n)

    def _quantile(self, levels: np.ndarray) -> np.ndarray:
        n = len(self.values)
        return self.values[np.clip(np.ceil(levels * n * (1.0 - 1e-14)).astype(int) - 1, 0, n - 1)]

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array([self.values.mean()]), np.array([[self.values.var()]])

    def _draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return np.interp(rng.random(n), self.levels, self.values)[:, None]

    def _summary(self) -> str:
        return f"n={len(self.values)}, from {self.values[0]:.6g} to {self.values[-1]:.6g}"


def _ordered(values: np.ndarray) -> np.ndarray:
    drop = np.diff(values)
    if drop.size and drop.min() < 0.0:
        k = int(np.argmin(drop))
        raise ValueError(f"values must be nondecreasing, got values[{k}] = {values[k]:g} > values[{k + 1}] = {values[k + 1]:g}")
    return values
