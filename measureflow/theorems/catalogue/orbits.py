"""Orbits of the Dirac-GAN: closed ones, and those of the non-saturating loss (theory, 7.1, G3 and G4)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from measureflow import problems
from measureflow.problems.base import Problem
from measureflow.problems.dirac import radius
from measureflow.schemes import JKO
from measureflow.solution import Solution
from measureflow.solve import solve
from measureflow.states import Vector
from measureflow.theorems.base import Control, Theorem, Trial, every
from measureflow.theorems.catalogue._bilinear import crossings
from measureflow.theorems.check import Check, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import limit, order

Found = Iterator[Check | Curve]


def _diagonal(sol: Solution, eta: float) -> np.ndarray:
    """Return psi / sqrt(eta) - theta at every row."""
    return np.array([float(psi.values[0] / np.sqrt(eta) - theta.values[0]) for theta, psi in sol.states])


def half_period(problem: Problem, scheme: str, steps: int, eta: float) -> float:
    """Return the time at which an orbit from the diagonal theta = psi / sqrt(eta) > 0 meets it again, on the other side."""
    half = 0.5 * problem.constants["period"]
    sol = problem.solve(half / steps, scheme, t=1.1 * half)
    return crossings(sol.t, _diagonal(sol, eta), -1.0)[0]


def _period(r2: float, eta: float, counts: Sequence[int]) -> Found:
    """Measure the period 2 pi (1 + I_0(sqrt(eta) r^2 / 2)) / sqrt(eta) with Runge-Kutta steps, in the limit."""
    problem, place = problems.get("G3", r2=r2, eta=eta), f"r^2 = {r2:g}, eta = {eta:g}"
    value, error = limit([2.0 * half_period(problem, "rk4", n, eta) for n in counts], 4)
    yield equal("period", value, problem.constants["period"], tolerance=1e-6, error=error, where=place)


def _conserved(r2: float, eta: float, counts: Sequence[int]) -> Found:
    """Check that the squared radius is kept, exactly with midpoints, and that the orbit is the exact one in the limit."""
    problem, place = problems.get("G3", r2=r2, eta=eta), f"r^2 = {r2:g}, eta = {eta:g}"
    t = problem.constants["period"] / 4.0
    taus = [t / n for n in counts]
    sols = [problem.solve(tau, "explicit alternating", t=t) for tau in taus]
    drift = [float(np.abs(sol.invariants(drift=True)["squared radius"]).max()) for sol in sols]
    rate = order(taus, drift)
    yield equal("order of the drift, alternating steps", rate.value, 1.0, tolerance=0.05, error=rate.error, where=place)
    own, seen = sols[0].invariants()["squared radius"], [problem.invariants["radius"](row) ** 2 for row in sols[0].states]
    yield equal("squared radius of the game", own, seen, tolerance=1e-12, error=1e-15, where=place)
    rate = order(taus, [problem.error(problem.solve(tau, "rk4", t=t)) for tau in taus])
    yield equal("order of the distance from the exact orbit, rk4", rate.value, 4.0, tolerance=0.2, error=rate.error, where=place)
    sol = problem.solve(t / 8.0, "vim implicit", t=t)
    error = float(np.max(sol.info["residual"])) * len(sol)
    yield equal(
        "drift with midpoints", sol.invariants(drift=True)["squared radius"], 0.0, tolerance=1e-9, error=error, where=place
    )


def _algebraic(sizes: Sequence[float]) -> Found:
    """Measure d(1/r^2)/dt of the non-saturating variant over one turn of small orbits: 1/8 as r -> 0."""
    game, turn = problems.get("G4").problem, 4.0 * np.pi
    slopes = []
    for r2 in sizes:
        start = (Vector(np.sqrt(r2)), Vector(0.0))
        last = solve(game, start, turn, turn / 60.0, scheme="rk4").states[-1]
        slopes.append((1.0 / radius(last) ** 2 - 1.0 / r2) / turn)
    value, error = limit(slopes, 2)
    known = 1.0 / problems.get("G4").constants["limit of t r^2"]
    yield equal("d(1/r^2)/dt of NS-GAN, r -> 0", value, known, tolerance=1e-4, error=error)


def _long(t: float, tau: float) -> Found:
    """Follow the non-saturating variant for long: t r^2 -> 8."""
    problem = problems.get("G4")
    sol = problem.solve(tau, "rk4", t=t, save_at=4)
    seen = sol.t * np.array([radius(row) ** 2 for row in sol.states])
    start = radius(problem.initial) ** 2
    known = sol.t / (1.0 / start + sol.t / problem.constants["limit of t r^2"])
    late = sol.t > 0.5 * t
    yield equal("t r^2", seen[late], known[late], tolerance=0.06, error=1e-3, where=f"t > {0.5 * t:g}")
    panel = Panel("non-saturating", r"$t$", r"$t\, r^2$")
    yield Curve(panel, "Runge-Kutta", sol.t[:: max(1, len(sol) // 200)], seen[:: max(1, len(sol) // 200)])
    yield Curve(panel, r"$t / (1/r_0^2 + t/8)$", sol.t, known, role="predicted")


def _orbit_picture(sizes: Sequence[float]) -> Found:
    plane = Panel("orbits of the Dirac-GAN", r"$\theta$", r"$\psi$")
    clock = Panel("their periods", r"$r^2$", "period")
    seen = []
    for r2 in sizes:
        problem = problems.get("G3", r2=r2)
        sol = problem.solve(problem.constants["period"] / 60.0, "rk4")
        seen.append(2.0 * crossings(sol.t, _diagonal(sol, 1.0), -1.0)[0])
        yield Curve(plane, "", *np.array([[x.values[0] for x in row] for row in sol.states]).T)
        angle = np.linspace(0.0, 2.0 * np.pi, 100)
        yield Curve(plane, "", np.sqrt(r2) * np.cos(angle), np.sqrt(r2) * np.sin(angle), role="predicted")
    fine = np.linspace(0.05, max(sizes), 100)
    yield Curve(clock, "measured", sizes, seen)
    known = [problems.get("G3", r2=float(r2)).constants["period"] for r2 in fine]
    yield Curve(clock, r"$2\pi (1 + I_0(r^2/2))$", fine, known, role="predicted")


_ORBITS: Mapping[str, Callable[..., Found]] = {
    "period": _period,
    "conserved": _conserved,
    "algebraic": _algebraic,
    "long": _long,
    "picture": _orbit_picture,
}


def _orbits(case: str, **trial: Any) -> Found:
    yield from _ORBITS[case](**trial)


def _orbits_control(case: str) -> Found:
    """Take simultaneous minimizing movements of a fixed step for the flow."""
    label = "G4" if case == "non-saturating" else "G3"
    problem, tau = problems.get(label), 0.2
    sol = problem.solve(tau, JKO("simultaneous"), t=40.0)
    r2 = np.array([radius(row) ** 2 for row in sol.states])
    if label == "G4":
        known = sol.t[-1] / (1.0 / r2[0] + sol.t[-1] / problem.constants["limit of t r^2"])
        yield equal("t r^2", sol.t[-1] * r2[-1], known, tolerance=0.2 * known, error=1e-3, where="simultaneous, tau = 0.2")
    else:
        yield equal("squared radius", r2, r2[0], tolerance=0.2, error=1e-6, where="simultaneous, tau = 0.2")
    yield Curve(Panel("simultaneous steps of 0.2", r"$t$", r"$r^2$"), label, sol.t, r2, role="control")


def _orbits_quick() -> list[Trial]:
    periods = [{"case": "period", "r2": r2, "eta": eta, "counts": [24, 48, 96]} for r2, eta in ((1.0, 1.0), (0.7, 2.0))]
    kept = {"case": "conserved", "r2": 1.0, "eta": 2.0, "counts": [32, 64, 128]}
    slow = {"case": "algebraic", "sizes": [0.2, 0.1, 0.05]}
    return [*periods, kept, slow, {"case": "picture", "sizes": [0.3, 1.0, 2.0]}]


def _orbits_full() -> list[Trial]:
    periods = every(case=["period"], r2=[0.5, 2.0], eta=[1.0, 0.3], counts=[[60, 120, 240]])
    large = {"case": "period", "r2": 5.0, "eta": 1.0, "counts": [200, 400, 800]}
    kept = every(case=["conserved"], r2=[0.5, 2.0], eta=[0.3, 1.0], counts=[[60, 120, 240]])
    slow = {"case": "algebraic", "sizes": [0.4, 0.2, 0.1, 0.05, 0.025]}
    return [*_orbits_quick(), *periods, large, *kept, slow, {"case": "long", "t": 1000.0, "tau": 0.25}]


ORBITS = Theorem(
    name="dirac-orbits",
    label="G3",
    title="the Dirac-GAN turns for ever, the non-saturating one converges like 1 / sqrt(t)",
    statement=(
        "The Dirac-GAN conserves theta^2 + psi^2 / eta and is periodic, with the period 2 pi (1 + I_0(sqrt(eta) r^2 / 2)) /"
        " sqrt(eta), although its linearisation knows only 4 pi / sqrt(eta). With the non-saturating loss, of the same "
        "eigenvalues, r^2 decays, but only like 8 / t: local eigenvalues with real part zero decide nothing."
    ),
    formula=r"T = \frac{2 \pi}{\sqrt{\eta}} \left(1 + I_0(\sqrt{\eta}\, r^2 / 2)\right), \quad t\, r_t^2 \rightarrow 8",
    hypotheses=("the flow, the limit tau -> 0", "no regulariser"),
    source="theory, section 7.1, G3 and G4",
    problems=("G3", "G4"),
    test=_orbits,
    quick=_orbits_quick(),
    full=_orbits_full(),
    control=Control(
        "simultaneous minimizing movements of fixed tau in place of the flow",
        _orbits_control,
        every(case=["logistic", "non-saturating"]),
    ),
)

ENTRIES = (ORBITS,)
