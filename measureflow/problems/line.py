"""Interactions and distances to a target, exact in quantile functions (theory, section 9.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow.energies import EnergyDistance, Interaction, SquaredWasserstein, Wasserstein1
from measureflow.problems.base import Printed, Problem, midpoint
from measureflow.recipes import named
from measureflow.states import Gaussian, Grid, Histogram, Law, Particles, Quantiles, State, moments
from measureflow.transport import bures_map


def _levels(n: int) -> np.ndarray:
    return (np.arange(check.integer("n", n, least=2)) + 0.5) / n


@named("half square")
def _half_square(z: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * np.sum(z**2, axis=-1))


@named("identity")
def _itself(z: np.ndarray) -> np.ndarray:
    return z


def quadratic_interaction(initial: Particles | Quantiles | None = None, t: float = 1.0) -> Problem:
    """S6: E = (1/2) iint |x - y|^2/2: x_i - mean contracts like e^(-t), the mean stays; in any dimension."""
    x0 = Particles(_scattered(20, 2, 7), None) if initial is None else initial
    check.instance("initial", x0, (Particles, Quantiles), "Particles or Quantiles")

    def contracted(state: State, factor: float) -> State:
        assert isinstance(state, (Particles, Quantiles))
        mean = state.mean()
        return state.replace(mean + factor * (state.coordinates - mean))

    return Problem(
        label="S6",
        title="quadratic attraction",
        source="theory.md, 9.2 S6",
        problem=Interaction(_half_square, _itself, convexity=0.0),
        initial=x0,
        t_span=(0.0, t),
        exact=lambda time: contracted(x0, float(np.exp(-time))),
        exact_step={
            "jko": lambda state, tau: contracted(state, 1.0 / (1.0 + tau)),
            "vim": midpoint(lambda state, tau: contracted(state, 1.0 / (1.0 + tau))),
            "explicit": lambda state, tau: contracted(state, 1.0 - tau),
        },
        invariants={f"mean[{k}]": _mean_entry(k) for k in range(x0.dim)},
    )


def _mean_entry(k: int) -> Callable[[Any], float]:
    return lambda state: float(moments(state)[0][k])


def _scattered(n: int, d: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def energy_distance_to_dirac(x0: float = 1.0, n: int = 1000, t: float = 0.9) -> Problem:
    """S9: energy distance to delta_0 from delta_{x0}, x0 > 0: X_t(s) = (x0 - 2 (1 - s) t)_+; an atom spreads at once.

    Minimizing movements are exact at their times. Decay is algebraic although the energy is convex.
    """
    x0 = check.scalar("x0", x0, above=0.0)
    levels = _levels(n)
    energy = EnergyDistance(Particles([[0.0]]))
    slack = 2.0 / n
    printed = {
        "W2^2(.9)": Printed(".1851851852", lambda law: float(np.mean(law.values**2)), 0.9, slack=slack**2),
        "F(.9)": Printed(".1028806584", energy.value, 0.9, slack=slack**2),
        "mass not at target(.9)": Printed(".5555555556", _positive, 0.9, slack=slack),
    }
    return Problem(
        label="S9",
        title="energy distance from a Dirac mass to a Dirac mass",
        source="theory.md, 9.2 S9; Duong et al., arXiv 2408.07498",
        problem=energy,
        initial=Quantiles(np.full(n, x0)),
        t_span=(0.0, t),
        exact=lambda time: Quantiles(np.maximum(x0 - 2.0 * (1.0 - levels) * time, 0.0)),
        exact_step={"jko": lambda law, tau: law.replace(np.maximum(law.values - 2.0 * (1.0 - levels) * tau, 0.0))},
        reference=printed if x0 == 1.0 else {},
    )


def _positive(law: Quantiles) -> float:
    return float(np.mean(law.values > 0.0))


def energy_distance_to_uniform(n: int = 200, t: float = 1.0) -> Problem:
    """S10: energy distance to uniform[0, 1] from a law in [0, 1]: X_t = s + (X_0 - s) e^(-2t)."""
    levels = _levels(n)
    start = levels**2

    def mixed(values: np.ndarray, factor: float) -> np.ndarray:
        return np.asarray(levels + (values - levels) * factor)

    return Problem(
        label="S10",
        title="energy distance to the uniform law",
        source="theory.md, 9.2 S10",
        problem=EnergyDistance(Histogram([1.0], Grid([(0.0, 1.0)], (1,)))),
        initial=Quantiles(start),
        t_span=(0.0, t),
        exact=lambda time: Quantiles(mixed(start, np.exp(-2.0 * time))),
        exact_step={
            "jko": lambda law, tau: law.replace(mixed(law.values, 1.0 / (1.0 + 2.0 * tau))),
            "vim": midpoint(lambda law, tau: law.replace(mixed(law.values, 1.0 / (1.0 + 2.0 * tau)))),
            "explicit": lambda law, tau: law.replace(mixed(law.values, 1.0 - 2.0 * tau)),
        },
    )


def lipschitz_critic(n: int = 200, t: float = 0.5) -> Problem:
    """S12: W1 to a target with quantiles Q: X_t = clip(Q, X_0 - t, X_0 + t); minimizing movements are exact."""
    levels = _levels(n)
    goal, start = 2.0 * levels, np.sqrt(levels)

    def moved(values: np.ndarray, time: float) -> np.ndarray:
        return np.clip(goal, values - time, values + time)

    return Problem(
        label="S12",
        title="W1, the infinitely fast Lipschitz critic",
        source="theory.md, 9.2 S12",
        problem=Wasserstein1(Quantiles(goal)),
        initial=Quantiles(start),
        t_span=(0.0, t),
        exact=lambda time: Quantiles(moved(start, time)),
        exact_step={"jko": lambda law, tau: law.replace(moved(law.values, tau))},
        constants={"W1(0)": float(np.mean(np.abs(start - goal)))},
    )


def squared_wasserstein(kind: str = "quantiles", n: int = 200, t: float = 1.0) -> Problem:
    """S13: E = W2^2(., nu)/2: x_t is the point at 1 - e^(-t) of the geodesic to nu, a JKO step goes to tau/(1 + tau).

    `kind` is "quantiles", "particles" (in the plane, n atoms) or "gaussian" (in the plane).
    """
    build = {"quantiles": _quantile_pair, "particles": _particle_pair, "gaussian": _gaussian_pair}
    start, target = build[check.choice("kind", kind, tuple(build))](check.integer("n", n, least=2))

    def towards(state: Any, share: float) -> Any:
        if isinstance(state, Gaussian):
            assert isinstance(target, Gaussian)
            return _bures_point(state, target, share)
        return state.replace(state.coordinates + share * (target.coordinates - state.coordinates))

    return Problem(
        label="S13",
        title=f"squared distance to a target, {kind}",
        source="theory.md, 9.2 S13",
        problem=SquaredWasserstein(target),
        initial=start,
        t_span=(0.0, t),
        exact=lambda time: towards(start, float(-np.expm1(-time))),
        exact_step={
            "jko": lambda state, tau: towards(state, tau / (1.0 + tau)),
            "explicit": lambda state, tau: towards(state, tau),
            "vim": lambda state, tau: towards(state, tau / (1.0 + 0.5 * tau)),
        },
    )


def _quantile_pair(n: int) -> tuple[Law, Law]:
    levels = _levels(n)
    return Quantiles(levels**3), Quantiles(1.0 + np.tan(levels - 0.5))


def _particle_pair(n: int) -> tuple[Law, Law]:
    """Return atoms y and their images under the gradient of a convex function, so that matching labels is optimal."""
    y = _scattered(n, 2, 13)
    return Particles(y @ np.array([[1.5, 0.4], [0.4, 0.7]]) + [1.0, -0.5]), Particles(y)


def _gaussian_pair(n: int) -> tuple[Law, Law]:
    return Gaussian([1.0, -0.5], [[2.0, 0.3], [0.3, 0.5]]), Gaussian([0.0, 1.0], [[0.7, -0.4], [-0.4, 1.1]])


def _bures_point(law: Gaussian, target: Gaussian, share: float) -> Gaussian:
    arrow = np.eye(law.dim) + share * (bures_map(law.cov, target.cov) - np.eye(law.dim))
    cov = arrow @ law.cov @ arrow.T
    return Gaussian(law.mean + share * (target.mean - law.mean), 0.5 * (cov + cov.T))
