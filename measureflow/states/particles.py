"""Laws carried by atoms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from measureflow import _validate as check
from measureflow.states.base import MassLaw, normalised, owned, weighted_moments


@final
@dataclass(frozen=True, eq=False, repr=False, init=False)
class Particles(MassLaw):
    """The law sum_i weights_i delta_{points_i} on R^d.

    Parameters
    ----------
    points : array_like, shape (n, d)
        Positions of the atoms.
    weights : array_like, shape (n,), optional
        Positive, with sum 1; None means equal weights 1/n.

    Raises
    ------
    TypeError, ValueError
        If points or weights are not finite real arrays of these shapes, or weights are not positive with sum 1.

    Notes
    -----
    The metric of n equal atoms is (1/n) sum |dx_i|^2 (theory, section 1).

    Examples
    --------
    >>> law = Particles([[0.0, 0.0], [2.0, 0.0]])
    >>> law.mean(), law.covariance()
    (array([1., 0.]), array([[1., 0.],
           [0., 0.]]))
    """

    points: np.ndarray
    weights: np.ndarray

    def __init__(self, points: ArrayLike, weights: ArrayLike | None = None) -> None:
        atoms = check.array("points", points, ndim=2)
        object.__setattr__(self, "points", atoms)
        object.__setattr__(self, "weights", _weights(weights, len(atoms)))

    @property
    def coordinates(self) -> np.ndarray:
        """The atoms, shape (n, d)."""
        return self.points

    @property
    def dim(self) -> int:
        """Dimension d."""
        return int(self.points.shape[1])

    @property
    def equal_weights(self) -> bool:
        """Whether all atoms weigh the same."""
        return bool(np.all(self.weights == self.weights[0]))

    def replace(self, coordinates: np.ndarray) -> Particles:
        """Return the law with the same weights at other points (n, d)."""
        law = object.__new__(Particles)
        object.__setattr__(law, "points", owned("points", coordinates, self.points.shape))
        object.__setattr__(law, "weights", self.weights)
        return law

    def with_weights(self, weights: np.ndarray) -> Particles:
        """Return the law with other weights (n,) at the same points: positive ones, divided by their sum."""
        given = owned("weights", weights, self.weights.shape)
        least = np.finfo(float).tiny
        if not given.min() >= 0.0 or not (total := float(given.sum())) > 0.0:
            raise ValueError(f"weights must be positive, got the minimum {given.min():g}")
        law = object.__new__(Particles)
        object.__setattr__(law, "points", self.points)
        object.__setattr__(law, "weights", normalised("weights", np.maximum(given / total, least)))
        return law

    def _levels(self) -> int | None:
        return len(self.points) if self.equal_weights else None

    def _atoms(self) -> tuple[np.ndarray, np.ndarray]:
        return self.points, self.weights

    def _quantile(self, levels: np.ndarray) -> np.ndarray:
        order = np.argsort(self.points[:, 0], kind="stable")
        cdf = np.cumsum(self.weights[order])
        index = np.searchsorted(cdf, levels * cdf[-1] * (1.0 - 1e-14), side="left")
        return self.points[order, 0][np.minimum(index, len(order) - 1)]

    def _moments(self) -> tuple[np.ndarray, np.ndarray]:
        return weighted_moments(self.points, self.weights)

    def _draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return self.points[rng.choice(len(self.points), size=n, p=self.weights)]

    def _summary(self) -> str:
        n, d = self.points.shape
        return f"n={n}, d={d}, {'equal' if self.equal_weights else 'unequal'} weights"


def _weights(weights: ArrayLike | None, n: int) -> np.ndarray:
    if weights is None:
        equal = np.full(n, 1.0 / n)
        equal.flags.writeable = False
        return equal
    given = check.array("weights", weights, shape=(n,))
    if given.min() <= 0.0:
        raise ValueError(f"weights must be positive, got the minimum {given.min():g}")
    return normalised("weights", given)
