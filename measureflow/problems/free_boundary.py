"""Diffusion from a point: the self-similar flows of power entropies and of the entropy (theory, 9.2 S3-S5, T7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow.energies import Energy, Entropy, PowerEntropy
from measureflow.energies.free_ends import LEAST, profile
from measureflow.problems.base import Printed, Problem
from measureflow.states import Quantiles


def porous_medium(m: float = 2.0, n: int = 205, t: float = 2.0) -> Problem:
    """S4: E = int rho^m/(m-1), m > 1, from the solution of Barenblatt at time 1, until t; it ends at a moving front.

    rho = t^(-b) (C - k x^2 t^(-2b))_+^(1/(m-1)) with b = 1/(m+1), k = b (m-1)/(2m): widths grow like t^b. A minimizing movement
    keeps the family, r+ = r + tau b r+^(-m) for the width r = t^b; so do `Quantiles`, at every number n of levels.
    """
    m, n = check.scalar("m", m, above=1.0), check.integer("n", n, least=2)
    slack = 2.0 * n**-1.5
    printed = {
        "M2(2)": Printed("1.373657091", lambda law: float(np.mean(law.values**2)), 2.0, slack=slack),
        "E(2)": Printed(".2289428485", PowerEntropy(2.0).value, 2.0, slack=slack),
        "half-width(1)": Printed("2.080083823", lambda law: float(law.values[-1] / profile(2.0, len(law))[0][-1]), 1.0),
    }
    if (9 * n - 5) % 10 == 0:
        printed["Q(.9, 2)"] = Printed("1.59445851", _ninth_decile, 2.0)
    return _self_similar(
        "S4",
        f"porous medium, m = {m:g}",
        "theory.md, 9.2 S4; Barenblatt 1952",
        PowerEntropy(m),
        n,
        (1.0, t),
        printed if m == 2.0 else {},
        {"front(1)": 9.0 ** (1.0 / 3.0)} if m == 2.0 else {},
    )


def fast_diffusion(m: float = 0.5, n: int = 205, t: float = 2.0) -> Problem:
    """S5: E = int rho^m/(m-1), 1/3 < m < 1, from the self-similar solution at time 1, until t; Student's laws, heavy tails.

    For m = 1/2 the quantiles are sigma t^(2/3) times those of Student's law with 3 degrees of freedom, sigma^3 = pi sqrt(3)/2;
    only two moments are finite. Minimizing movements as in S4.
    """
    m = check.scalar("m", m, above=LEAST, below=1.0)
    sigma = (0.5 * np.pi * np.sqrt(3.0)) ** (1.0 / 3.0)
    printed = {"sigma": Printed("1.396025983", lambda law: float(law.values[-1] / profile(0.5, len(law))[0][-1]), 1.0)}
    half = m == 0.5
    return _self_similar(
        "S5",
        f"fast diffusion, m = {m:g}",
        "theory.md, 9.2 S5",
        PowerEntropy(m),
        n,
        (1.0, t),
        printed if half else {},
        {"sigma": sigma, "M2(2)": 3.0 * sigma**2 * 2.0 ** (4.0 / 3.0)} if half else {},
    )


def heat_from_a_point(temperature: float = 1.0, n: int = 200, t: float = 1.0) -> Problem:
    """T7: E = T Entropy from a Dirac mass at 0: s^2 = 2 T t, s+ = (s + sqrt(s^2 + 4 T tau))/2 for minimizing movements.

    The start has infinite energy: errors are of order 1/2 in tau uniformly in time, of order tau log(1/tau) at a fixed time.
    """
    energy = Entropy(temperature)
    return _self_similar("T7", "heat from a Dirac mass", "theory.md, 5.1 T7", energy, n, (0.0, t), {}, {}, energy.temperature)


def _self_similar(
    label: str,
    title: str,
    source: str,
    energy: Energy,
    n: int,
    t_span: tuple[float, float],
    printed: dict[str, Printed],
    constants: dict[str, float],
    factor: float = 1.0,
) -> Problem:
    """Return the flow of r z: z the quantiles of `profile`, r^(m + 1) = (m + 1) lambda t."""
    m = energy.m if isinstance(energy, PowerEntropy) else 1.0
    z, log_rate = profile(m, check.integer("n", n, least=2))
    rate = factor * float(np.exp(log_rate))

    def exact(time: float) -> Quantiles:
        return Quantiles(((m + 1.0) * rate * time) ** (1.0 / (m + 1.0)) * z)

    return Problem(
        label=label,
        title=title,
        source=source,
        problem=energy,
        initial=exact(t_span[0]),
        t_span=t_span,
        exact=exact,
        exact_step=_steps(z, m, rate),
        constants={"exponent": 1.0 / (m + 1.0)} | constants,
        reference=printed,
    )


def _steps(z: np.ndarray, m: float, rate: float) -> dict[str, Callable[[Any, float], Any]]:
    """Return steps of width: r+ - r = tau lambda r+^(-m) for JKO, the same for its midpoint in VIM."""

    def width(law: Quantiles) -> float:
        return float(law.values[-1] / z[-1])

    def jko(law: Quantiles, tau: float) -> Quantiles:
        return law.replace(grown(width(law), tau * rate, m) * z)

    def vim(law: Quantiles, tau: float) -> Quantiles:
        r = width(law)
        return law.replace((2.0 * grown(r, 0.5 * tau * rate, m) - r) * z)

    return {"jko": jko, "vim": vim}


def grown(r: float, c: float, m: float) -> float:
    """Return the solution q > r of q^m (q - r) = c, for c > 0: by Newton's method from above, where the function is convex."""
    q = r + c ** (1.0 / (m + 1.0))
    for _ in range(100):
        lower = q - (q**m * (q - r) - c) / (q ** (m - 1.0) * ((m + 1.0) * q - m * r))
        if lower >= q:
            break
        q = lower
    return q


def _ninth_decile(law: Quantiles) -> float:
    return float(law.values[int(0.9 * len(law))])
