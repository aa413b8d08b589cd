"""Random states of every kind, energies on them and schemes for them, for the experiments that go over all combinations."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from measureflow import energies as e
from measureflow.metrics import Euclidean, FisherRao, Metric, Sobolev, Wasserstein, WassersteinFisherRao
from measureflow.schemes import (
    BDF2,
    JKO,
    RK2,
    RK4,
    VIM,
    Explicit,
    ExtrapolatedBDF2,
    ExtrapolatedVIM,
    ForwardBackward,
    Langevin,
    Mirror,
    Richardson,
    Scheme,
    Splitting,
    ThreeStage,
)
from measureflow.states import Field, Gaussian, Grid, Histogram, Particles, Quantiles, State, Vector

SCHEMES: Mapping[str, Scheme] = MappingProxyType(
    {
        "jko": JKO(),
        "linearised": JKO(inner="linearised"),
        "vim": VIM(),
        "extrapolated-vim": ExtrapolatedVIM(),
        "bdf2": BDF2(),
        "extrapolated-bdf2": ExtrapolatedBDF2(),
        "three-stage": ThreeStage(),
        "richardson": Richardson(),
        "forward-backward": ForwardBackward(),
        "explicit": Explicit(),
        "rk2": RK2(),
        "rk4": RK4(),
        "langevin": Langevin(0.0),
        "mirror": Mirror(),
        "implicit mirror": Mirror(implicit=True),
        "splitting": Splitting(),
        "splitting, unsymmetric": Splitting(symmetric=False),
    }
)
FLAT = ("jko", "vim", "extrapolated-vim", "bdf2", "extrapolated-bdf2", "three-stage", "richardson", "explicit", "rk2", "rk4")
"""Schemes that take every state with a chart."""
CELLS = tuple(name for name in FLAT if name != "extrapolated-bdf2")
METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "W2": Wasserstein(),
        "Euclid": Euclidean(),
        "H1": Sobolev(1),
        "H-1": Sobolev(-1),
        "FR": FisherRao(),
        "WFR": WassersteinFisherRao(1.0, 0.5),
    }
)
KINDS = ("vector", "particles", "weighted", "quantiles", "gaussian", "cells", "plane cells", "field")


def shares(rng: np.random.Generator, shape: Any) -> np.ndarray:
    """Return positive random masses of sum 1."""
    masses = rng.random(shape) + 0.2
    return np.asarray(masses / masses.sum())


def positive_definite(rng: np.random.Generator, dim: int) -> np.ndarray:
    """Return a random symmetric matrix with eigenvalues above 0.3."""
    root = rng.normal(size=(dim, dim))
    return np.asarray(0.5 * root @ root.T + 0.3 * np.eye(dim))


def state(kind: str, seed: int, dim: int = 2) -> State:
    """Return a random state of one of `KINDS`; quantiles and "cells" are laws on the line, whatever `dim` says."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    if kind == "vector":
        return Vector(rng.normal(size=dim))
    if kind in ("particles", "weighted"):
        n = int(rng.integers(3, 7))
        return Particles(rng.normal(size=(n, dim)), shares(rng, n) if kind == "weighted" else None)
    if kind == "quantiles":
        return Quantiles(np.cumsum(0.1 + rng.random(12)) - 4.0)
    if kind == "gaussian":
        return Gaussian(rng.normal(size=dim), positive_definite(rng, dim))
    if kind == "cells":
        return Histogram(shares(rng, 9), Grid([(-1.0, 1.5)], 9))
    grid = Grid([(0.0, 1.0), (-0.5, 1.0)], (4, 3))
    return Field(rng.normal(size=(4, 3)), grid) if kind == "field" else Histogram(shares(rng, (4, 3)), grid)


def spring(strength: float = 1.0) -> e.Interaction:
    """Return the attraction by W(z) = strength log(1 + |z|^2), smooth and of long range."""
    return e.Interaction(
        lambda z: strength * np.log1p(np.sum(z**2, axis=-1)),
        lambda z: 2.0 * strength * z / (1.0 + np.sum(z**2, axis=-1))[..., None],
    )


def waves(centre: Any = 0.0, stiffness: float = 1.0) -> e.Potential:
    """Return V(x) = stiffness sum_k (|x_k - c_k|^2 / 2 + sin(x_k - c_k)), convex but not strictly so."""
    return e.Potential(
        lambda x: stiffness * np.sum(0.5 * (x - centre) ** 2 + np.sin(x - centre), axis=-1),
        lambda x: stiffness * (x - centre + np.cos(x - centre)),
        convexity=0.0,
    )


def apart(a: Any, b: Any) -> float:
    """Return the largest difference of coordinates (and weights) of two states or tuples of states."""
    if isinstance(a, State):
        return _apart(a, b)
    return max(_apart(x, y) for x, y in zip(a, b, strict=True))


def _apart(a: State, b: State) -> float:
    gap = float(np.max(np.abs(a.coordinates - b.coordinates)))
    if isinstance(a, Particles) and isinstance(b, Particles):
        gap = max(gap, float(np.max(np.abs(a.weights - b.weights))))
    return gap
