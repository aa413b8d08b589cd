"""Where an energy of atoms has kinks: terms strength * |x - y| that hold an atom x at a fixed place y."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np


@final
@dataclass(frozen=True, eq=False)
class Kinks:
    """The nearest kink of every atom.

    Attributes
    ----------
    places : ndarray, shape (n, d)
        Position y of the kink.
    strengths : ndarray, shape (n,)
        Slope of the cone around it, net of the repulsion by other atoms that sit there; may be negative (no hold).
    """

    places: np.ndarray
    strengths: np.ndarray

    def nearest(self, other: Kinks, points: np.ndarray) -> Kinks:
        """Return for each point the nearer of two kinks."""
        first = np.sum((points - self.places) ** 2, axis=1) <= np.sum((points - other.places) ** 2, axis=1)
        return Kinks(np.where(first[:, None], self.places, other.places), np.where(first, self.strengths, other.strengths))

    def scaled(self, factor: float) -> Kinks:
        """Return the kinks of a multiple of the energy."""
        return Kinks(self.places, factor * self.strengths)


@final
class TargetKinks:
    """Kinks at the atoms of a target, of strength slope times their weight; atoms that share one repel with theirs."""

    def __init__(self, points: np.ndarray, weights: np.ndarray, slope: float) -> None:
        from scipy.spatial import cKDTree

        places, inverse = np.unique(points, axis=0, return_inverse=True)
        self.tree = cKDTree(places)
        self.places = places
        self.strengths = slope * np.bincount(inverse.ravel(), weights=weights)
        self.slope = slope

    def of(self, points: np.ndarray, weights: np.ndarray) -> Kinks:
        """Return the kinks nearest to atoms (n, d) of weights (n,)."""
        index = self.tree.query(points)[1]
        places = self.places[index]
        there = np.all(points == places, axis=1)
        crowd = np.bincount(index[there], weights=weights[there], minlength=len(self.places))
        others = crowd[index] - np.where(there, weights, 0.0)
        return Kinks(places, self.strengths[index] - self.slope * others)
