"""Fisher-Rao steps: which ones are exact for every tau (theory, section 9.3)."""

from __future__ import annotations

from typing import Any

import numpy as np

from measureflow import problems
from measureflow.metrics import FisherRao
from measureflow.proximal import proximal
from measureflow.states import Grid, Histogram
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.catalogue._stochastic import Found, energy_of, exact
from measureflow.theorems.check import at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import order

FR = FisherRao()


def _law(masses: Any) -> Histogram:
    values = np.asarray(masses, np.float64)
    return Histogram(values / values.sum(), Grid([(0.0, float(len(values)))], (len(values),)))


def _linear_costs(seed: int, tau: float, eta: float) -> Found:
    """Check F1: mirror steps are the flow for every tau, in steps of unequal size and with a speed."""
    rng = np.random.default_rng(seed)
    p = problems.get("F1", costs=rng.normal(size=6), start=_law(rng.uniform(0.1, 1.0, size=6)).masses, t=2.3)
    where = f"seed {seed}, tau = {tau:g}, eta = {eta:g}"
    for scheme in ("mirror", "implicit mirror"):
        sol = p.solve(tau, scheme, speeds=(eta,))
        off = [p.distance(state, exact(p, eta * float(t))) for t, state in zip(sol.t, sol.states, strict=True)]
        yield at_most(f"F1: distance of {scheme} steps from the flow", off, 1e-12, where=where)
        masses = np.array([state.masses / exact(p, eta * float(t)).masses for t, state in zip(sol.t, sol.states, strict=True)])
        yield equal("F1: masses over the exact ones", masses, 1.0, tolerance=1e-11, where=where)


def _entropic(tau: float, speed: float) -> Found:
    """Check F2: KL-prox steps mix logarithms with the share 1/(1 + b tau), explicit ones with 1 - b tau; printed moments."""
    p = problems.get("F2", speed=speed, n=120)
    where = f"tau = {tau:g}, b = {speed:g}"
    for scheme in ("mirror", "implicit mirror"):
        sol = p.solve(tau, scheme, t=4.0 * tau)
        off = [p.distance(new, p.exact_step[scheme](old, tau)) for old, new in zip(sol.states[:-1], sol.states[1:], strict=True)]
        yield at_most(f"F2: {scheme} step from its formula", off, 1e-12, where=where)
    full = problems.get("F2")
    for key, entry in full.reference.items():
        yield equal(f"F2: printed {key}", entry.value, entry.measure(exact(full, entry.t)), tolerance=entry.tolerance)


def _circles(start: list[float], tau: float) -> Found:
    """Check F4: explicit steps and minimizing movements for d^2/2 go along the great circle; the distance is the angle."""
    p = problems.get("F4", start=start)
    where, even = f"tau = {tau:g}", _law(np.ones(len(start)))
    angle = 2.0 * np.arccos(np.sum(np.sqrt(p.initial.masses * even.masses)))
    left = np.array([FR.distance(exact(p, s), even) for s in (0.0, 0.5, 1.0)])
    yield equal("F4: what is left of the way", left, angle * np.exp(-np.array([0.0, 0.5, 1.0])), tolerance=1e-9)
    if abs(left[0] - angle) > 1e-6:
        return  # with another distance the energy does not fit its gradient, and minimisers are sought in vain
    for scheme in ("explicit", "jko"):
        sol = p.solve(tau, scheme, t=3.0 * tau)
        off = [p.distance(new, p.exact_step[scheme](old, tau)) for old, new in zip(sol.states[:-1], sol.states[1:], strict=True)]
        yield at_most(f"F4: {scheme} step from the great circle", off, 1e-12, where=where)


def _apart(seed: int, figure: bool = False) -> Found:
    """Check that one step of the Fisher-Rao distance and one mirror step differ by O(tau^2), and flows by O(tau)."""
    rng = np.random.default_rng(seed)
    p = problems.get("F1", costs=rng.normal(size=5), start=_law(rng.uniform(0.1, 1.0, size=5)).masses)
    taus = 0.2 / 2.0 ** np.arange(4)
    single = np.array(
        [FR.distance(proximal(energy_of(p), FR, p.initial, tau), p.exact_step["mirror"](p.initial, tau)) for tau in taus]
    )
    flows = np.array([p.error(p.solve(tau, "jko", save_at=10**6)) for tau in taus])
    for name, found, power, allowed in (("one step", single, 2.0, 0.1), ("the flow", flows, 1.0, 0.05)):
        value, error = order(taus, found)
        yield equal(f"order of distance prox against the exact flow, {name}", value, power, tolerance=allowed, error=error)
        if figure:
            panel = Panel("Fisher-Rao distance against entropy", r"$\tau$", "distance from the exact flow", "log")
            yield Curve(panel, f"distance prox, {name}", taus, found)
            yield Curve(panel, f"distance prox, {name}, predicted", taus, found[-1] * (taus / taus[-1]) ** power, "predicted")
    if figure:
        reached = [max(p.error(p.solve(tau, "mirror", save_at=10**6)), 1e-16) for tau in taus]
        yield Curve(panel, "mirror steps", taus, reached)


STEPS: dict[str, Any] = {"F1": _linear_costs, "F2": _entropic, "F4": _circles, "apart": _apart}


def _steps(part: str, **trial: Any) -> Found:
    yield from STEPS[part](**trial)


def _steps_control(claim: str) -> Found:
    label, scheme = ("F1", "jko") if claim == "distance" else ("F2", "implicit mirror")
    p = problems.get(label)
    error = p.error(p.solve(0.25, scheme, t=1.0, save_at=10**6))
    yield at_most("distance from the flow", error, 1e-6, where=f"{label}, {scheme}")
    panel = Panel("Fisher-Rao distance against entropy", r"$\tau$", "distance from the exact flow", "log")
    yield Curve(panel, f"{label}, {scheme}", 0.25, error, "control")


FISHER_RAO = Theorem(
    name="fisher-rao-steps",
    label="F1",
    title="entropic steps are exact where costs are linear",
    statement=(
        "For a linear energy the Fisher-Rao flow is p_t ~ p_0 e^(-ft), and mirror steps, explicit or implicit, are exact for "
        "every tau (F1); for KL(.|pi) the KL-prox step mixes logarithms, p+ ~ p^(1/(1+tau)) pi^(tau/(1+tau)) (F2). The distance "
        "is 2 arccos(sum sqrt(p q)), geodesics are great circles of sqrt(p) (F4), and the prox in that distance is not exact: "
        "it is away from the mirror step by O(tau^2)."
    ),
    formula=r"p_{n+1} = \frac{p_n e^{-\tau f}}{Z}, \quad p_{n+1} \propto p_n^{1/(1+\tau)} \pi^{\tau/(1+\tau)}",
    hypotheses=("finitely many cells", "KL, not the distance, in the proximal step", "F1: the energy is linear in the masses"),
    source="theory, section 9.3, F1, F2 and F4, and pitfall 18",
    problems=("F1", "F2", "F4"),
    test=_steps,
    quick=[
        *every(part=["F1"], seed=[0], tau=[0.1, 5.0], eta=[0.7]),
        {"part": "F2", "tau": 0.3, "speed": 1.3},
        {"part": "F4", "start": [0.6, 0.3, 0.1], "tau": 0.3},
        {"part": "apart", "seed": 0, "figure": True},
    ],
    full=[
        *every(part=["F1"], seed=range(5), tau=[0.1, 0.7, 5.0], eta=[0.7, 1.0, 3.0]),
        *every(part=["F2"], tau=[0.05, 0.3, 0.7], speed=[0.5, 1.3]),
        *every(part=["F4"], start=[[0.6, 0.3, 0.1], [0.4, 0.3, 0.2, 0.1]], tau=[0.05, 0.3, 1.0]),
        *every(part=["apart"], seed=range(4)),
        {"part": "apart", "seed": 0, "figure": True},
    ],
    control=Control(
        "the step is proximal in the Fisher-Rao distance; the energy is not linear",
        _steps_control,
        [{"claim": "distance"}, {"claim": "nonlinear"}],
    ),
)

ENTRIES = (FISHER_RAO,)
