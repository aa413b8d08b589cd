"""Losses whose mini-batches are biased, so that scales fall short of the target (theory, section 9.5)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import final

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy
from measureflow.energies.base import unsupported
from measureflow.problems.base import Printed, Problem
from measureflow.problems.ode import integrated
from measureflow.states import State, Vector

Losses = tuple[np.ndarray, np.ndarray]
Loss = Callable[[np.ndarray], Losses]
Draw = Callable[[int, np.random.Generator], Loss]

RATIOS = {2: ".377964473", 4: ".6255432422", 16: ".8854220042"}
"""Printed scales of N3 by the generator's batch."""


@final
class _Expected(Energy):
    """A sum over the entries of a `Vector`, the mean of random losses of which `minibatch` averages some."""

    def __init__(self, loss: Loss, draw: Draw | None = None) -> None:
        self.loss = loss
        self.draw = draw

    def _evaluate(self, state: State) -> tuple[float, np.ndarray]:
        if not isinstance(state, Vector):
            raise unsupported(self, state, "Vector")
        values, slopes = self.loss(state.values)
        return float(values.sum()), slopes

    def minibatch(self, size: int, rng: np.random.Generator) -> Energy | None:
        return None if self.draw is None else _Expected(self.draw(size, rng))


def batched_energy_distance(
    n: int = 4, unbiased: bool = False, target: float = 1.0, start: float = 0.3, copies: int = 1, t: float = 5.0
) -> Problem:
    """N3: energy distance of n random atoms g Z_i to N(0, target^2), averaged over Z: the scale g falls short of the target.

    With pairs counted as in a V-statistic the energy is sqrt(2/pi) sqrt(g^2 + target^2) - ((1 - 1/n) g + target)/sqrt(pi),
    minimal at g/target = sqrt((1 - 1/n)^2 / (2 - (1 - 1/n)^2)) for every step and learning rate; ``unbiased=True`` counts
    pairs of different atoms only (U-statistic) and has the ratio 1. In `solve`, ``batch=B`` averages B draws of n atoms.
    """
    n = check.integer("n", n, least=2)
    target = check.scalar("target", target, above=0.0)
    share = 1.0 if check.flag("unbiased", unbiased) else 1.0 - 1.0 / n
    ratio = float(np.sqrt(share**2 / (2.0 - share**2)))
    g0 = np.full(check.integer("copies", copies, least=1), check.scalar("start", start, above=0.0))

    def loss(g: np.ndarray) -> Losses:
        root = np.sqrt(g**2 + target**2)
        values = np.sqrt(2.0) * root - share * np.abs(g) - target
        return values / np.sqrt(np.pi), (np.sqrt(2.0) * g / root - share * np.sign(g)) / np.sqrt(np.pi)

    def draw(size: int, rng: np.random.Generator) -> Loss:
        return _on_atoms(rng.normal(size=(size, n, copies)), target, share)

    flow = integrated(lambda g: -loss(g)[1], g0[:1])
    printed = {"g/target": Printed(RATIOS[n], lambda state: ratio, 0.0)} if n in RATIOS and not unbiased else {}
    return Problem(
        label="N3",
        title=f"energy distance in batches of {n}" + (", unbiased" if unbiased else ""),
        source="theory.md, 9.5 N3; reference flow by DOP853",
        problem=_Expected(loss, draw),
        initial=Vector(g0),
        t_span=(0.0, t),
        exact=lambda time: Vector(np.repeat(flow(time), copies)),
        constants={"g/target": ratio},
        reference=printed,
    )


def _on_atoms(z: np.ndarray, target: float, share: float) -> Loss:
    """Return the mean energy distance of the laws of the atoms g z[b, :, k] to N(0, target^2), for every k."""
    from scipy.special import erf

    n = z.shape[1]
    levels = (2.0 * np.arange(1.0, n + 1.0) - n - 1.0)[None, :, None]
    spread = np.mean(2.0 * np.sum(levels * np.sort(z, axis=1), axis=1), axis=0) / n**2  # mean |z_i - z_j| over all pairs
    pairs = 0.5 * spread * share / (1.0 - 1.0 / n)

    def loss(g: np.ndarray) -> Losses:
        x = g * z
        inner = erf(x / (np.sqrt(2.0) * target))
        bell = np.sqrt(2.0 / np.pi) * target * np.exp(-0.5 * (x / target) ** 2)
        values = np.mean(bell + x * inner, axis=(0, 1)) - pairs * np.abs(g) - target / np.sqrt(np.pi)
        return values, np.mean(z * inner, axis=(0, 1)) - pairs * np.sign(g)

    return loss


def batched_wasserstein(n: int = 4, target: float = 1.0, start: float = 2.0, copies: int = 1, t: float = 2.0) -> Problem:
    """N4: W2^2/2 between n random atoms g Z_i and n of N(0, target^2), averaged: g/target tends to rho_n < 1.

    The energy is (g^2 + target^2)/2 - g target rho_n, rho_n = (1/n) sum_i (E Z_(i:n))^2 (`order_statistics`): mini-batch
    transport collapses the variance, and no learning rate helps. In `solve`, ``batch=B`` averages B draws of n atoms each.
    """
    n = check.integer("n", n, least=1)
    target = check.scalar("target", target, above=0.0)
    rho = float(np.mean(np.square(order_statistics(n))))
    g0 = np.full(check.integer("copies", copies, least=1), check.scalar("start", start, above=0.0))

    def loss(g: np.ndarray) -> Losses:
        return 0.5 * (g**2 + target**2) - target * rho * np.abs(g), g - target * rho * np.sign(g)

    def draw(size: int, rng: np.random.Generator) -> Loss:
        z, y = (np.sort(rng.normal(size=(size, n, copies)), axis=1) for _ in range(2))
        return _sorted(z, y, target)

    def towards(g: np.ndarray, factor: float) -> Vector:
        return Vector(target * rho + factor * (g - target * rho))

    return Problem(
        label="N4",
        title=f"W2 in batches of {n}",
        source="theory.md, 9.5 N4",
        problem=_Expected(loss, draw),
        initial=Vector(g0),
        t_span=(0.0, t),
        exact=lambda time: towards(g0, float(np.exp(-time))),
        exact_step={
            "jko": lambda state, tau: towards(state.values, 1.0 / (1.0 + tau)),
            "explicit": lambda state, tau: towards(state.values, 1.0 - tau),
        },
        factors={"jko": lambda tau: 1.0 / (1.0 + tau), "explicit": lambda tau: 1.0 - tau},
        constants={"g/target": rho},
    )


def _sorted(z: np.ndarray, y: np.ndarray, target: float) -> Loss:
    """Return the mean W2^2/2 of the laws of the atoms g z[b, :, k] and target y[b, :, k], both sorted in i, for every k."""
    square, data = np.mean(z**2, axis=(0, 1)), np.mean(y**2, axis=(0, 1))
    upwards: np.ndarray = np.mean(z * y, axis=(0, 1))
    downwards: np.ndarray = np.mean(-z[:, ::-1] * y, axis=(0, 1))

    def loss(g: np.ndarray) -> Losses:
        matched = np.where(g >= 0.0, upwards, downwards)
        values = 0.5 * (g**2 * square + target**2 * data) - target * matched * np.abs(g)
        return values, g * square - target * matched * np.sign(g)

    return loss


@cache
def order_statistics(n: int) -> tuple[float, ...]:
    """Return the means of the sorted entries of n independent N(0, 1), by a Gauss-Hermite rule.

    Examples
    --------
    >>> [round(x, 12) for x in order_statistics(2)] == [round(x, 12) for x in (-np.pi**-0.5, np.pi**-0.5)]
    True
    """
    from scipy.special import ndtr
    from scipy.stats import binom

    nodes, weights = np.polynomial.hermite_e.hermegauss(200)
    ranks = np.arange(check.integer("n", n, least=1))[:, None]
    shares = n * binom.pmf(ranks, n - 1, ndtr(nodes))
    return tuple(float(mean) for mean in shares @ (weights * nodes) / weights.sum())
