"""Laws stay laws, constraints are kept, and minimizing movements pay for what they gain (theory, 1, 4.1, 12.16)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from measureflow import energies as e
from measureflow.metrics import FisherRao
from measureflow.solution import Solution
from measureflow.solve import solve
from measureflow.states import Gaussian, Histogram, Particles, Quantiles, State, Vector
from measureflow.theorems.base import Control, Theorem, Trial
from measureflow.theorems.catalogue._battery import CELLS, FLAT, METRICS, SCHEMES, shares, spring, state, waves
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel

Found = Iterator[Check | Curve]

BLOCKED = np.array([False] * 6 + [True] + [False] * 2)


def functional(name: str, x: State, seed: int) -> e.Energy:
    """Return an energy by its name, with a random target, for a state."""
    rng = np.random.default_rng([seed, 5])
    dim = 1 if isinstance(x, Quantiles) or (isinstance(x, Histogram) and x.masses.ndim == 1) else 2
    atoms = Particles(rng.normal(size=(4, dim)), shares(rng, 4))
    made: dict[str, Any] = {
        "Potential": waves,
        "Interaction": spring,
        "repulsion": lambda: e.Interaction(
            lambda z: -np.abs(z).sum(axis=-1), lambda z: -np.sign(z), singular=True, convexity=0.0
        ),
        "MMD": lambda: e.MMD(atoms, "gaussian"),
        "EnergyDistance": lambda: e.EnergyDistance(atoms),
        "SquaredWasserstein": lambda: e.SquaredWasserstein(atoms if not isinstance(x, Gaussian) else Gaussian(np.ones(dim), 0.4)),
        "Wasserstein1": lambda: e.Wasserstein1(atoms),
        "Box": lambda: waves(-9.0, 2.0) + e.Box(-4.2, 8.0),
        "KL": lambda: e.KL(Gaussian(np.full(dim, 0.3), 0.6)),
        "Entropy": lambda: e.Entropy(0.8) + e.Quadratic(),
        "PowerEntropy": lambda: e.PowerEntropy(2.0) + 0.5 * e.Quadratic(),
        "PowerEntropy + Interaction": lambda: e.PowerEntropy(3.0) + e.QuadraticInteraction(2.0),
        "Congestion": lambda: e.Congestion(1.4 * _peak(x)) + e.Quadratic(2.0),
        "Congestion + Entropy": lambda: e.Congestion(1.4 * _peak(x)) + e.Entropy(0.2) + e.Quadratic(3.0),
        "Obstacle": lambda: e.Obstacle(BLOCKED) + e.Entropy() + e.Quadratic(),
        "CellPotential": lambda: e.CellPotential(5.0 * rng.normal(size=x.coordinates.shape)),
    }
    return made[name]()


def _peak(x: State) -> float:
    """Return the largest density of a law on a grid or the line."""
    if isinstance(x, Histogram):
        return float(x.masses.max() / x.grid.cell_volume)
    assert isinstance(x, Quantiles)
    return float(1.0 / (len(x.values) * np.diff(x.values).min()))


def _mass(x: State) -> float:
    return float(x.masses.sum() if isinstance(x, Histogram) else x.weights.sum() if isinstance(x, Particles) else 1.0)


def _least(x: State) -> float:
    """Return the least of what must not be negative: masses, weights, gaps, eigenvalues."""
    if isinstance(x, Histogram):
        return float(x.masses.min())
    if isinstance(x, Particles):
        return float(x.weights.min())
    return float(np.diff(x.values).min() if isinstance(x, Quantiles) else np.linalg.eigvalsh(x.cov)[0])  # type: ignore[attr-defined]


def _constraints(energy: e.Energy, states: Any, where: str) -> Iterator[Check]:
    for _, term in energy.terms():
        if isinstance(term, e.Congestion):
            peaks = [_peak(x) for x in states[1:]]
            yield at_most("density under a cap", peaks, term.density_cap, tolerance=1e-9 * term.density_cap, where=where)
        if isinstance(term, e.Obstacle):
            yield equal("mass in blocked cells", [x.masses[BLOCKED].sum() for x in states], 0.0, tolerance=1e-15, where=where)
        if isinstance(term, e.Box):
            yield at_least(
                "least coordinate in a box", [x.coordinates.min() for x in states[1:]], term.lo, tolerance=1e-12, where=where
            )


def _balance(sol: Solution, scheme: str, where: str) -> Iterator[Check]:
    """Minimizing movements: E(x+) + d(x, x+)^2/(2 tau) <= E(x), for energies that are finite at x."""
    taus, drop = np.diff(sol.t), -np.diff(sol.energies)
    noise = 1e-11 + 10.0 * sol.info["residual"][1:] * (1e-3 + sol.info["distance"][1:])
    allowed = 1e-9 * (1.0 + np.abs(sol.energies[:-1]))
    cost = sol.info["distance"][1:] ** 2 / (2.0 * taus) if scheme == "jko" else np.zeros(len(taus))
    name = "d^2/(2 tau) against the gain of energy" if scheme == "jko" else "energy of linearised steps"
    yield at_most(name, cost, drop, tolerance=allowed, error=np.minimum(noise, 0.9 * allowed), where=where)


def _lawful(kind: str, metric: str, energy: str, schemes: list[str], seed: int, tau: float) -> Found:
    x = state(kind, seed)
    if energy == "Obstacle":
        assert isinstance(x, Histogram)
        x = x.replace(np.where(BLOCKED, 0.0, x.masses) / x.masses[~BLOCKED].sum())
    made = functional(energy, x, seed)
    for scheme in schemes:
        sol = solve(made, x, 3 * tau, tau, scheme=SCHEMES[scheme], metric=METRICS[metric], speeds=1.3 if scheme != "jko" else 1.0)
        where = f"{energy}, {kind}, {metric}, {scheme}, seed = {seed}, tau = {tau:g}"
        yield equal("total mass", [_mass(z) for z in sol.states], 1.0, tolerance=1e-12, where=where)
        least = [_least(z) for z in sol.states]
        # gaps of quantiles may close, to the rounding of their sums
        yield at_least("least mass, gap or eigenvalue", least, 0.0, tolerance=1e-300, where=where)
        if metric == "W2" and isinstance(x, Particles):
            yield equal(
                "weights of atoms", [np.max(np.abs(z.weights - x.weights)) for z in sol.states], 0.0, tolerance=1e-16, where=where
            )
        yield from _constraints(made, sol.states, where)
        if scheme in ("jko", "linearised") and np.isfinite(sol.energies[0]):
            yield from _balance(sol, scheme, where)


MASSES = Panel("least mass in the flow of a linear cost", r"$t$", "least mass")


def _picture(tau: float) -> Found:
    """Solve what the control gets wrong, in the metric of laws."""
    x, cost = _costly()
    sol = solve(e.CellPotential(cost), x, 8 * tau, tau, scheme="jko", metric=FisherRao())
    yield at_least("least mass", [_least(z) for z in sol.states], 0.0, tolerance=1e-300)
    yield equal("total mass", [_mass(z) for z in sol.states], 1.0, tolerance=1e-12)
    yield Curve(MASSES, "Fisher-Rao, minimizing movements", sol.t, [_least(z) for z in sol.states])
    yield Curve(MASSES, "0", sol.t, 0.0 * sol.t, "predicted")


def _costly() -> tuple[Histogram, np.ndarray]:
    x = state("cells", 0)
    assert isinstance(x, Histogram)
    return x, np.linspace(0.0, 2.0, x.masses.size)


def _as_vector(tau: float) -> Found:
    """Take the same masses as a point of R^n: they become negative, and have another sum."""
    x, cost = _costly()
    sol = solve(e.Quadratic(0.0, linear=cost), Vector(x.masses), 8 * tau, tau)
    least = [float(z.values.min()) for z in sol.states]
    yield at_least("least mass", least, 0.0, tolerance=1e-300)
    yield equal("total mass", [float(z.values.sum()) for z in sol.states], 1.0, tolerance=1e-12)
    yield Curve(MASSES, "Euclidean steps of the masses", sol.t, least, "control")


def _gaining(tau: float) -> Found:
    """Explicit steps are no minimizing movements: beyond tau = 1 they pay more than they gain."""
    sol = solve(e.Quadratic(), state("particles", 0), 3 * tau, tau, scheme="explicit")
    yield at_most(
        "d^2/(2 tau) against the gain of energy",
        sol.info["distance"][1:] ** 2 / (2.0 * tau),
        -np.diff(sol.energies),
        tolerance=1e-9,
    )


def _test(part: str = "laws", **arguments: Any) -> Found:
    parts: dict[str, Callable[..., Found]] = {"laws": _lawful, "picture": _picture, "vector": _as_vector, "explicit": _gaining}
    yield from parts[part](**arguments)


STABLE = tuple(name for name in FLAT if name not in ("explicit", "rk2", "rk4"))
PLANS: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...], float], ...] = (
    ("particles", "W2", ("Potential", "Interaction", "MMD", "SquaredWasserstein", "Box"), (*FLAT, "forward-backward"), 0.2),
    ("weighted", "W2", ("Potential", "MMD", "Interaction"), (*FLAT, "forward-backward"), 0.2),
    ("quantiles", "W2", ("KL", "Entropy", "PowerEntropy", "PowerEntropy + Interaction", "Interaction"), STABLE, 0.2),
    ("quantiles", "W2", ("repulsion", "EnergyDistance", "SquaredWasserstein", "Box"), STABLE, 0.3),
    ("quantiles", "W2", ("Wasserstein1",), ("jko",), 0.3),
    ("quantiles", "W2", ("Congestion",), ("jko",), 0.2),
    ("gaussian", "W2", ("KL", "Entropy", "PowerEntropy", "SquaredWasserstein"), (*STABLE, "forward-backward"), 0.15),
    ("cells", "W2", ("KL", "Entropy", "PowerEntropy"), ("linearised", *CELLS), 0.05),
    (
        "cells",
        "W2",
        ("Congestion", "Congestion + Entropy", "Interaction", "PowerEntropy + Interaction"),
        ("jko", "linearised"),
        0.2,
    ),
    ("cells", "W2", ("Obstacle",), ("linearised", "bdf2"), 0.2),
    ("plane cells", "W2", ("Entropy", "PowerEntropy", "Congestion"), ("jko", "linearised", "bdf2"), 0.1),
    ("cells", "FR", ("KL", "CellPotential", "MMD", "PowerEntropy"), ("jko", "vim", "bdf2", "mirror", "implicit mirror"), 0.3),
    ("plane cells", "FR", ("CellPotential", "Interaction"), ("jko", "mirror", "richardson"), 0.3),
    ("weighted", "FR", ("MMD", "Potential"), ("jko", "explicit", "vim"), 0.2),
    ("weighted", "WFR", ("MMD", "Potential"), ("jko", "explicit", "splitting"), 0.1),
    ("cells", "WFR", ("KL",), ("splitting", "splitting, unsymmetric"), 0.1),
)
"""Kind of states, metric, energies, schemes, step."""


def _trials(seeds: Any, factors: Any) -> list[Trial]:
    return [
        {"kind": kind, "metric": metric, "energy": energy, "schemes": list(schemes), "seed": seed, "tau": tau * factor}
        for factor in factors
        for seed in seeds
        for kind, metric, energies, schemes, tau in PLANS
        for energy in energies
    ]


LAWS = Theorem(
    name="measures-stay-measures",
    label="1",
    title="laws stay laws, and steps pay for what they gain",
    statement="In the metrics of laws every step keeps the mass, to 1e-12, and the signs of masses, gaps of quantiles and "
    "covariances; caps, boxes and obstacles are kept, too. A minimizing movement pays d^2/(2 tau) out of the energy that it "
    "gains.",
    formula=r"\int d\mu_n = 1, \quad \mu_n \geq 0, \quad E(\mu_{n+1}) + \frac{d(\mu_n, \mu_{n+1})^2}{2 \tau} \leq E(\mu_n)",
    hypotheses=(
        "the metric is one of laws: W2, Fisher-Rao, Wasserstein-Fisher-Rao",
        "for the last inequality: minimizing movements",
    ),
    source="theory, sections 1, 4.1, 12.16, 13 (3)",
    problems=(),
    test=_test,
    quick=[*_trials([0], [1.0]), {"part": "picture", "tau": 0.1}],
    full=[*_trials(range(3), [1.0, 0.2, 4.0]), {"part": "picture", "tau": 0.1}],
    control=Control(
        "the masses move as a point of R^n, or the steps are explicit ones",
        _test,
        [{"part": "vector", "tau": 0.1}, {"part": "explicit", "tau": 1.01}],
    ),
)

ENTRIES = (LAWS,)
