"""Explicit steps of atoms whose weights change: weights are multiplied by exponentials, so that they stay positive."""

from __future__ import annotations

import numpy as np

from measureflow.energies import Energy
from measureflow.metrics import FisherRao, WassersteinFisherRao
from measureflow.proximal.base import Step
from measureflow.states import Particles


def regrown(law: Particles, offset: np.ndarray) -> Particles:
    """Return atoms with weights proportional to w exp(offset), offset (n,); an offset (n, d + 1) moves them too."""
    growth = offset[:, -1] if offset.ndim == 2 else offset
    logs = np.log(law.weights) + growth
    moved = law if offset.ndim == 1 else law.replace(law.points + offset[:, :-1])
    return moved.with_weights(np.exp(logs - logs.max()))


def entropic_weights(energy: Energy, x: Particles, tau: float) -> Step:
    """Return w+ proportional to w exp(-tau phi), phi the first variation at the atoms, which stay (exponentiated gradient)."""
    state = regrown(x, -tau * energy.first_variation(x))
    return Step(state, FisherRao().distance(x, state), method="exponentiated gradient")


def entropic_atoms(energy: Energy, metric: WassersteinFisherRao, x: Particles, tau: float) -> Step:
    """Return x+ = x - a tau grad phi, projected on constraints, with w+ proportional to w exp(-b tau phi)."""
    points = x.points
    if metric.transport > 0.0:
        points = np.asarray(energy.project(points - metric.transport * tau * energy.gradient(x)))
    state = x.replace(points)
    if metric.reaction > 0.0:
        state = regrown(state, -metric.reaction * tau * energy.first_variation(x))
    return Step(state, metric.labelled_distance(x, state), method="exponentiated gradient")
