"""Newtonian repulsion and attraction on the line, exact in quantile functions (theory, 9.2 S7, S8)."""

from __future__ import annotations

from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy, Interaction, Quadratic
from measureflow.problems.base import Problem
from measureflow.recipes import named
from measureflow.states import Particles, Quantiles


@named("distance")
def _distance(z: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(z).sum(axis=-1))


@named("direction")
def _direction(z: np.ndarray) -> np.ndarray:
    return np.asarray(np.sign(z))


@named("minus the distance")
def _minus_distance(z: np.ndarray) -> np.ndarray:
    return np.asarray(-np.abs(z).sum(axis=-1))


@named("minus the direction")
def _minus_direction(z: np.ndarray) -> np.ndarray:
    return np.asarray(-np.sign(z))


def _levels(n: int) -> np.ndarray:
    return (np.arange(check.integer("n", n, least=2)) + 0.5) / n


def repulsion(confined: bool = False, initial: Quantiles | None = None, n: int = 101, t: float = 1.0) -> Problem:
    """S7: E = -(1/2) iint |x - y|: X_t = X_0 + t (2s - 1); the Dirac mass (`initial` None) spreads to uniform[-t, t].

    E decreases at the rate 1/3. `confined` adds the potential x^2/2: X_t = e^(-t) X_0 + (1 - e^(-t)) (2s - 1), to uniform[-1, 1].
    Atoms that are kept as atoms (`Particles`) miss the law by t/(sqrt(3) n) in W2: each should spread.
    """
    x0 = Quantiles(np.zeros(len(_levels(n)))) if initial is None else check.instance("initial", initial, Quantiles, "Quantiles")
    push, stiff = 2.0 * x0.levels - 1.0, float(check.flag("confined", confined))
    pairs = Interaction(_minus_distance, _minus_direction, singular=True, convexity=0.0)
    energy: Energy = pairs + Quadratic() if confined else pairs

    def exact(time: float) -> Quantiles:
        gained = -np.expm1(-time) if confined else time
        return Quantiles((1.0 - stiff * gained) * x0.values + gained * push)

    return Problem(
        label="S7",
        title="Newtonian repulsion on the line" + (" in a quadratic potential" if confined else ""),
        source="theory.md, 9.2 S7",
        problem=energy,
        initial=x0,
        t_span=(0.0, t),
        exact=exact,
        exact_step={"jko": lambda law, tau: law.replace((law.values + tau * push) / (1.0 + stiff * tau))},
        invariants={} if confined else {"mean": lambda law: float(law.mean()[0])},
        constants={"rate": 1.0 / 3.0},
    )


def attraction(a: float = 1.0, n: int = 101, t: float = 1.5) -> Problem:
    """S8: E = (1/2) iint |x - y| from uniform[-a, a]: X_t = (a - t)_+ (2s - 1), which collapses at t = a and stays.

    Two levels are two atoms at -a/2 and a/2, which merge at the time a. A minimizing movement is X - tau (2s - 1), projected on
    the cone of nondecreasing functions: atoms that meet stick.
    """
    a = check.scalar("a", a, above=0.0)
    pull = 2.0 * _levels(n) - 1.0

    def exact(time: float) -> Quantiles:
        return Quantiles(max(a - time, 0.0) * pull)

    def jko(law: Any, tau: float) -> Any:
        from scipy.optimize import isotonic_regression

        return law.replace(np.asarray(isotonic_regression(law.values - tau * pull).x))

    return Problem(
        label="S8",
        title="attraction on the line, collapses in finite time",
        source="theory.md, 9.2 S8",
        problem=Interaction(_distance, _direction, singular=True, convexity=0.0),
        initial=exact(0.0),
        t_span=(0.0, t),
        exact=exact,
        exact_step={"jko": jko},
        invariants={"mean": lambda law: float(law.mean()[0])},
        constants={"collapse": a},
    )


def kept_as_atoms(positions: np.ndarray, time: float, refinement: int = 501) -> tuple[Particles, Quantiles]:
    """Return n atoms after pure repulsion for some time, kept as atoms, and the law that they should have spread to.

    Their distance is time/(sqrt(3) n): every atom is a uniform law of width 2 time/n. `positions` (n,) increase strictly; the law
    has n * refinement levels.
    """
    x = check.array("positions", positions, ndim=1)
    n = len(x)
    fine = 2.0 * _levels(n * check.integer("refinement", refinement, least=1)) - 1.0
    atoms = Particles((x + time * (2.0 * _levels(n) - 1.0))[:, None])
    return atoms, Quantiles(np.repeat(x, refinement) + time * fine)
