"""Frames, and energies that move, turn and scale along with laws, for experiments on symmetries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from measureflow import energies as e
from measureflow.states import Gaussian, Particles, Quantiles
from measureflow.theorems.catalogue._battery import positive_definite, shares


class Frame(NamedTuple):
    """A change of coordinates y = shift + scale * turn x, as an orthogonal matrix, a vector and a number."""

    turn: np.ndarray
    shift: np.ndarray
    scale: float

    def points(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(self.shift + self.scale * x @ self.turn.T)

    def matrix(self, a: np.ndarray) -> np.ndarray:
        moved = self.scale**2 * self.turn @ a @ self.turn.T
        return np.asarray(0.5 * (moved + moved.T))

    def law(self, x: Any) -> Any:
        if isinstance(x, Gaussian):
            return Gaussian(self.points(x.mean), self.matrix(x.cov))
        if isinstance(x, Particles):
            return Particles(self.points(x.points), x.weights)
        return x.replace(self.points(x.coordinates[:, None])[:, 0] if isinstance(x, Quantiles) else self.points(x.values))


def identity(dim: int) -> Frame:
    """Return the frame that changes nothing."""
    return Frame(np.eye(dim), np.zeros(dim), 1.0)


Make = Callable[[Frame, int], e.Energy]
"""An energy in a frame: scale^2 E(frame^-1 y), so that flows are images of each other; the number is a seed."""


def _kl(f: Frame, seed: int) -> e.Energy:
    rng = np.random.default_rng(seed)
    dim = len(f.shift)
    return f.scale**2 * e.KL(Gaussian(f.points(rng.normal(size=dim)), f.matrix(positive_definite(rng, dim))))


def _heat(f: Frame, seed: int) -> e.Energy:
    return e.Entropy(0.7 * f.scale**2) + e.Quadratic(0.4, centre=f.points(np.ones(len(f.shift))))


def _porous(f: Frame, seed: int) -> e.Energy:
    dim = len(f.shift)
    return f.scale ** (2.0 + dim) * e.PowerEntropy(2.0) + e.Quadratic(1.0, centre=f.points(np.zeros(dim)))


def _well(f: Frame, seed: int) -> e.Energy:
    return e.Potential(
        lambda y: f.scale**2 * np.sum(np.cosh((y - f.shift) @ f.turn / f.scale), axis=-1),
        lambda y: f.scale * np.sinh((y - f.shift) @ f.turn / f.scale) @ f.turn.T,
    )


def _pairs(f: Frame, seed: int) -> e.Energy:
    return e.Interaction(
        lambda z: f.scale**2 * np.log1p(np.sum(z**2, axis=-1) / f.scale**2),
        lambda z: 2.0 * z / (1.0 + np.sum(z**2, axis=-1) / f.scale**2)[..., None],
    ) + 0.3 * e.QuadraticInteraction(0.5)


def _target(f: Frame, seed: int) -> Particles:
    rng = np.random.default_rng([7, seed])
    return Particles(f.points(4.0 + rng.normal(size=(4, len(f.shift)))), shares(rng, 4))


def _discrepancy(f: Frame, seed: int) -> e.Energy:
    return f.scale**2 * e.MMD(_target(f, seed), "gaussian", 2.0 * f.scale)


def _distances(f: Frame, seed: int) -> e.Energy:
    return f.scale * e.EnergyDistance(_target(f, seed))


def _towards(f: Frame, seed: int) -> e.Energy:
    rng = np.random.default_rng([8, seed])
    dim = len(f.shift)
    return e.SquaredWasserstein(Gaussian(f.points(rng.normal(size=dim)), f.matrix(positive_definite(rng, dim))))


def _tilt(f: Frame, seed: int) -> e.Energy:
    return e.Potential(lambda x: np.sum(np.sin(2.0 * x), axis=-1), lambda x: 2.0 * np.cos(2.0 * x))


MAKERS: dict[str, Make] = {
    "KL": _kl,
    "Entropy": _heat,
    "PowerEntropy": _porous,
    "Potential": _well,
    "Interaction": _pairs,
    "MMD": _discrepancy,
    "EnergyDistance": _distances,
    "SquaredWasserstein": _towards,
    "tilt": _tilt,
}
SMOOTH: dict[tuple[str, str], tuple[str, ...]] = {
    ("vector", "Euclid"): ("Potential",),
    ("particles", "W2"): ("Potential", "Interaction", "MMD", "EnergyDistance"),
    ("weighted", "W2"): ("Potential", "Interaction", "MMD"),
    ("quantiles", "W2"): ("KL", "Entropy", "PowerEntropy", "Potential", "Interaction", "MMD"),
    ("gaussian", "W2"): ("KL", "Entropy", "PowerEntropy", "SquaredWasserstein", "Potential"),
    ("weighted", "FR"): ("Potential", "Interaction", "MMD"),
    ("weighted", "WFR"): ("Potential", "Interaction", "MMD"),
    ("cells", "FR"): ("KL", "Entropy", "tilt"),
    ("plane cells", "FR"): ("KL", "PowerEntropy", "tilt"),
    ("cells", "W2"): ("KL", "Entropy", "PowerEntropy"),
    ("plane cells", "W2"): ("Entropy", "PowerEntropy"),
}
"""Energies for kinds of states in metrics."""
