"""Orders of all schemes on smooth flows, and what rough starts leave of them (theory, 4.4 and 5.1: T6 and T7)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from measureflow import problems
from measureflow.energies import Entropy, Quadratic
from measureflow.problems import Problem
from measureflow.schemes import (
    BDF2,
    JKO,
    RK2,
    RK4,
    VIM,
    Explicit,
    ExtrapolatedBDF2,
    ExtrapolatedVIM,
    ForwardBackward,
    Richardson,
    Scheme,
    ThreeStage,
)
from measureflow.solve import solve
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.catalogue._single import SLACK
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import limit, order, slope

Found = Iterator[Check | Curve]

SCHEMES: dict[str, Scheme] = {
    "JKO": JKO(tolerance=1e-12),
    "explicit": Explicit(),
    "forward-backward": ForwardBackward(("Quadratic",), tolerance=1e-12),
    "VIM": VIM(tolerance=1e-12),
    "extrapolated VIM": ExtrapolatedVIM(tolerance=1e-12),
    "BDF2": BDF2(tolerance=1e-12),
    "extrapolated BDF2": ExtrapolatedBDF2(tolerance=1e-12),
    "three stages": ThreeStage(tolerance=1e-12),
    "Richardson": Richardson(tolerance=1e-12),
    "RK2": RK2(),
    "RK4": RK4(),
}

ORDERS = {name: {"JKO": 1, "explicit": 1, "forward-backward": 1, "RK4": 4}.get(name, 2) for name in SCHEMES}

SECOND = [name for name, p in ORDERS.items() if p == 2]

CONSTANTS = {
    "VIM": 1 / 12,
    "extrapolated VIM": 1 / 12,
    "Richardson": 1 / 6,
    "RK2": 1 / 6,
    "BDF2": 1 / 3,
    "extrapolated BDF2": 1 / 3,
}
"""C in the error C tau^2 |x'''| of schemes on linear flows (theory, 4.4, of VIM and Richardson); three stages: 0.0305."""


def _problem(label: str, eta: float) -> tuple[Problem, float]:
    """Return a problem and the pace of its exact flow at speed eta.

    In "S1 sum" and "S2 sum" the energy is T Entropy + x.Ax/2 with T = 1.6, which is T times a relative entropy: its flow is
    that of S1 and S2, for A/T, at the pace T.
    """
    sizes: dict[str, dict[str, Any]] = {"S4": {"n": 20}, "S13": {"kind": "gaussian"}, "E1": {"a": 1.0}}
    if not label.endswith("sum"):
        return problems.get(label, **sizes.get(label, {})), eta
    temperature, a = 1.6, np.array([[1.1]]) if label[:2] == "S1" else np.array([[1.5, 0.5], [0.5, 0.6]])
    scaled: dict[str, Any] = {"alpha": a[0, 0] / temperature} if len(a) == 1 else {"A": a / temperature}
    problem = problems.get(label[:2], **scaled)
    return replace(problem, problem=Entropy(temperature) + Quadratic(a)), temperature * eta


def _errors(label: str, scheme: str, taus: np.ndarray, eta: float) -> np.ndarray:
    """Return the largest errors over all times; taus are shares of the time span."""
    problem, pace = _problem(label, eta)
    first, last = problem.t_span
    span = (last - first) / pace
    assert problem.exact is not None
    found = []
    for tau in taus:
        sol = problem.solve(float(tau) * span, SCHEMES[scheme], t=first + span, speeds=eta)
        exact = [problem.exact(first + pace * (float(t) - first)) for t in sol.t[1:]]
        found.append(max(problem.distance(x, y) for x, y in zip(sol.states[1:], exact, strict=True)))
    return np.array(found)


def _order(label: str, scheme: str, least: int, levels: int, eta: float, claimed: float | None = None) -> Found:
    taus = 1.0 / (least * 2.0 ** np.arange(levels))
    errors, p = _errors(label, scheme, taus, eta), ORDERS[scheme] if claimed is None else claimed
    found = order(taus, errors)
    name = f"order of {scheme} on {label}"
    yield equal(name, found.value, p, tolerance=0.05 if p == 1 else 0.1, error=found.error)
    if label in PANELS:
        role = "measured" if claimed is None else "control"
        yield Curve(PANELS[label], scheme if claimed is None else f"{scheme}, order {claimed:g} claimed", taus, errors, role)
        if claimed is None and scheme in ("JKO", "VIM", "RK4"):
            yield Curve(PANELS[label], rf"$\tau^{{{p}}}$", taus, errors[-1] * (taus / taus[-1]) ** p, "predicted")


PANELS = {
    "S1": Panel("Gaussians on the line (S1)", r"$\tau$/time span", r"$\sup_n W_2$", "log"),
    "S2": Panel("Gaussians that do not commute (S2)", r"$\tau$/time span", r"$\sup_n W_2$", "log"),
    "S4": Panel("porous medium (S4)", r"$\tau$/time span", r"$\sup_n W_2$", "log"),
}


def _constants(least: int) -> Found:
    """Compare the errors on x' = -x as tau -> 0, in units of that of VIM."""
    taus = 1.0 / (least * 2.0 ** np.arange(4))
    ends = {name: _errors("E1", name, taus, 1.0) for name in (*CONSTANTS, "three stages")}
    for name, constant in CONSTANTS.items():
        ratio, error = limit(ends[name] / ends["VIM"], 1)
        yield equal(f"error of {name} over that of VIM", ratio, 12.0 * constant, tolerance=0.01, error=error)
    ratio, error = limit(ends["three stages"] / ends["VIM"], 1)
    yield equal("error of three stages over that of VIM", ratio, 12.0 * 0.0305, tolerance=0.01, error=error)


def _chosen(label: str, scheme: str, eta: float) -> Found:
    """Let the error control choose steps, of different sizes: errors fall like their number to the power -2."""
    problem, pace = _problem(label, eta)
    assert problem.exact is not None
    first, last = problem.t_span
    end = first + (last - first) / pace
    counts, errors = [], []
    for rtol in 10.0 ** -np.arange(2.0, 4.6, 0.5):
        sol = problem.solve(1.0, SCHEMES[scheme], t=end, speeds=eta) if rtol <= 0.0 else _auto(problem, scheme, end, eta, rtol)
        counts.append(float(sol.info["steps"]))
        errors.append(problem.distance(sol.states[-1], problem.exact(last)))
    found = slope(counts, errors, 0.9)
    yield at_most(f"power of the number of chosen steps, {scheme} on {label}", found.value, -2.0, tolerance=0.3, error=0.0)


def _auto(problem: Problem, scheme: str, end: float, eta: float, rtol: float) -> Any:
    span = (problem.t_span[0], end)
    return solve(problem.problem, problem.initial, span, "auto", scheme=SCHEMES[scheme], speeds=eta, rtol=rtol, atol=0.1 * rtol)


def _order_test(label: str, scheme: str = "", least: int = 0, levels: int = 4, eta: float = 1.0, chosen: bool = False) -> Found:
    if label == "constants":
        return _constants(least)
    return _chosen(label, scheme, eta) if chosen else _order(label, scheme, least, levels, eta)


def _order_control(label: str, scheme: str, least: int) -> Found:
    if label == "E5":
        taus = 1.0 / (least * 2.0 ** np.arange(4))
        problem = problems.get("E5", roughness=1.51, t=0.1)
        errors = []
        for tau in taus:
            sol = problem.solve(0.1 * float(tau), SCHEMES[scheme])
            assert problem.exact is not None
            errors.append(max(problem.distance(x, problem.exact(float(t))) for t, x in zip(sol.t, sol.states, strict=True)))
        found = order(taus, errors)
        yield at_least(f"order of {scheme}, rough start", found.value, 2.0, tolerance=0.1, error=found.error)
        yield Curve(PANELS["S1"], f"{scheme}, rough start (E5)", taus, errors, "control")
    else:
        yield from _order(label, scheme, least, 3, 1.0, 2.0)


EXPLICIT = ("explicit", "RK2", "RK4")
IMPLICIT = [name for name in SCHEMES if name not in (*EXPLICIT, "forward-backward")]

SECOND_ORDER = Theorem(
    name="second-order",
    label="T6",
    title="schemes have their orders on smooth flows",
    statement="VIM, BDF2, their extrapolated forms, the method of three stages, Richardson's extrapolation and RK2 are of "
    "order 2 where the flow is smooth, RK4 of order 4; minimizing movements, explicit and forward-backward steps "
    "are of order 1.",
    formula=r"\sup_n d(x(n\tau), x_n) = O(\tau^2), \quad \mathrm{VIM}: \frac{\tau^2}{12}, \ \mathrm{Richardson}: "
    r"\frac{\tau^2}{6}, \ \mathrm{BDF2}: \frac{\tau^2}{3} \ \mathrm{times} \ |x'''|",
    hypotheses=("the flow is smooth up to its start", "tau -> 0 on a bounded time span"),
    source="theory.md, 4.4 and 5.1 T6; Legendre and Turinici 2017; Matthes and Plazotta 1711.02935; Gallouet, Natale and"
    " Todeschi 2209.14622; Zaitzeff, Esedoglu and Garikipati 1908.10246",
    problems=("E1", "E3", "E5", "S1", "S2", "S4", "S13"),
    test=_order_test,
    quick=[
        *every(label=["S1"], scheme=["JKO", "VIM", "BDF2", "three stages", "Richardson", *EXPLICIT], least=[16], levels=[3]),
        *every(
            label=["S2"], scheme=["JKO", "VIM", "extrapolated BDF2", "three stages", "RK4"], least=[16], levels=[3], eta=[2.0]
        ),
        {"label": "S2", "scheme": "BDF2", "least": 10, "levels": 3, "eta": 0.7},
        *every(label=["S4"], scheme=IMPLICIT, least=[16], levels=[3]),
        *every(label=["S1 sum"], scheme=["forward-backward", "BDF2"], least=[16], levels=[3], eta=[0.5]),
        {"label": "S2 sum", "scheme": "VIM", "least": 16, "levels": 3, "eta": 1.5},
        {"label": "S1", "scheme": "BDF2", "eta": 2.0, "chosen": True},
        {"label": "constants", "least": 10},
    ],
    full=[
        *every(label=["S1", "S2"], scheme=[*IMPLICIT, *EXPLICIT], least=[16]),
        *every(label=["S4"], scheme=IMPLICIT, least=[16], levels=[5]),
        *every(label=["S2", "S13"], scheme=["JKO", "VIM", "three stages", *EXPLICIT], least=[24], levels=[3], eta=[2.0]),
        *every(label=["E3"], scheme=[*IMPLICIT, "explicit", "RK2"], least=[128], levels=[3], eta=[0.5]),
        *every(label=["S1 sum", "S2 sum"], scheme=["forward-backward", "VIM", "BDF2", "RK4"], least=[20], levels=[3], eta=[0.5]),
        *every(label=["S1", "S2 sum", "S4"], scheme=["BDF2", "extrapolated BDF2", "VIM"], eta=[1.0, 2.0], chosen=[True]),
        {"label": "constants", "least": 40},
    ],
    control=Control(
        "the start is rough (E5), or the scheme is a minimizing movement",
        _order_control,
        [
            {"label": "E5", "scheme": "BDF2", "least": 2},
            {"label": "E5", "scheme": "three stages", "least": 2},
            {"label": "S2", "scheme": "JKO", "least": 12},
        ],
    ),
)


UNIFORM = Panel("errors of the heat flow from a point", r"$\tau$", "$W_2$", "log")
LATE = Panel(r"the error at the end", r"$\log(1/\tau)$", r"error$/\tau$")


def _heat(taus: np.ndarray, temperature: float, eta: float, n: int, start: float = 0.0) -> tuple[np.ndarray, np.ndarray, Problem]:
    """Return the largest errors over all times, and those at the last."""
    if start:
        problem = problems.get("S3", deviation=start, temperature=temperature, n=n)
    else:
        problem = problems.get("T7", temperature=temperature, n=n)
    assert problem.exact is not None
    all_times, at_end = [], []
    for tau in taus:
        sol = problem.solve(float(tau) / eta, SCHEMES["JKO"], t=1.0 / eta, speeds=eta)
        errors = [problem.distance(x, problem.exact(eta * float(t))) for t, x in zip(sol.t, sol.states, strict=True)]
        all_times.append(max(errors))
        at_end.append(errors[-1])
    return np.array(all_times), np.array(at_end), problem


def _smoothing(temperature: float, eta: float, n: int, levels: int, plot: bool = False) -> Found:
    taus = 1.0 / (16.0 * 2.0 ** np.arange(levels))
    sups, ends, problem = _heat(taus, temperature, eta, n)
    assert problem.exact is not None
    size = float(np.sqrt(np.mean(problem.exact(1.0).values ** 2)))  # of the law at time 1, a multiple of sqrt(2 T)
    found = order(taus, sups)
    yield equal("order of the largest error over all times", found.value, 0.5, tolerance=0.03, error=found.error)
    first = (1.0 - np.sqrt(0.5)) * size * np.sqrt(taus)
    yield equal("largest error, that of the first step", sups, first, tolerance=SLACK, error=1e-10)
    late = order(taus, ends)
    yield at_least("order at a fixed time", late.value, 0.8, error=late.error)
    yield at_most("order at a fixed time", late.value, 1.0, error=late.error)
    rises = np.diff(ends / taus) / np.log(2.0)
    rate, error = limit(rises, 1)
    yield equal("rise of error/tau with log(1/tau)", rate, 0.125 * size, tolerance=0.01 * size, error=error)
    if plot:
        yield Curve(UNIFORM, "largest over all times", taus, sups)
        yield Curve(UNIFORM, "at the last time", taus, ends)
        yield Curve(UNIFORM, r"$(\sqrt{2} - 1)\sqrt{T\tau}$", taus, first, "predicted")
        yield Curve(LATE, "measured", np.log(1.0 / taus), ends / taus)
        line = ends[-1] / taus[-1] + 0.125 * size * np.log(taus[-1] / taus)
        yield Curve(LATE, r"slope $T/(4\sqrt{2Tt})$", np.log(1.0 / taus), line, "predicted")


def _smooth_start(start: float) -> Found:
    taus = 1.0 / (16.0 * 2.0 ** np.arange(4))
    sups, _, _ = _heat(taus, 1.0, 1.0, 20, start)
    found = order(taus, sups)
    yield equal("order of the largest error over all times", found.value, 0.5, tolerance=0.03, error=found.error)
    yield Curve(UNIFORM, "from a Gaussian", taus, sups, "control")


SMOOTHING = Theorem(
    name="smoothing-start",
    label="T7",
    title="from a Dirac mass the error is of order one half",
    statement="Minimizing movements of the heat flow from a Dirac mass miss it by (sqrt(2) - 1) sqrt(T tau) after one step,"
    " and by no more later: the order is 1/2 uniformly in time. At a fixed time the error is about tau "
    "log(1/tau).",
    formula=r"\sup_n W_2(\mu(n\tau), \mu_n) = (\sqrt{2} - 1) \sqrt{T\tau}, \quad "
    r"W_2(\mu(t), \mu_{t/\tau}) = \frac{T\tau}{4\sqrt{2Tt}} \left(\log\frac{t}{\tau} + O(1)\right)",
    hypotheses=("E is T times the entropy, on the line", "the start is a Dirac mass, of infinite energy"),
    source="theory.md, 5.1 T7 and 9.2 S3",
    problems=("T7", "S3"),
    test=_smoothing,
    quick=[
        {"temperature": 1.0, "eta": 1.0, "n": 12, "levels": 6, "plot": True},
        {"temperature": 0.6, "eta": 2.0, "n": 5, "levels": 5},
    ],
    full=[
        {"temperature": 1.0, "eta": 1.0, "n": 20, "levels": 7, "plot": True},
        *every(temperature=[0.3, 2.5], eta=[0.5, 2.0], n=[2, 15], levels=[6]),
    ],
    control=Control("the start is a Gaussian, of finite slope", _smooth_start, [{"start": 1.0}, {"start": 0.7}]),
)

ENTRIES = (SECOND_ORDER, SMOOTHING)
