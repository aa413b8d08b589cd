"""How far minimizing movements are from the flow: bounds from what was computed (theory, 5.1: T4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from measureflow import problems
from measureflow.problems import Problem
from measureflow.schemes import Explicit
from measureflow.solution import Solution
from measureflow.solve import solve
from measureflow.states import Vector
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.catalogue._single import EXACT, MINIMIZING, SLACK, SMOOTH, Clock, random_problem, trembled
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import order

Found = Iterator[Check | Curve]


def _pieces(problem: Problem, start: Any, eta: float, rng: np.random.Generator, count: int) -> list[Solution]:
    """Solve with steps of other sizes in each part of the time span."""
    first, last = problem.t_span
    ends = first + np.sort(rng.uniform(0.0, 1.0, size=count)) * (last - first) / eta
    found, state, t = [], start, first
    for end in ends:
        tau = (end - t) / float(rng.integers(1, 6)) * float(rng.uniform(0.7, 1.0))
        sol = problem.solve(tau, MINIMIZING, t=end, speeds=eta) if state is None else _from(problem, state, (t, end), tau, eta)
        found.append(sol)
        state, t = sol.states[-1], float(end)
    return found


def _from(
    problem: Problem, state: Any, span: tuple[float, float], tau: float | str, eta: float, scheme: Any = MINIMIZING, **more: Any
) -> Solution:
    return solve(problem.problem, state, span, tau, scheme=scheme, speeds=eta, **more)


def _estimated(clock: Clock, sols: list[Solution]) -> tuple[np.ndarray, ...]:
    """Return times, squared errors, squared estimates of T4 and eps of all steps, of solutions that follow each other."""
    times, states = [sols[0].t[:1]], [sols[0].states[0]]
    drops: list[np.ndarray] = []
    for sol in sols:
        times.append(sol.t[1:])
        states += list(sol.states[1:])
        drops.append(-np.diff(sol.energies))
    t = np.concatenate(times)
    h = clock.eta * np.diff(t)
    moved = np.array([clock.problem.distance(a, b) for a, b in zip(states[:-1], states[1:], strict=True)])
    eps = np.concatenate(drops) / h - (moved / h) ** 2
    squared = np.array([clock.problem.distance(x, clock.at(float(time))) ** 2 for time, x in zip(t, states, strict=True)])
    return t, squared, squared[0] + np.concatenate([[0.0], np.cumsum(h**2 * eps)]), eps


TRUE = Panel("true error and its estimate (S1, chosen steps)", "$t$", "$W_2$", "log y")
SIZES = Panel("steps chosen", "$t$", r"$\tau_n$", "log y")


def _posteriori(kind: str, label: str, seed: int, eta: float, shifted: bool, plot: bool = False) -> Found:
    rng = np.random.default_rng([seed, 5])
    problem = (
        random_problem(label, seed)[0]
        if label in ("stiff", "Gaussian", "porous")
        else problems.get(label, **(SMOOTH | EXACT)[label])
    )
    clock = Clock(problem, eta)
    start = trembled(rng, problem.initial) if shifted else problem.initial
    if kind == "auto":
        span = (problem.t_span[0], problem.t_span[0] + clock.span)
        sols = [_from(problem, start, span, "auto", eta, rtol=0.03 if plot else 0.1, atol=1e-3)]
    else:
        sols = _pieces(problem, start, eta, rng, 3)
    t, squared, estimate, eps = _estimated(clock, sols)
    scale = max(1.0, float(np.max(np.abs(sols[0].energies))))
    spent = clock.eta * np.diff(t) * eps
    yield at_least("tau eps of the steps", spent, 0.0, tolerance=SLACK * scale, error=1e-11 * scale)
    known: dict[str, Any] = {"tolerance": SLACK * scale, "error": 1e-11 * scale, "where": lambda k: f"row {k}"}
    yield at_most("squared error and its estimate", squared, estimate, **known)
    if label in EXACT and label != "S12":
        yield at_most("attained where steps are exact: the estimate", estimate, squared[0], **known)
    if plot:
        yield Curve(TRUE, "error", t[1:], np.sqrt(squared[1:]))
        yield Curve(TRUE, "estimate of T4", t[1:], np.sqrt(estimate[1:]), "predicted")
        yield Curve(SIZES, r"$\tau_n$", t[1:], np.diff(t))


def _estimate_order(label: str, least: int, eta: float) -> Found:
    """Compare the order of the estimate with that of the error, 1 for smooth flows."""
    clock = Clock(problems.get(label, **SMOOTH[label]), eta)
    taus = clock.span / (least * 2.0 ** np.arange(4))
    ends = np.array([np.sqrt(_estimated(clock, [clock.solve(float(tau))])[2][-1]) for tau in taus])
    found = order(taus, ends)
    yield equal(f"order of the estimate on {label}", found.value, 1.0, tolerance=0.05, error=found.error)


def _posteriori_test(
    kind: str, label: str, seed: int = 0, eta: float = 1.0, shifted: bool = False, plot: bool = False, least: int = 0
) -> Found:
    return _estimate_order(label, least, eta) if kind == "order" else _posteriori(kind, label, seed, eta, shifted, plot)


def _posteriori_control(what: str) -> Found:
    if what == "double well":
        clock = Clock(problems.get("E4", initial=Vector(0.01)))
        sols = [_from(clock.problem, Vector(0.02), (0.0, 1.2), 0.05, 1.0)]
    else:
        clock = Clock(problems.get("S1"))
        sols = [clock.solve(0.05, Explicit())]
    t, squared, estimate, eps = _estimated(clock, sols)
    yield at_least("tau eps of the steps", np.diff(t) * eps, 0.0, tolerance=SLACK, error=1e-11)
    yield at_most("squared error and its estimate", squared, estimate, tolerance=SLACK, error=1e-11)
    if what != "double well":
        yield Curve(TRUE, "error of explicit steps", t[1:], np.sqrt(squared[1:]), "control")


LABELS = [*SMOOTH, "stiff", "Gaussian", "porous"]

ENTRIES = (
    Theorem(
        name="a-posteriori",
        label="T4",
        title="the computed energies bound the error",
        statement="The squared error of minimizing movements is at most that of the start plus the sum of tau_j^2 eps_j, "
        "where eps_j >= 0 is the difference between the rate at which energy was lost and the squared speed of "
        "step j. Steps may vary in any way.",
        formula=r"d(x(t_n), x_n)^2 \leq d(x(0), x_0)^2 + \sum_{j \leq n} \tau_j^2 \varepsilon_j, \quad "
        r"\varepsilon_j = \frac{E(x_{j-1}) - E(x_j)}{\tau_j} - \frac{d(x_{j-1},x_j)^2}{\tau_j^2} \geq 0",
        hypotheses=("the hypothesis of T2 with lambda >= 0", "steps of any sizes"),
        source="theory.md, 5.1 T4; Nochetto, Savare and Verdi 2000",
        problems=(*SMOOTH, *EXACT, "E4", "E5"),
        test=_posteriori_test,
        quick=[
            {"kind": "auto", "label": "S1", "plot": True},
            *every(kind=["order"], label=["S1", "S2", "S4"], least=[12], eta=[2.0]),
            *every(kind=["pieces"], label=["E2", "S7"], seed=[0], eta=[2.0], shifted=[False]),
            *every(kind=["pieces"], label=["S7"], seed=[1], eta=[0.5], shifted=[True]),
            *every(kind=["pieces"], label=LABELS, seed=[0, 1], eta=[1.0, 2.5], shifted=[False, True]),
        ],
        full=[
            {"kind": "auto", "label": "S1", "plot": True},
            *every(kind=["order"], label=["S1", "S2", "S4", "S6", "S10"], least=[24], eta=[1.0, 2.0]),
            *every(kind=["pieces"], label=list(EXACT), seed=[0], eta=[1.0, 2.0], shifted=[False]),
            *every(kind=["pieces"], label=["S7"], seed=range(5), eta=[0.5, 1.0], shifted=[True]),
            *every(kind=["pieces"], label=LABELS, seed=range(20), eta=[1.0, 2.5], shifted=[False, True]),
            *every(kind=["auto"], label=LABELS, seed=[0], eta=[1.0, 0.4], shifted=[False, True]),
        ],
        control=Control(
            "E is not convex (a double well), or the steps are no minimizing movements",
            _posteriori_control,
            every(what=["double well", "explicit"]),
        ),
    ),
)
