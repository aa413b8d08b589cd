"""Fokker-Planck and heat flows of Gaussians (theory, section 9.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from measureflow import _validate as check
from measureflow.energies import KL, Entropy
from measureflow.problems.base import Printed, Problem
from measureflow.schemes import JKO, VIM
from measureflow.states import Gaussian, Law, moments

LawFlow = Callable[[float], Law]


def _deviation(law: Law) -> float:
    return float(np.sqrt(moments(law)[1][0, 0]))


def _mean(law: Law) -> float:
    return float(moments(law)[0][0])


def _entry(i: int, j: int) -> Callable[[Law], float]:
    return lambda law: float(moments(law)[1][i, j])


def _represented(flow: Callable[[float], Gaussian], n: int | None) -> LawFlow:
    """Return a flow of Gaussians, or of their quantile functions at n levels."""
    return flow if n is None else lambda t: flow(t).to_quantiles(check.integer("n", n, least=2))


def ornstein_uhlenbeck(
    alpha: float = 1.0, mean: float = 1.5, deviation: float = 2.0, t: float = 1.0, n: int | None = None
) -> Problem:
    """S1: E = KL(. | N(0, 1/alpha)): m_t = e^(-alpha t) m_0, s_t^2 = 1/alpha + (s_0^2 - 1/alpha) e^(-2 alpha t).

    A minimizing movement has m+ = m/k and s+ = (s + sqrt(s^2 + 4 tau k))/(2 k) with k = 1 + alpha tau. With `n` the
    state is the quantile function at n levels, and the exact flow is that of the continuous law.
    """
    mean, deviation = check.scalar("mean", mean), check.scalar("deviation", deviation, above=0.0)
    alpha = check.scalar("alpha", alpha, above=0.0)
    printed = (alpha, mean, deviation, n) == (1.0, 1.5, 2.0, None)

    def flow(time: float) -> Gaussian:
        decay = np.exp(-alpha * time)
        return Gaussian(decay * mean, (1.0 - decay**2) / alpha + deviation**2 * decay**2)

    def minimizing(law: Gaussian, tau: float) -> Gaussian:
        scale, s = 1.0 + alpha * tau, _deviation(law)
        return Gaussian(law.mean / scale, ((s + np.sqrt(s**2 + 4.0 * tau * scale)) / (2.0 * scale)) ** 2)

    def midpoint(law: Gaussian, tau: float) -> Gaussian:
        return _prolonged(law, minimizing(law, 0.5 * tau))

    def explicit(law: Gaussian, tau: float) -> Gaussian:
        s = _deviation(law)
        return Gaussian((1.0 - alpha * tau) * law.mean, (s - tau * (alpha * s - 1.0 / s)) ** 2)

    energy = KL(Gaussian(0.0, 1.0 / alpha))
    exact = _represented(flow, n)
    return Problem(
        label="S1",
        title=f"Ornstein-Uhlenbeck on the line, alpha = {alpha:g}",
        source="theory.md, 9.2 S1",
        problem=energy,
        initial=exact(0.0),
        t_span=(0.0, t),
        exact=exact,
        exact_step={"jko": minimizing, "explicit": explicit, "vim": midpoint} if n is None else {},
        reference={
            "m(1)": Printed("0.5518191618", _mean, 1.0),
            "s^2(1)": Printed("1.40600585", _entry(0, 0), 1.0),
            "s(1)": Printed("1.185751175", _deviation, 1.0),
            "KL(1)": Printed("0.1848786415", energy.value, 1.0),
            "s after a JKO step": Printed("1.866877614", _deviation, 0.1, JKO(), 0.1),
            "s after 10 JKO steps": Printed("1.21002669", _deviation, 1.0, JKO(), 0.1),
            "s after 10 VIM steps": Printed("1.185055904", _deviation, 1.0, VIM(), 0.1),
        }
        if printed
        else {},
    )


def ornstein_uhlenbeck_matrix(A: Any = None, cov: Any = None, mean: Any = None, t: float = 1.0) -> Problem:
    """S2: E = KL(. | N(0, A^(-1))): S_t = A^(-1) + e^(-At) (S_0 - A^(-1)) e^(-At), m_t = e^(-At) m_0; none commute."""
    a = check.symmetric("A", check.array("A", [[2.0, 0.7], [0.7, 0.5]] if A is None else A, ndim=2))
    s0 = check.array("cov", [[0.3, -0.2], [-0.2, 1.5]] if cov is None else cov, shape=a.shape)
    m0 = check.array("mean", np.ones(len(a)) if mean is None else mean, shape=(len(a),))
    values, basis = np.linalg.eigh(a)
    inverse, eye = np.linalg.inv(a), np.eye(len(a))

    def of_matrix(spectrum: np.ndarray) -> np.ndarray:
        return np.asarray((basis * spectrum) @ basis.T)

    def flow(time: float) -> Gaussian:
        decay = of_matrix(np.exp(-values * time))
        return _gaussian(decay @ m0, inverse + decay @ (s0 - inverse) @ decay)

    def minimizing(law: Gaussian, tau: float) -> Gaussian:
        root = of_matrix((1.0 + tau * values) ** -0.5)
        b, frame = np.linalg.eigh(root @ law.cov @ root)
        half = root @ frame
        bracket = 0.5 * (b + 2.0 * tau + np.sqrt(b**2 + 4.0 * tau * b))
        return _gaussian(of_matrix(1.0 / (1.0 + tau * values)) @ law.mean, (half * bracket) @ half.T)

    def explicit(law: Gaussian, tau: float) -> Gaussian:
        move = eye - tau * (a - np.linalg.inv(law.cov))
        return _gaussian(law.mean - tau * a @ law.mean, move @ law.cov @ move.T)

    return Problem(
        label="S2",
        title=f"Ornstein-Uhlenbeck in dimension {len(a)}, not commuting",
        source="theory.md, 9.2 S2",
        problem=KL(_gaussian(np.zeros(len(a)), inverse)),
        initial=_gaussian(m0, s0),
        t_span=(0.0, t),
        exact=flow,
        exact_step={"jko": minimizing, "explicit": explicit},
        reference=_printed_entries() if A is None and cov is None else {},
    )


def _printed_entries() -> dict[str, Printed]:
    entries = {"S11": (0, 0), "S12": (0, 1), "S22": (1, 1)}
    at_one = zip(entries, ("0.7079814026", "-0.7061040513", "2.284384226"), strict=True)
    one_step = zip(entries, ("0.4999507781", "-0.4120303821", "1.797165515"), strict=True)
    flow = {f"{name}(1)": Printed(digits, _entry(*entries[name]), 1.0) for name, digits in at_one}
    return flow | {f"{name} after a step": Printed(digits, _entry(*entries[name]), 0.4, JKO(), 0.4) for name, digits in one_step}


def _gaussian(mean: np.ndarray, cov: np.ndarray) -> Gaussian:
    return Gaussian(mean, 0.5 * (cov + cov.T))


def heat(deviation: float = 1.0, temperature: float = 1.0, t: float = 1.0, n: int | None = None, dim: int = 1) -> Problem:
    """S3: E = T Entropy: s^2 = s_0^2 + 2 T t along each axis; a minimizing movement has s+ = (s + sqrt(s^2 + 4 T tau))/2.

    Steps of `VIM` are exact. With `n` the state is the quantile function at n levels (on the line), and the exact flow is that
    of the continuous law.
    """

    def round_law(law: Gaussian, s: float) -> Gaussian:
        return Gaussian(law.mean, s**2 * np.eye(law.dim))

    def flow(time: float) -> Gaussian:
        return Gaussian(np.zeros(dim), (deviation**2 + 2.0 * temperature * time) * np.eye(dim))

    def minimizing(law: Gaussian, tau: float) -> Gaussian:
        s = _deviation(law)
        return round_law(law, 0.5 * (s + np.sqrt(s**2 + 4.0 * temperature * tau)))

    def explicit(law: Gaussian, tau: float) -> Gaussian:
        s = _deviation(law)
        return round_law(law, s + temperature * tau / s)

    def midpoint(law: Gaussian, tau: float) -> Gaussian:
        return round_law(law, np.sqrt(_deviation(law) ** 2 + 2.0 * temperature * tau))

    dim = check.integer("dim", dim, least=1, most=None if n is None else 1)
    deviation = check.scalar("deviation", deviation, above=0.0)
    temperature = check.scalar("temperature", temperature, above=0.0)
    exact = _represented(flow, n)
    return Problem(
        label="S3",
        title="heat flow of a Gaussian",
        source="theory.md, 9.2 S3",
        problem=Entropy(temperature),
        initial=exact(0.0),
        t_span=(0.0, t),
        exact=exact,
        exact_step={"jko": minimizing, "explicit": explicit, "vim": midpoint} if n is None else {},
        invariants={"mean": _mean},
    )


def _prolonged(law: Gaussian, half: Gaussian) -> Gaussian:
    """Return the point of a geodesic on the line twice as far from a law as another: linear in mean and deviation (S18)."""
    return Gaussian(2.0 * half.mean - law.mean, (2.0 * _deviation(half) - _deviation(law)) ** 2)
