"""Noisy gradients of known variance: moments of the steps (theory, sections 9.5 and 10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Quadratic
from measureflow.games import Bilinear, DiracGAN, Game, Noisy
from measureflow.problems.base import Printed, Problem
from measureflow.states import Vector

Pair = tuple[Any, Any]


def descent_variance(
    tau: float, strength: float, sigma: float, batch: int, steps: int | None = None, implicit: bool = False
) -> float:
    """Return the variance after `steps` noisy steps under strength x^2/2 (None: the stationary one) (N1).

    x+ = (1 - tau strength) x - tau xi, or x+ = (x - tau xi)/(1 + tau strength) for implicit steps; Var xi = sigma^2/batch.

    Examples
    --------
    >>> round(descent_variance(0.1, 1.5, 2.0, 4), 6)
    0.036036
    """
    scale = 1.0 / (1.0 + tau * strength) if implicit else 1.0
    factor = scale if implicit else 1.0 - tau * strength
    kick = (scale * tau * sigma) ** 2 / batch
    return kick * _geometric(factor**2, steps)


def _geometric(q: float, steps: int | None) -> float:
    """Return 1 + q + ... + q^(steps - 1), or the infinite sum."""
    if q == 1.0:
        return np.inf if steps is None else float(steps)
    return (1.0 - (0.0 if steps is None else q**steps)) / (1.0 - q)


def rotation_second_moment(
    steps: int, tau: float, sigma: tuple[float, float], batch: int, radius: float = 1.0, omega: float = 1.0
) -> float:
    """Return E|z_n|^2 after noisy simultaneous steps of the game omega x y: |z|^2 grows by 1 + omega^2 tau^2 (N2, N5).

    `sigma` are the deviations of the two players' gradients for a batch of one.

    Examples
    --------
    >>> round(rotation_second_moment(50, 0.2, (2.0, 2.0), 4), 5)
    19.32005
    """
    growth = 1.0 + (omega * tau) ** 2
    return growth**steps * radius**2 + tau**2 * (sigma[0] ** 2 + sigma[1] ** 2) / batch * _geometric(growth, steps)


def noisy_descent(
    strength: float = 1.5,
    sigma: float = 2.0,
    tau: float = 0.1,
    batch: int = 4,
    start: float = 1.0,
    copies: int = 1,
    t: float = 2.0,
) -> Problem:
    """N1: stochastic gradient descent on (strength/2) x^2; the stationary variance is that of `descent_variance`.

    `copies` independent ones are the coordinates of one vector; `tau` and `batch` belong to the constants. The exact flow is the
    mean.
    """
    strength, sigma = check.scalar("strength", strength, above=0.0), check.scalar("sigma", sigma, least=0.0)
    tau, batch = check.scalar("tau", tau, above=0.0), check.integer("batch", batch, least=1)
    x0 = Vector(np.full(check.integer("copies", copies, least=1), check.scalar("start", start)))
    variance = descent_variance(tau, strength, sigma, batch)
    printed = (strength, sigma, tau, batch) == (1.5, 2.0, 0.1, 4)
    return Problem(
        label="N1",
        title=f"noisy descent of a quadratic, sigma = {sigma:g}",
        source="theory.md, 9.5 N1",
        problem=Noisy(Game([Quadratic(strength)]), (np.full(copies, sigma),)),
        initial=(x0,),
        t_span=(0.0, t),
        exact=lambda time: (Vector(np.exp(-strength * time) * x0.values),),
        exact_step={
            "jko": lambda states, tau: (Vector(states[0].values / (1.0 + strength * tau)),),
            "explicit": lambda states, tau: (Vector((1.0 - strength * tau) * states[0].values),),
        },
        factors={"jko": lambda tau: 1.0 / (1.0 + strength * tau), "explicit": lambda tau: 1.0 - strength * tau},
        constants={
            "stationary variance": variance,
            "stationary variance, jko": descent_variance(tau, strength, sigma, batch, implicit=True),
        },
        reference={"stationary variance": Printed(".036036", _always(variance), 0.0)} if printed else {},
    )


def _always(number: float) -> Callable[[Any], float]:
    return lambda states: number


def noisy_rotation(
    sigma: float = 2.0,
    tau: float = 0.2,
    batch: int = 4,
    steps: int = 50,
    start: tuple[float, float] = (1.0, 0.0),
    copies: int = 1,
    t: float = 1.0,
) -> Problem:
    """N2: the bilinear game x y with noise in both gradients; after simultaneous steps E|z_n|^2 = `rotation_second_moment`.

    `copies` independent ones are the coordinates of the vectors; `tau`, `batch` and `steps` belong to the constants. The exact
    flow is the mean.
    """
    z0 = _plane_point(start)
    sigma, tau = check.scalar("sigma", sigma, least=0.0), check.scalar("tau", tau, above=0.0)
    batch, steps = check.integer("batch", batch, least=1), check.integer("steps", steps, least=1)
    moment = rotation_second_moment(steps, tau, (sigma, sigma), batch, abs(z0))
    printed = (sigma, tau, batch, steps, abs(z0)) == (2.0, 0.2, 4, 50, 1.0)
    reference = {"E|z_n|^2": Printed("19.32005", _always(moment), 0.0)} if printed else {}
    return _rotation("N2", (sigma, sigma), z0, copies, t, {"E|z_n|^2": moment}, reference)


def noisy_dirac_gan(
    deviation: float = 1.0,
    tau: float = 0.05,
    batch: int = 4,
    steps: int = 40,
    start: tuple[float, float] = (1.0, 0.0),
    t: float = 1.0,
) -> Problem:
    """N5: the Dirac WGAN with data N(0, deviation^2): the mean of a batch of data is noise in the critic's gradient.

    E|z_n|^2 is `rotation_second_moment` with noise for the critic only: the dual flow is the limit for tau -> 0 if
    tau/batch -> 0 too.
    """
    z0 = _plane_point(start)
    deviation, tau = check.scalar("deviation", deviation, least=0.0), check.scalar("tau", tau, above=0.0)
    batch, steps = check.integer("batch", batch, least=1), check.integer("steps", steps, least=1)
    moment = rotation_second_moment(steps, tau, (0.0, deviation), batch, abs(z0))
    return _rotation("N5", (0.0, deviation), z0, None, t, {"E|z_n|^2": moment}, {})


def _plane_point(start: tuple[float, float]) -> complex:
    """Return x + i y after checking both."""
    x, y = check.entries("start", start, 2, "x and y")
    return complex(check.scalar("start[0]", x), check.scalar("start[1]", y))


def _rotation(
    label: str,
    sigma: tuple[float, float],
    z0: complex,
    copies: int | None,
    t: float,
    constants: dict[str, float],
    reference: dict[str, Printed],
) -> Problem:
    """Return a noisy game of rotations: the Dirac WGAN, or `copies` bilinear games in two vectors."""
    count = 1 if copies is None else check.integer("copies", copies, least=1)

    def pair(z: np.ndarray) -> Pair:
        return Vector(z.real), Vector(z.imag)

    def turned(states: Pair, factor: complex) -> Pair:
        return pair((states[0].values + 1j * states[1].values) * factor)

    initial = pair(np.full(count, z0))
    base = DiracGAN("wgan") if copies is None else Bilinear(np.eye(count))
    return Problem(
        label=label,
        title="Dirac WGAN with noisy data" if copies is None else "noisy rotation",
        source=f"theory.md, 9.5 {label} and 10",
        problem=Noisy(base, tuple(np.full(count, entry) for entry in sigma)),
        initial=initial,
        t_span=(0.0, t),
        exact=lambda time: turned(initial, complex(np.cos(time), np.sin(time))),
        exact_step={"explicit simultaneous": lambda states, tau: turned(states, 1.0 + 1j * tau)},
        factors={"explicit simultaneous": lambda tau: 1.0 + 1j * tau},
        constants=constants,
        reference=reference,
    )
