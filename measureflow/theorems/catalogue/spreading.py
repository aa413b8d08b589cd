"""A law as generator on the ring: how fast it spreads, where it settles (theory, section 8, M2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from measureflow import problems
from measureflow.solve import solve
from measureflow.states import Particles, Vector
from measureflow.theorems.base import Control, Theorem, Trial, every
from measureflow.theorems.catalogue._bilinear import roots, spectrum
from measureflow.theorems.check import Check, equal
from measureflow.theorems.curves import Curve, Panel

Found = Iterator[Check | Curve]


def _spread(eta: float, damping: float, t: float) -> Found:
    """Follow three close atoms on the wave, or at rest: their distance grows at the rate eta beta, or 1/beta."""
    beta = damping / float(np.sqrt(eta))
    problem, known = problems.get("G15", eta=eta, beta=beta), problems.get("M2", eta=eta, beta=beta).constants["spreading rate"]
    atoms = Particles(problem.initial[0].points + 1e-6 * np.array([[-1.0], [0.0], [1.0]]))
    sol = solve(problem.problem, (atoms, problem.initial[1]), t, t / 60.0, scheme="rk4", speeds=problem.speeds)
    width = np.array([np.ptp(row[0].points) for row in sol.states])
    place = f"eta = {eta:g}, beta sqrt(eta) = {damping:g}"
    yield equal("rate of spreading", np.log(width[-1] / width[0]) / t, known, tolerance=1e-5, error=1e-6, where=place)
    panel = Panel("width of a collapsed law", r"$t$", "width", "log y")
    yield Curve(panel, place.replace("sqrt", ""), sol.t, width)
    yield Curve(panel, "", sol.t, width[0] * np.exp(known * sol.t), role="predicted")


def _cauchy(eta: float, beta: float, t: float, steps: int, n: int) -> Found:
    """Check that wrapped Cauchy laws stay such, and d/dt log(1 - |Z|^2) = Re(conj(Z) P)."""
    problem, place = problems.get("M2", eta=eta, beta=beta, n=n), f"eta = {eta:g}, beta = {beta:g}"
    sol = problem.solve(t / steps, "rk4", t=t)
    yield equal("distance from the exact flow", problem.error(sol), 0.0, tolerance=1e-5, error=1e-8, where=place)
    points = np.array([row[0].points[:, 0] for row in sol.states])
    p = np.array([complex(*row[1].values) for row in sol.states])
    z, second = (np.exp(1j * k * points).mean(axis=1) for k in (1, 2))
    yield equal("E exp(2ix) less Z^2", np.abs(second - z**2), 0.0, tolerance=1e-5, error=1e-8, where=place)
    pull, grown = (z.conj() * p).real, np.diff(np.log(1.0 - np.abs(z[[0, -1]]) ** 2))[0]
    rule = np.where(np.arange(steps + 1) % 2 == 1, 4.0, 2.0)
    rule[[0, -1]] = 1.0
    yield equal("integral of Re(conj(Z) P)", rule @ pull * t / (3.0 * steps), grown, tolerance=1e-5, error=1e-6, where=place)


def _uniform(eta: float, beta: float, n: int) -> Found:
    """Compare the eigenvalues at the uniform law: each of two features has a pair, shapes that the critic does not see have 0."""
    problem = problems.get("M2", eta=eta, beta=beta, n=n)
    states = (Particles(2.0 * np.pi * (np.arange(n)[:, None] + 0.5) / n), Vector(np.zeros(2)))
    c = problem.constants
    slow = complex(-c["decay at the uniform law"], c["frequency at the uniform law"])
    pair = roots(0.5 * eta * beta, 0.5 * eta)
    place = f"eta = {eta:g}, beta = {beta:g}"
    yield equal("the slowest of the pair", abs(pair[0] - slow), 0.0, tolerance=1e-12, error=1e-14, where=place)
    yield from spectrum(problem, states, [*pair, *pair, *[0.0] * (n - 2)], place)


_RING_LAW: Mapping[str, Callable[..., Found]] = {"spread": _spread, "cauchy": _cauchy, "uniform": _uniform}


def _ring_law(case: str, **trial: Any) -> Found:
    yield from _RING_LAW[case](**trial)


def _ring_law_control(case: str) -> Found:
    """Claim a rate 1 % higher, or that a law spreads although the critic has no ridge."""
    beta = 0.6 if case == "1 % faster" else 1e-9
    problem = problems.get("G15", eta=2.0, beta=beta)
    atoms = Particles(problem.initial[0].points + 1e-6 * np.array([[-1.0], [1.0]]))
    sol = solve(problem.problem, (atoms, problem.initial[1]), 2.0, 0.05, scheme="rk4", speeds=problem.speeds)
    width = np.array([np.ptp(row[0].points) for row in sol.states])
    known = 1.01 * 2.0 * 0.6 if case == "1 % faster" else 1.2
    yield equal("rate of spreading", np.log(width[-1] / width[0]) / 2.0, known, tolerance=1e-4, error=1e-5, where=case)
    yield Curve(Panel("width where it fails", r"$t$", "width", "log y"), case, sol.t, width, role="control")


def _ring_law_full() -> list[Trial]:
    spread = every(case=["spread"], eta=[0.5, 1.0, 4.0], damping=[0.2, 0.9, 1.1, 2.0], t=[1.5])
    cauchy = every(case=["cauchy"], eta=[0.5, 2.0], beta=[0.0001, 0.6, 1.5], t=[3.0], steps=[100], n=[64])
    uniform = every(case=["uniform"], eta=[0.5, 2.0], beta=[0.3, 2.5], n=[5, 12])
    return [*_ring_law_quick(), *spread, *cauchy, *uniform]


def _ring_law_quick() -> list[Trial]:
    spread = every(case=["spread"], eta=[2.0], damping=[0.6, 1.3], t=[2.0])
    cauchy = {"case": "cauchy", "eta": 1.5, "beta": 0.6, "t": 2.0, "steps": 40, "n": 48}
    return [*spread, cauchy, *every(case=["uniform"], eta=[1.5], beta=[0.6, 3.0], n=[6])]


RING_LAW = Theorem(
    name="ring-law",
    label="M2",
    title="a law on the ring spreads at the rate eta beta, and settles at the uniform one",
    statement=(
        "The same GAN with a law as generator: wrapped Cauchy laws stay such, with d/dt log(1 - |Z|^2) = Re(conj(Z) P). "
        "Along the rotating wave a collapsed law spreads at the rate eta beta, at rest at 1/beta, without a ridge not at "
        "all. The uniform law is a Nash point with the eigenvalues -eta beta/2 +- sqrt(eta^2 beta^2/4 - eta/2)."
    ),
    formula=r"\frac{d}{dt} \log(1 - |Z|^2) = \mathrm{Re}(\bar Z P), \quad \lambda = -\frac{\eta\beta}{2} \pm"
    r" \sqrt{\frac{\eta^2\beta^2}{4} - \frac{\eta}{2}}",
    hypotheses=("two or more equidistant modes", "a law as generator, ridge beta > 0", "the flow, the limit tau -> 0"),
    source="theory, section 8 M2",
    problems=("M2", "G15"),
    test=_ring_law,
    quick=_ring_law_quick(),
    full=_ring_law_full(),
    control=Control("a rate 1 % higher; a critic without ridge", _ring_law_control, every(case=["1 % faster", "no ridge"])),
)

ENTRIES = (RING_LAW,)
