"""Wasserstein distances to a target as energies."""

from __future__ import annotations

from typing import final

import numpy as np

from measureflow import _validate as check
from measureflow.energies.base import Energy, unsupported
from measureflow.energies.kinks import Kinks
from measureflow.states import Gaussian, Histogram, Law, Particles, Quantiles, State, atoms
from measureflow.transport import (
    Plan,
    barycentric_map,
    bures_map,
    gaussian_distance,
    kept_plan,
    optimal_plan,
    wasserstein_line,
)
from measureflow.transport.laws import level_means, level_values, polyline


def _target(target: Law) -> Law:
    law = check.instance("target", target, Law, "a law")
    if isinstance(law, Histogram) and any(law.grid.periodic):
        raise ValueError("target must not live on a periodic grid")
    return law


def _same_dimension(target: Law, state: Law) -> None:
    if state.dim != target.dim:
        raise ValueError(f"target has dimension {target.dim}, the state has dimension {state.dim}")


@final
class SquaredWasserstein(Energy):
    """E(mu) = W2(mu, target)^2 / 2; its flow moves along the geodesic to the target (theory, S13).

    Parameters
    ----------
    target : Law
        Any law for `Quantiles`; atoms (Particles, Quantiles, Histogram) for `Particles`; a Gaussian for `Gaussian`.

    Raises
    ------
    TypeError, ValueError
        If target is not a law; at evaluation, if the state is of another dimension or kind.

    Notes
    -----
    The gradient at an atom is its displacement from the mean of its targets under an optimal plan, which comes with a
    certificate (`measureflow.transport`). Inside a geodesic the plan is unique and stays: of a flow of n atoms to n atoms only
    the first one is solved for, the next ones are proved.

    It is 1-convex on the line; in higher dimension only along generalised geodesics based at the target, so that `convexity` is
    not known there.

    Examples
    --------
    >>> from measureflow import Particles
    >>> SquaredWasserstein(Particles([[2.0]])).gradient(Particles([[1.0], [5.0]]))
    array([[-1.],
           [ 3.]])
    """

    _last: tuple[Particles, Plan] | None = None

    def __init__(self, target: Law) -> None:
        self.target = _target(target)

    @property
    def convexity(self) -> float | None:
        return 1.0 if self.target.dim == 1 else None

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        if not isinstance(state, (Particles, Quantiles, Gaussian)):
            raise unsupported(self, state, "Particles, Quantiles and Gaussian")
        _same_dimension(self.target, state)
        if isinstance(state, Gaussian):
            return self._on_gaussian(state)
        if isinstance(state, Quantiles):
            return self._on_quantiles(state.values)
        if isinstance(self.target, Gaussian):
            raise unsupported(self, state, "Gaussian and Quantiles, as its target is a Gaussian")
        points, weights = atoms(self.target)
        held = weights > 0.0
        plan = self._plan(state, points[held], weights[held])
        return 0.5 * plan.cost, state.points - barycentric_map(plan, points[held], len(state.points))

    def _plan(self, state: Particles, y: np.ndarray, b: np.ndarray) -> Plan:
        """Return the optimal plan to atoms y (m, d) with weights b: the last one, if it is proved that no other is optimal."""
        plan = None
        if self._last is not None and np.array_equal(self._last[0].weights, state.weights):
            plan = kept_plan(self._last[1], self._last[0].points, state.points, y)
        if plan is None:
            plan = optimal_plan(state.points, state.weights, y, b)
        self._last = (state, plan)
        return plan

    def _on_quantiles(self, values: np.ndarray) -> tuple[float, np.ndarray]:
        """Pythagoras: W2^2 = mean (x - q)^2 + the squared distance of the target from its own n best atoms q."""
        goal = level_means(self.target, len(values))
        return 0.5 * float(np.mean((values - goal) ** 2)) + 0.5 * self._floor(goal), values - goal

    def _floor(self, goal: np.ndarray) -> float:
        if isinstance(self.target, Gaussian):
            return float(self.target.cov[0, 0] - np.mean((goal - self.target.mean[0]) ** 2))
        return float(wasserstein_line(polyline(self.target), polyline(Quantiles(goal)), 2) ** 2)

    def _on_gaussian(self, law: Gaussian) -> tuple[float, np.ndarray]:
        if not isinstance(self.target, Gaussian):
            raise unsupported(self, law, "Particles and Quantiles, as its target is not a Gaussian")
        value = 0.5 * gaussian_distance(law.mean, law.cov, self.target.mean, self.target.cov) ** 2
        shift = np.eye(law.dim) - bures_map(law.cov, self.target.cov)
        return value, np.vstack([law.mean - self.target.mean, 0.5 * shift])

    def __repr__(self) -> str:
        return f"SquaredWasserstein({self.target!r})"


@final
class Wasserstein1(Energy):
    """E(mu) = W1(mu, target), the infinitely fast 1-Lipschitz critic: atoms move with unit speed (theory, S12).

    Parameters
    ----------
    target : Law
        Any law for `Quantiles`, where its quantiles at the state's levels are used; atoms for `Particles`.

    Raises
    ------
    TypeError, ValueError
        If target is not a law; at evaluation, if the state is of another dimension or kind.

    Examples
    --------
    >>> from measureflow import Quantiles
    >>> Wasserstein1(Quantiles([0.0, 1.0])).gradient(Quantiles([0.0, 3.0]))
    array([0., 1.])
    """

    def __init__(self, target: Law) -> None:
        self.target = _target(target)

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        if not isinstance(state, (Particles, Quantiles)):
            raise unsupported(self, state, "Particles and Quantiles")
        _same_dimension(self.target, state)
        if isinstance(state, Quantiles):
            offset = state.values - level_values(self.target, len(state))
            return float(np.mean(np.abs(offset))), np.sign(offset)
        if isinstance(self.target, Gaussian):
            raise unsupported(self, state, "Quantiles, as its target is a Gaussian")
        points, weights = atoms(self.target)
        held = weights > 0.0
        plan = optimal_plan(state.points, state.weights, points[held], weights[held], p=1)
        return plan.cost, _mean_directions(state, points[held], plan.i, plan.j, plan.mass)

    def kinks(self, state: State) -> Kinks | None:
        """Kinks at the targets of an optimal plan, each with the share of the atom's mass that goes there."""
        if not isinstance(state, Particles):
            return None
        points, weights = atoms(self.target)
        held = weights > 0.0
        y = points[held]
        plan = optimal_plan(state.points, state.weights, y, weights[held], p=1)
        gaps = np.sum((state.points[plan.i] - y[plan.j]) ** 2, axis=1)
        first = np.lexsort((gaps, plan.i))
        nearest = first[np.unique(plan.i[first], return_index=True)[1]]
        return Kinks(y[plan.j[nearest]], plan.mass[nearest] / state.weights)

    def __repr__(self) -> str:
        return f"Wasserstein1({self.target!r})"


def _mean_directions(state: Particles, y: np.ndarray, i: np.ndarray, j: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Return the mean unit vector from the targets of each atom to the atom, shape (n, d)."""
    offset = state.points[i] - y[j]
    length = np.linalg.norm(offset, axis=1, keepdims=True)
    unit = np.divide(offset, length, out=np.zeros_like(offset), where=length > 0.0)
    result = np.zeros_like(state.points)
    np.add.at(result, i, unit * (mass / state.weights[i])[:, None])
    return result
