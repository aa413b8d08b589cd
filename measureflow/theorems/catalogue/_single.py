"""Random energies with a known convexity, on states of all kinds, for the theorems on single flows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from measureflow import problems
from measureflow.energies import (
    KL,
    CellPotential,
    Energy,
    EnergyDistance,
    Entropy,
    Interaction,
    PowerEntropy,
    Quadratic,
    QuadraticInteraction,
    SquaredWasserstein,
)
from measureflow.metrics import FisherRao, Metric, natural
from measureflow.problems import Problem
from measureflow.schemes import JKO, Scheme
from measureflow.solution import Solution
from measureflow.solve import solve
from measureflow.states import Gaussian, Grid, Histogram, Particles, Quantiles, State, Vector
from measureflow.theorems.base import Trial

SLACK = 1e-9
"""By how much an inequality may be missed, relative to the size of what is compared."""

MINIMIZING = JKO(tolerance=1e-12)


@final
@dataclass(frozen=True, eq=False)
class Case:
    """An energy that is `bend`-convex in its metric, a start, the largest of its curvatures, and its minimum if one is known."""

    energy: Energy
    start: State
    bend: float
    stiff: float
    bottom: State | None = None
    metric: Metric | None = None

    @property
    def space(self) -> Metric:
        """The metric."""
        return self.metric or natural(self.start)

    def distance(self, a: Any, b: Any) -> float:
        """Return the distance of two states."""
        return self.space.distance(a, b)

    def solve(self, span: float, tau: float, eta: float = 1.0, scheme: Scheme = MINIMIZING, start: Any = None) -> Solution:
        """Solve the flow with speed eta for a time."""
        at = self.start if start is None else start
        return solve(self.energy, at, span, tau, scheme=scheme, metric=self.metric, speeds=eta)


def spread(rng: np.random.Generator, dim: int, least: float, most: float) -> np.ndarray:
    """Return a random symmetric matrix with eigenvalues that fill an interval."""
    frame = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    values = np.concatenate([[least], rng.uniform(least, most, size=dim - 1)])
    matrix = (frame * values) @ frame.T
    return np.asarray(0.5 * (matrix + matrix.T))


def _quadratic(rng: np.random.Generator, bend: float) -> Case:
    dim = int(rng.integers(1, 6))
    a, centre = spread(rng, dim, bend, 12.0), rng.normal(size=dim)
    energy = Quadratic(a, centre=centre, constant=0.3)
    return Case(energy, Vector(2.0 * rng.normal(size=dim)), bend, 12.0, Vector(centre) if bend > 0.0 else None)


def _gaussian(rng: np.random.Generator, bend: float) -> Case:
    """T Entropy and a quadratic that commutes with nothing; written as a KL divergence where T = 1."""
    dim, temperature = int(rng.integers(1, 4)), float(rng.choice([0.4, 1.0, 2.5]))
    a, centre = spread(rng, dim, bend, 4.0), rng.normal(size=dim)
    start = Gaussian(rng.normal(size=dim), spread(rng, dim, 0.3, 3.0))
    if bend <= 0.0:
        return Case(Entropy(temperature) + Quadratic(a, centre=centre), start, bend, 15.0)
    inverse = np.linalg.inv(a)
    bottom = Gaussian(centre, 0.5 * temperature * (inverse + inverse.T))
    energy = KL(bottom) if temperature == 1.0 else Entropy(temperature) + Quadratic(a, centre=centre)
    return Case(energy, start, bend, 15.0, bottom)


def _quantiles(rng: np.random.Generator, entropy: Energy) -> Case:
    bend = float(rng.uniform(0.4, 1.6))
    start = Quantiles(np.cumsum(rng.uniform(0.1, 0.5, size=12)) - 2.0)
    return Case(entropy + Quadratic(bend, centre=[0.3]), start, bend, 300.0)


def _wells(rng: np.random.Generator) -> Case:
    """Atoms of different weights in the double well of E4."""
    points, weights = rng.uniform(-1.5, 1.5, size=(6, 1)), rng.uniform(0.5, 1.5, size=6)
    problem = problems.get("E4", initial=Particles(points, weights / weights.sum()))
    assert isinstance(problem.problem, Energy)
    return Case(problem.problem, problem.initial, -1.0, 6.0)


def _attracted(rng: np.random.Generator) -> Case:
    """Atoms in the plane that attract each other, by a convex interaction that is no quadratic, in a quadratic potential."""
    bend = 0.6
    pairs = Interaction(_soft, _soft_slope, convexity=0.0)
    energy = pairs + 0.5 * QuadraticInteraction() + Quadratic(bend, centre=[0.5, -0.2])
    return Case(energy, Particles(1.5 * rng.normal(size=(5, 2))), bend, 3.0, Particles(np.tile([0.5, -0.2], (5, 1))))


def _gathered(rng: np.random.Generator) -> Case:
    """Return atoms drawn to their mean and to the origin, in closed form."""
    energy = 0.5 * QuadraticInteraction(2.4) + Quadratic(0.6)
    weights = rng.uniform(0.5, 1.5, size=5)
    start = Particles(1.5 * rng.normal(size=(5, 2)), weights / weights.sum())
    return Case(energy, start, 0.6, 1.8, start.replace(np.zeros((5, 2))))


def _soft(z: np.ndarray) -> np.ndarray:
    return np.asarray(np.sqrt(1.0 + np.sum(z**2, axis=-1)))


def _soft_slope(z: np.ndarray) -> np.ndarray:
    return np.asarray(z / _soft(z)[..., None])


def _energy_distance(rng: np.random.Generator) -> Case:
    """Return the energy distance to an evenly spread law on the line, from inside: lambda = 0."""
    target = Histogram([1.0], Grid([(-2.0, 2.0)], (1,)))
    start = Quantiles(np.sort(rng.uniform(-1.8, 1.8, size=10)))
    return Case(EnergyDistance(target), start, 0.0, 2.0, Quantiles(4.0 * start.levels - 2.0))


def _to_a_law(rng: np.random.Generator) -> Case:
    target = Quantiles(np.sort(rng.normal(size=9)))
    return Case(SquaredWasserstein(target), Quantiles(np.sort(3.0 * rng.normal(size=9))), 1.0, 1.0, target)


def _simplex(rng: np.random.Generator) -> Case:
    """Return a cost of cells in the Fisher-Rao metric: along great circles its curvature is at least -(max - min)/2."""
    cost, masses = rng.uniform(0.0, 2.0, size=6), rng.uniform(0.5, 1.5, size=6)
    bend = -0.5 * float(np.ptp(cost))
    return Case(CellPotential(cost), Histogram(masses / masses.sum(), Grid([(0.0, 1.0)], (6,))), bend, 2.0, None, FisherRao())


KINDS: dict[str, Callable[[np.random.Generator], Case]] = {
    "quadratic": lambda rng: _quadratic(rng, 0.4),
    "saddle": lambda rng: _quadratic(rng, -0.7),
    "Gaussians": lambda rng: _gaussian(rng, 0.5),
    "Gaussians, saddle": lambda rng: _gaussian(rng, -0.6),
    "quantiles, entropy": lambda rng: _quantiles(rng, Entropy(0.5)),
    "quantiles, porous": lambda rng: _quantiles(rng, 0.7 * PowerEntropy(2.0)),
    "double well": _wells,
    "attraction": _attracted,
    "gathering": _gathered,
    "energy distance": _energy_distance,
    "distance to a law": _to_a_law,
    "simplex": _simplex,
}


def case(kind: str, seed: int) -> Case:
    """Return a random case of a kind."""
    return KINDS[kind](np.random.default_rng([seed, *kind.encode()]))


def flat(kind: str, size: float = 1.0) -> Case:
    """Return a case in which an inequality is an equality: the energy has one curvature, `size`, in all directions that move."""
    a = 0.5 * size
    build: dict[str, Callable[[], Case]] = {
        "one point": lambda: Case(Quadratic(size, centre=[0.5, 0.0]), Vector([2.0, -1.0]), size, abs(size), Vector([0.5, 0.0])),
        "atoms": lambda: Case(Quadratic(size), Particles([[1.0, 2.0], [-1.0, 0.5]], [0.3, 0.7]), size, abs(size)),
        "quantiles": lambda: Case(Quadratic(size), Quantiles([-1.0, 0.2, 2.0]), size, abs(size)),
        "shifted Gaussians": lambda: Case(
            0.5 * Entropy() + Quadratic(a) + Quadratic(a),
            Gaussian([1.5, -0.4], 0.5 / size * np.eye(2)),
            size,
            size,
            Gaussian([0.0, 0.0], 0.5 / size * np.eye(2)),
        ),
    }
    return build[kind]()


def trembled(rng: np.random.Generator, state: Any) -> State:
    """Return a random state of the same kind, not far away."""
    if isinstance(state, Gaussian):
        mix = np.eye(state.dim) + 0.6 * rng.normal(size=(state.dim, state.dim))
        cov = mix @ state.cov @ mix.T
        return Gaussian(state.mean + rng.normal(size=state.dim), 0.5 * (cov + cov.T) + 1e-3 * np.eye(state.dim))
    if isinstance(state, Quantiles):
        return state.replace(np.sort(state.values + 0.5 * rng.normal(size=len(state.values))) + 0.05 * state.levels)
    if isinstance(state, Histogram):
        masses = state.masses * rng.uniform(0.3, 1.7, size=state.masses.shape)
        return state.replace(masses / masses.sum())
    return state.replace(state.coordinates + rng.normal(size=state.coordinates.shape))


def uneven(steps: int, tau: float) -> float:
    """Return a time that so many steps of tau, the last one shorter, reach."""
    return (steps - 0.63) * tau


def steps_of(sol: Solution, eta: float) -> np.ndarray:
    """Return the sizes of all steps in the time of a player with speed eta."""
    return eta * np.diff(sol.t)


def lengths(each: Case, sol: Solution) -> np.ndarray:
    """Return the distance of every state from the one before."""
    return np.array([each.distance(a, b) for a, b in zip(sol.states[:-1], sol.states[1:], strict=True)])


def unsure(sol: Solution, size: float = 1.0) -> float:
    """Return how far inner solvers and rounding may be off, for quantities of a size."""
    return float(3.0 * np.max(sol.info["residual"]) + 1e-12) * max(1.0, size)


def largest(each: Case, share: float, eta: float) -> float:
    """Return a step that is a share of the largest one allowed, or of 1 where all are."""
    return share / (eta * (1.0 if each.bend >= 0.0 else -each.bend))


SHARP: list[Trial] = [
    *(
        {"kind": kind, "size": 0.8, "eta": eta}
        for kind in ("one point", "atoms", "quantiles", "shifted Gaussians")
        for eta in (1.0, 0.4)
    ),
    {"kind": "one point", "size": -0.8, "eta": 1.0},
]
"""Trials of `flat` cases."""

SMOOTH: dict[str, dict[str, Any]] = {
    "S1": {"alpha": 0.8},
    "S2": {},
    "S4": {"n": 30},
    "S6": {},
    "S10": {"n": 20},
    "S13": {"n": 20},
    "E1": {"a": 1.4},
    "E3": {},
}
"""Problems with smooth flows and lambda >= 0, with parameters."""

EXACT: dict[str, dict[str, Any]] = {
    "E2": {},
    "S9": {"n": 20},
    "S12": {"n": 20},
    "S7": {"initial": Quantiles(np.linspace(-1.0, 1.2, 20) ** 3)},
}
"""Problems whose minimizing movements lie on the flow."""


class Clock:
    """The exact flow of a problem at speed eta."""

    def __init__(self, problem: Problem, eta: float = 1.0) -> None:
        self.problem = problem
        self.eta = eta
        self.span = (problem.t_span[1] - problem.t_span[0]) / eta

    def solve(self, tau: float, scheme: Any = MINIMIZING, **options: Any) -> Solution:
        """Solve until the end of the problem's time span; `t` is a share of it."""
        first = self.problem.t_span[0]
        last = first + options.pop("share", 1.0) * self.span
        return self.problem.solve(tau, scheme, t=last, speeds=self.eta, **options)

    def at(self, t: float) -> Any:
        """Return the exact state at a time of the computation."""
        first = self.problem.t_span[0]
        assert self.problem.exact is not None
        return self.problem.exact(first + self.eta * (t - first))

    def errors(self, sol: Solution) -> np.ndarray:
        """Return the distances of all rows from the flow."""
        return np.array([self.problem.distance(x, self.at(float(t))) for t, x in zip(sol.t, sol.states, strict=True)])


def random_problem(kind: str, seed: int) -> tuple[Problem, float]:
    """Return a problem with random parameters, and a random step as a share of its time span."""
    rng = np.random.default_rng([seed, 17])
    share = 1.0 / float(rng.integers(2, 12))
    if kind == "stiff":
        return problems.get(
            "E5", roughness=float(rng.uniform(-0.5, 3.0)), modes=int(rng.integers(2, 40)), t=10.0 ** rng.uniform(-3, 1)
        ), share
    if kind == "Gaussian":
        dim = int(rng.integers(1, 4))
        a, cov = spread(rng, dim, 0.01, 9.0), spread(rng, dim, 0.05, 3.0)
        return problems.get("S2", A=a, cov=cov, mean=rng.normal(size=dim), t=float(rng.uniform(0.1, 3.0))), share
    return problems.get("S4", m=float(rng.uniform(1.2, 4.0)), n=int(rng.integers(2, 30)), t=float(rng.uniform(1.1, 6.0))), share
