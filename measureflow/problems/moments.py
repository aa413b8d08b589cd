"""Flows that see moments only: MMD with polynomial kernels (theory, 9.2 S14, S17)."""

from __future__ import annotations

import numpy as np

from measureflow import _validate as check
from measureflow.energies import MMD
from measureflow.energies.kernels import UserKernel
from measureflow.problems.base import Printed, Problem, midpoint
from measureflow.problems.potentials import cubic_root
from measureflow.recipes import named
from measureflow.states import Particles, Quantiles, State


@named("product of the squares")
def _squares(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(x**2 @ (y**2).T)


@named("slope of the product of the squares")
def _squares_slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(2.0 * x[:, None, :] * y[None, :, :] ** 2)


@named("inner product")
def _inner(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray(x @ y.T)


@named("slope of the inner product")
def _inner_slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.broadcast_to(y, (len(x), *y.shape))


def second_moment(law: State) -> float:
    """Return the mean of x^2 under a law of equal atoms."""
    return float(np.mean(law.coordinates**2))


def polynomial_mmd(c: float = 2.0, start: float = 0.3, n: int = 20, t: float = 0.5) -> Problem:
    """S14: E = (M2 - c)^2/2, the MMD with kernel x^2 y^2 on the line: M2 = c/(1 + (c/M2(0) - 1) e^(-4 c t)); atoms scale.

    `start` is M2(0). A minimizing movement multiplies by the q with 2 tau M2 q^3 + (1 - 2 tau c) q = 1, if 2 tau c < 1.
    """
    c, start = check.scalar("c", c, above=0.0), check.scalar("start", start, above=0.0)
    shape = np.random.default_rng(14).normal(size=(check.integer("n", n, least=1), 1))
    x0 = Particles(shape * np.sqrt(start / np.mean(shape**2)))
    target = Particles([[-np.sqrt(c)], [np.sqrt(c)]])

    def moment(time: float) -> float:
        return float(c / (1.0 + (c / start - 1.0) * np.exp(-4.0 * c * time)))

    def jko(law: State, tau: float) -> State:
        if not 2.0 * tau * c < 1.0:
            raise ValueError(f"tau must be below {0.5 / c:g} for the closed step, got {tau:g}")
        return law.replace(
            float(cubic_root(2.0 * tau * second_moment(law), 1.0 - 2.0 * tau * c, np.ones(1))[0]) * law.coordinates
        )

    return Problem(
        label="S14",
        title="MMD with the kernel x^2 y^2",
        source="theory.md, 9.2 S14",
        problem=MMD(target, UserKernel(_squares, _squares_slope)),
        initial=x0,
        t_span=(0.0, t),
        exact=lambda time: x0.replace(np.sqrt(moment(time) / start) * x0.points),
        exact_step={
            "jko": jko,
            "explicit": lambda law, tau: law.replace((1.0 - 2.0 * tau * (second_moment(law) - c)) * law.coordinates),
        },
        reference={"M2(.5)": Printed("1.811941130", second_moment, 0.5)} if (c, start) == (2.0, 0.3) else {},
    )


def mean_only(a: float = 2.0, initial: Particles | Quantiles | None = None, t: float = 1.0) -> Problem:
    """S17: E = |mean - a|^2/2, the MMD with kernel x.y: laws move as they are, mean - a decays like e^(-t)."""
    a = check.scalar("a", a)
    x0 = Particles(np.random.default_rng(17).normal(size=(9, 2))) if initial is None else initial
    check.instance("initial", x0, (Particles, Quantiles), "Particles or Quantiles")

    def moved(law: State, share: float) -> State:
        assert isinstance(law, (Particles, Quantiles))
        return law.replace(law.coordinates + share * (a - law.mean()))

    def spread(law: State) -> float:
        assert isinstance(law, (Particles, Quantiles))
        return float(np.trace(law.covariance()))

    return Problem(
        label="S17",
        title="squared distance of the mean to a point",
        source="theory.md, 9.2 S17",
        problem=MMD(Particles(np.full((1, x0.dim), a)), UserKernel(_inner, _inner_slope)),
        initial=x0,
        t_span=(0.0, t),
        exact=lambda time: moved(x0, float(-np.expm1(-time))),
        exact_step={
            "jko": lambda law, tau: moved(law, tau / (1.0 + tau)),
            "vim": midpoint(lambda law, tau: moved(law, tau / (1.0 + tau))),
            "explicit": lambda law, tau: moved(law, tau),
        },
        invariants={"spread": spread},
    )
