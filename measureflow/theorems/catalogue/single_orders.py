"""How far minimizing movements are from the flow: bounds before the computation, and orders (theory, 5.1: T3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from measureflow import problems
from measureflow.solution import Solution
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.catalogue._single import EXACT, MINIMIZING, SLACK, SMOOTH, Clock, random_problem
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import order

Found = Iterator[Check | Curve]


def sups(clock: Clock, taus: np.ndarray, scheme: Any = MINIMIZING) -> np.ndarray:
    """Return the largest errors over all times, for all steps."""
    return np.array([float(np.max(clock.errors(clock.solve(float(tau), scheme)))) for tau in taus])


def _bounds(clock: Clock, sol: Solution, lowest: float | None = None) -> Found:
    """Compare the squared errors of all rows with the bounds of T3."""
    tau = clock.eta * float(sol.t[1] - sol.t[0])
    squared = clock.errors(sol) ** 2
    lost = float(sol.energies[0] - sol.energies[1]) - clock.problem.distance(*sol.states[:2]) ** 2 / (2.0 * tau)
    slope = 0.5 * tau**2 * float(sol.slopes[0]) ** 2
    known: dict[str, Any] = {"tolerance": SLACK, "error": 1e-11, "where": lambda k: f"tau = {tau:.3g}, row {k}"}
    yield at_most("squared error and tau (E(x0) - E_tau(x0))", squared, tau * lost, **known)
    yield at_most("tau (E(x0) - E_tau(x0)) and tau^2 |dE|^2/2", tau * lost, slope, tolerance=SLACK * max(1.0, slope), error=1e-11)
    if lowest is not None:
        yield at_most("error and sqrt(tau (E(x0) - inf E))", squared, tau * (float(sol.energies[0]) - lowest), **known)


ERRORS = Panel(r"largest error over all times", r"$\tau$", r"$\sup_n d(x(t_n), x_n)$", "log")
ROUGH = Panel("rough starts (E5)", r"$\tau$", r"$\sup_n d(x(t_n), x_n)$", "log")


def _smooth(label: str, least: int, levels: int, eta: float, plot: bool) -> Found:
    clock = Clock(problems.get(label, **SMOOTH[label]), eta)
    taus = clock.span / (least * 2.0 ** np.arange(levels))
    sols = [clock.solve(float(tau)) for tau in taus]
    errors = np.array([float(np.max(clock.errors(sol))) for sol in sols])
    found = order(taus, errors)
    yield equal(f"order on {label}", found.value, 1.0, tolerance=0.05, error=found.error)
    for sol in sols:
        yield from _bounds(clock, sol, 0.0 if label[0] == "E" or label in ("S1", "S2", "S13") else None)
    if plot:
        yield Curve(ERRORS, label, taus, errors)
    if plot and label == "S1":
        slope = float(sols[0].slopes[0]) * eta / np.sqrt(2.0)
        yield Curve(ERRORS, r"$\tau |\partial E|(x_0)/\sqrt{2}$ for S1", taus, slope * taus, "predicted")


def _exactly(label: str, eta: float) -> Found:
    clock = Clock(problems.get(label, **EXACT[label]), eta)
    sol = clock.solve(clock.span / 7.0)
    yield equal(f"error on {label}, where steps are exact", clock.errors(sol), 0.0, tolerance=SLACK, error=1e-11)
    if label in ("E2", "S7"):  # the slope is constant along the first step
        tau, moved = eta * sol.t[1], clock.problem.distance(*sol.states[:2])
        lost = float(sol.energies[0] - sol.energies[1]) - moved**2 / (2.0 * tau)
        yield equal(f"attained on {label}: E(x0) - E_tau(x0)", lost, 0.5 * tau * sol.slopes[0] ** 2, tolerance=SLACK, error=1e-11)


def _well(least: int, levels: int, eta: float) -> Found:
    """Where lambda = -1 the order stays 1."""
    clock = Clock(problems.get("E4"), eta)
    taus = clock.span / (least * 2.0 ** np.arange(levels))
    found = order(taus, sups(clock, taus))
    yield equal("order on E4, lambda = -1", found.value, 1.0, tolerance=0.05, error=found.error)


def _rough(roughness: float, claimed: float | None = None, plot: bool = True, role: str = "measured") -> Found:
    clock = Clock(problems.get("E5", roughness=roughness, t=0.1), 1.0)
    taus = 0.05 / 2.0 ** np.arange(5)
    sols = [clock.solve(float(tau)) for tau in taus]
    errors = np.array([float(np.max(clock.errors(sol))) for sol in sols])
    found, predicted = order(taus, errors), clock.problem.constants["order"]
    if claimed is not None:
        yield at_least(f"order, roughness {roughness:g}", found.value, claimed, tolerance=0.03, error=found.error)
        yield Curve(ROUGH, f"order {claimed:g} claimed", taus, errors[0] * (taus / taus[0]) ** claimed, "control")
        return
    yield equal(f"order, roughness {roughness:g}", found.value, predicted, tolerance=0.03, error=found.error)
    yield Curve(ROUGH, rf"$x_0 = k^{{-{roughness:g}}}$", taus, errors)
    yield Curve(ROUGH, rf"$\tau^{{{predicted:g}}}$", taus, errors[0] * (taus / taus[0]) ** predicted, "predicted")
    for sol in sols:
        yield from _bounds(clock, sol, 0.0)


def _random(kind: str, seed: int, eta: float) -> Found:
    problem, share = random_problem(kind, seed)
    clock = Clock(problem, eta)
    yield from _bounds(clock, clock.solve(share * clock.span), 0.0 if kind == "stiff" else None)


def _order_test(
    kind: str,
    label: str = "",
    least: int = 8,
    levels: int = 4,
    eta: float = 1.0,
    plot: bool = False,
    roughness: float = 0.0,
    seed: int = 0,
) -> Found:
    if kind == "smooth":
        return _smooth(label, least, levels, eta, plot)
    if kind == "exact":
        return _exactly(label, eta)
    if kind == "rough":
        return _rough(roughness)
    return _well(least, levels, eta) if kind == "double well" else _random(kind, seed, eta)


LEAST = {"E1": {"least": 16}, "E3": {"least": 64, "levels": 3}}
SHOWN = ("S1", "S2", "S4", "E3")

ENTRIES = (
    Theorem(
        name="jko-order",
        label="T3",
        title="minimizing movements are of order one, or a half",
        statement="The error of minimizing movements is at most tau |dE|(x0)/sqrt(2), uniformly in time, so of order 1 "
        "where the slope of the start is finite, and at most sqrt(tau (E(x0) - inf E)), of order 1/2, where only "
        "its energy is. The order 1/2 is sharp.",
        formula=r"d(x(n\tau), x_n)^2 \leq \tau \left(E(x_0) - E_\tau(x_0)\right) \leq \frac{\tau^2}{2} |\partial E|^2(x_0)",
        hypotheses=(
            "the hypothesis of T2 with lambda >= 0",
            "steps of one size tau",
            "order 1: the slope at x_0 is finite; 1/2: the energy is",
        ),
        source="theory.md, 5.1 T3; Ambrosio, Gigli and Savare, Gradient Flows in Metric Spaces, theorem 4.0.4",
        problems=(*SMOOTH, *EXACT, "E4", "E5"),
        test=_order_test,
        quick=[
            *(
                {"kind": "smooth", "label": p, "plot": p in SHOWN, "eta": 1.0 if p in SHOWN else 1.5} | LEAST.get(p, {})
                for p in SMOOTH
            ),
            *every(kind=["exact"], label=list(EXACT), eta=[2.0]),
            {"kind": "double well", "least": 24, "levels": 3, "eta": 2.0},
            *every(kind=["rough"], roughness=[1.01, 1.51, 2.51]),
            *every(kind=["stiff", "Gaussian", "porous"], seed=range(6), eta=[1.0, 2.5]),
        ],
        full=[
            *({"kind": "smooth", "label": p, "plot": p in SHOWN, "levels": 5} | LEAST.get(p, {}) for p in SMOOTH),
            *every(kind=["smooth"], label=list(SMOOTH), least=[48], levels=[3], eta=[0.5]),
            *every(kind=["exact"], label=list(EXACT), eta=[1.0, 2.0, 0.3]),
            *every(kind=["double well"], least=[16], levels=[5], eta=[1.0, 2.0]),
            *every(kind=["rough"], roughness=[1.01, 1.2, 1.51, 2.0, 2.51]),
            *every(kind=["stiff", "Gaussian", "porous"], seed=range(150), eta=[1.0, 2.5]),
        ],
        control=Control(
            "the slope, or the energy, of the start is infinite in the limit of many modes (E5)",
            _rough,
            [{"roughness": 1.51, "claimed": 1.0}, {"roughness": 1.51, "claimed": 0.6}, {"roughness": 1.01, "claimed": 0.5}],
        ),
    ),
)
