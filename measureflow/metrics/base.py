"""What a metric is: a distance, geodesics, and charts in which one step of a flow is a step in a Hilbert space."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

import numpy as np

from measureflow import _validate as check
from measureflow.errors import UnsupportedError
from measureflow.states import State


class Differentiable(Protocol):
    """What a metric asks of an energy."""

    def gradient(self, state: State) -> np.ndarray:
        """Return the gradient, of the shape of the state's coordinates."""

    def first_variation(self, law: State) -> np.ndarray:
        """Return the first variation at the atoms of a law, (n,)."""


class Chart(ABC):
    """Normal coordinates at a base state: d(base, state(z)) = |z - origin| near the origin.

    A gradient flow sees its metric through such charts only: an explicit step is z = origin - tau * pull(origin, differential),
    a minimizing movement minimises E(state(z)) + |z - origin|^2 / (2 tau).
    """

    origin: np.ndarray

    @abstractmethod
    def state(self, z: np.ndarray) -> State:
        """Return the state at coordinates z; raises ValueError where there is none."""

    @abstractmethod
    def log(self, other: State) -> np.ndarray:
        """Return coordinates of another state of the same structure, labels kept."""

    @abstractmethod
    def pull(self, z: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        """Return the gradient of E(state(z)) in the chart's inner product from `Metric.differential` there."""

    @abstractmethod
    def inner(self, a: np.ndarray, b: np.ndarray) -> float:
        """Return the inner product of two displacements."""

    def project(self, z: np.ndarray) -> np.ndarray:
        """Return the nearest coordinates that are a state."""
        return z

    def norm(self, a: np.ndarray) -> float:
        """Return the length of a displacement."""
        return float(np.sqrt(max(self.inner(a, a), 0.0)))


class Flat(Chart):
    """A space that is flat: coordinates are the state's own, with a positive weight for each of them."""

    def __init__(self, base: State, weights: np.ndarray | float) -> None:
        self.base = base
        self.weights = weights
        self.origin = base.coordinates

    def state(self, z: np.ndarray) -> State:
        return self.base.replace(z)

    def log(self, other: State) -> np.ndarray:
        return other.coordinates

    def pull(self, z: np.ndarray, gradient: np.ndarray) -> np.ndarray:
        return gradient

    def inner(self, a: np.ndarray, b: np.ndarray) -> float:
        with np.errstate(over="ignore"):  # a step that blows up is found by the check of its state
            return float(np.sum(self.weights * a * b))


class Metric(ABC):
    """A distance between states, with geodesics and charts."""

    @abstractmethod
    def _distance(self, a: State, b: State) -> float:
        """Return the distance of two states that were found comparable."""

    @abstractmethod
    def chart(self, base: State) -> Chart:
        """Return normal coordinates at `base`; raises UnsupportedError where this metric has no flow."""

    def distance(self, a: State, b: State) -> float:
        """Return the distance between two states.

        Raises
        ------
        TypeError
            If a or b is not a state, or this metric does not compare states of these kinds.
        ValueError
            If their dimensions or grids do not fit.
        """
        check.instance("a", a, State, "a state")
        check.instance("b", b, State, "a state")
        return 0.0 if a is b else self._distance(a, b)

    def geodesic(self, a: State, b: State, s: float) -> State:
        """Return the point at parameter s in [0, 1] of a constant-speed geodesic from a to b."""
        check.instance("a", a, State, "a state")
        check.instance("b", b, State, "a state")
        return self._geodesic(a, b, check.scalar("s", s, least=0.0, most=1.0))

    def _geodesic(self, a: State, b: State, s: float) -> State:
        same_structure(a, b)
        return self.between(a, b, s)

    def between(self, a: State, b: State, s: float) -> State:
        """Return the point at s of the straight line from a to b in the chart at a, labels kept (dense output)."""
        chart = self.chart(a)
        return chart.state(chart.project(chart.origin + s * (chart.log(b) - chart.origin)))

    def labelled_distance(self, a: State, b: State) -> float:
        """Return |b - a| in the chart at a: the distance if matching labels is optimal, else an upper bound."""
        chart = self.chart(a)
        return chart.norm(chart.log(b) - chart.origin)

    def differential(self, energy: Differentiable, state: State) -> np.ndarray:
        """Return what this metric's charts pull back: the gradient, or the first variation where mass is exchanged."""
        return energy.gradient(state)

    def slope(self, state: State, gradient: np.ndarray) -> float:
        """Return the metric slope |dE| at a state from the `differential` of the energy there."""
        chart = self.chart(state)
        return chart.norm(chart.pull(chart.origin, gradient))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def require_free(energy: Differentiable) -> None:
    """Raise UnsupportedError for an energy with a constraint on points, which charts with weights do not know."""
    if getattr(energy, "bounds", None) is not None or not getattr(energy, "boxed", True):
        raise UnsupportedError("with weights that change, constraints such as Box are for the schemes Mirror and Splitting")


def same_structure(a: State, b: State) -> None:
    """Raise unless two states are of one kind and shape (and grid)."""
    if type(a) is not type(b):
        raise UnsupportedError(f"a and b must be states of the same kind, got {type(a).__name__} and {type(b).__name__}")
    if a.coordinates.shape != b.coordinates.shape:
        raise ValueError(f"a and b must have the same shape, got {a.coordinates.shape} and {b.coordinates.shape}")
    if getattr(a, "grid", None) != getattr(b, "grid", None):
        raise ValueError("a and b must live on the same grid")
