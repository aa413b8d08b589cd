"""The Fisher-Rao metric: the simplex of masses as a part of a sphere of radius 2, where great circles are geodesics."""

from __future__ import annotations

from typing import final

import numpy as np

from measureflow.errors import UnsupportedError
from measureflow.metrics.base import Chart, Differentiable, Metric, require_free, same_structure
from measureflow.states import Histogram, Particles, State

SERIES = 1e-2
"""Lengths below which a difference of nearly equal terms is taken from its series."""


class _SphereChart(Chart):
    """Normal coordinates at masses p: growth rates z per cell with sum p z = 0, |z|^2 = sum p z^2.

    exp(z) = p (cos(r/2) + sin(r/2) z/r)^2 with r = |z|, the great circle of 2 sqrt(p) with velocity z sqrt(p). Masses change by
    factors, so that small ones keep their relative accuracy and empty cells stay empty; coordinates of these mean nothing.
    """

    def __init__(self, base: Histogram | Particles) -> None:
        self.base = base
        self._masses = _of(base)
        self.origin = np.zeros(self._masses.shape)
        self._held = self._masses > 0.0

    def _mean(self, z: np.ndarray) -> float:
        return float(np.sum(self._masses * z))

    def project(self, z: np.ndarray) -> np.ndarray:
        """Return the nearest tangent vector: mean 0, and 0 on empty cells; steps out of the orthant have no state."""
        held = np.where(self._held, z, 0.0)
        return np.where(self._held, held - self._mean(held), 0.0)

    def _root(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
        """Return the tangent vector z, the square root of the masses' ratio to the base's, and r."""
        with np.errstate(over="ignore", invalid="ignore"):
            z = self.project(z)
            r = self.norm(z)
            if not r <= np.pi:
                raise ValueError(f"a step in the Fisher-Rao metric must not be longer than pi, got {r:g}")
            root = np.cos(0.5 * r) + 0.5 * _ratio(r) * z
        if float(root.min()) < 0.0:
            raise ValueError("a step in the Fisher-Rao metric must leave all masses nonnegative; it is too long")
        return z, root, r

    def state(self, z: np.ndarray) -> State:
        return _with(self.base, self._masses * self._root(z)[1] ** 2)

    def log(self, other: State) -> np.ndarray:
        masses = _masses(self.base, other)[1]
        if np.any(masses[~self._held]):
            raise ValueError("other must have no mass where the base of the chart has none")
        root = np.sqrt(masses) / np.sqrt(np.where(self._held, self._masses, 1.0))
        cosine = min(self._mean(root), 1.0)
        side = np.where(self._held, root - cosine, 0.0)
        sine = self.norm(side)
        return side if sine == 0.0 else side * (2.0 * np.arctan2(sine, cosine) / sine)

    def pull(self, z: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        z, root, r = self._root(z)
        own = self._masses * root**2
        phi = np.where(self._held, gradient, 0.0)
        slope = (phi - float(np.sum(own * phi)) / float(own.sum())) * root
        along, ratio = self.inner(slope, z), _ratio(r)
        mean = self._mean(slope)
        return self.project(ratio * (slope - mean) + (_bend(r) * along - 0.5 * ratio * mean) * z)

    def inner(self, a: np.ndarray, b: np.ndarray) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.sum(self._masses * a * b))


def _ratio(r: float) -> float:
    """Return 2 sin(r/2) / r."""
    return float(np.sinc(0.5 * r / np.pi))


def _bend(r: float) -> float:
    """Return (cos(r/2) - 2 sin(r/2)/r) / r^2."""
    return -1.0 / 12.0 + r * r / 480.0 if r < SERIES else (float(np.cos(0.5 * r)) - _ratio(r)) / (r * r)


@final
class FisherRao(Metric):
    """The Fisher-Rao distance 2 arccos(int sqrt(mu nu)) of laws on the same cells or atoms (theory, section 1, F4).

    Its gradient flow is d_t mu = -mu (phi - mean_mu phi) with phi the first variation: mass moves between cells without regard to
    where they are, and empty cells stay empty. The squared speed is int (d_t mu)^2 / mu.

    Notes
    -----
    Flows are for `Histogram`, whose masses are the law, whatever the sizes of the cells, and for `Particles`, whose weights
    change and whose points stay; energies then need a first variation at atoms. `Particles` are compared if they have the same
    points in the same order. The distance is at most pi, which laws have that share no cell.

    Examples
    --------
    >>> from measureflow import Grid, Histogram
    >>> grid = Grid([(0.0, 2.0)], (2,))
    >>> round(FisherRao().distance(Histogram([1.0, 0.0], grid), Histogram([0.5, 0.5], grid)), 12)
    1.570796326795
    """

    def chart(self, base: State) -> Chart:
        """Return normal coordinates of the sphere: growth rates of the cells of a `Histogram` or of the atoms of `Particles`."""
        if not isinstance(base, (Histogram, Particles)):
            raise UnsupportedError(f"flows in the Fisher-Rao metric are for Histogram and Particles, got {type(base).__name__}")
        return _SphereChart(base)

    def differential(self, energy: Differentiable, state: State) -> np.ndarray:
        """Return the first variation at the cells or atoms."""
        if isinstance(state, Particles):
            require_free(energy)
        return energy.first_variation(state) if isinstance(state, Particles) else energy.gradient(state)

    def _distance(self, a: State, b: State) -> float:
        p, q = _masses(a, b)
        half = 0.5 * float(np.sqrt(np.sum((np.sqrt(p) - np.sqrt(q)) ** 2)))
        return 4.0 * float(np.arcsin(min(half, np.sqrt(0.5))))

    def _geodesic(self, a: State, b: State, s: float) -> State:
        p, q = _masses(a, b)
        angle = 0.5 * self._distance(a, b)
        if angle == 0.0 or s == 0.0:
            return a
        assert isinstance(a, (Histogram, Particles))
        masses = (np.sin((1.0 - s) * angle) * np.sqrt(p) + np.sin(s * angle) * np.sqrt(q)) ** 2
        return _with(a, masses)

    def between(self, a: State, b: State, s: float) -> State:
        """Return the point at s of the great circle from a to b."""
        return self._geodesic(a, b, s)

    def labelled_distance(self, a: State, b: State) -> float:
        """Return the distance: cells are the labels."""
        return self.distance(a, b)


def _of(law: Histogram | Particles) -> np.ndarray:
    return law.masses if isinstance(law, Histogram) else law.weights


def _with(law: Histogram | Particles, masses: np.ndarray) -> Histogram | Particles:
    """Return the law with other masses, divided by their sum."""
    return law.replace(masses / masses.sum()) if isinstance(law, Histogram) else law.with_weights(masses)


def _masses(a: State, b: State) -> tuple[np.ndarray, np.ndarray]:
    """Return the masses of two comparable laws."""
    if not isinstance(a, (Histogram, Particles)) or not isinstance(b, (Histogram, Particles)):
        kinds = f"{type(a).__name__} and {type(b).__name__}"
        raise UnsupportedError(f"the Fisher-Rao metric compares Histogram, or Particles at the same points, got {kinds}")
    same_structure(a, b)
    if isinstance(a, Histogram) and isinstance(b, Histogram):
        return a.masses, b.masses
    assert isinstance(a, Particles) and isinstance(b, Particles)
    if not np.array_equal(a.points, b.points):
        raise UnsupportedError("a and b must have the same points in the same order for the Fisher-Rao metric")
    return a.weights, b.weights
