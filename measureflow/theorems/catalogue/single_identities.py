"""De Giorgi's identity: where the energy of a minimizing movement goes, without any convexity (theory, 4.1 and 4.3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from measureflow import problems
from measureflow.energies import Energy
from measureflow.proximal import proximal
from measureflow.schemes import JKO, VIM, Explicit, Scheme
from measureflow.solution import Solution
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.catalogue._single import KINDS, MINIMIZING, Case, case, steps_of, uneven
from measureflow.theorems.check import Check, at_most, equal
from measureflow.theorems.curves import Curve, Panel

Found = Iterator[Check | Curve]

NODES, WEIGHTS = np.polynomial.legendre.leggauss(20)
EXACT, ITERATED = 1e-12, 1e-9
"""By how much the identity may be missed, relative to the energy: by closed forms, and by inner solvers."""

SOLVED = ("quantiles, entropy", "quantiles, porous", "attraction")
"""Kinds whose steps have no closed form."""

COUPLINGS = ("simultaneous", "alternating", "implicit")
"""Couplings of games, whose players see old or new states."""

CLOSED: dict[str, dict[str, Any]] = {
    "S1": {"alpha": 1.3},
    "S2": {},
    "S3": {"temperature": 0.6, "dim": 2},
    "S6": {},
    "S10": {"n": 20},
    "S13": {"kind": "gaussian"},
    "E1": {"a": 0.9},
    "E2": {},
}
"""Problems whose minimizing movements have closed forms, with parameters."""


def _problem(label: str) -> Case:
    p = problems.get(label, **CLOSED[label])
    assert isinstance(p.problem, Energy)
    return Case(p.problem, p.initial, p.problem.convexity or 0.0, 1.0)


def _slope(each: Case, state: Any) -> float:
    return each.space.slope(state, each.space.differential(each.energy, state))


def _speeds(each: Case, x: Any, deltas: np.ndarray) -> np.ndarray:
    """Return d(x, J_delta x)/delta."""
    ends = (proximal(each.energy, each.space, x, float(delta)) for delta in deltas)
    return np.array([each.distance(x, end) / delta for end, delta in zip(ends, deltas, strict=True)])


def _dissipated(each: Case, x: Any, first: float, last: float) -> float:
    """Return the integral of d(x, J_delta x)^2 / (2 delta^2) over [first, last], by Gauss's rule."""
    deltas = first + 0.5 * (last - first) * (NODES + 1.0)
    return float(0.25 * (last - first) * (WEIGHTS @ _speeds(each, x, deltas) ** 2))


def _defects(each: Case, sol: Solution, eta: float) -> np.ndarray:
    """Return E(x+) + d^2/(2 tau) + int_0^tau d(x, x~)^2/(2 delta^2) - E(x) of all steps, from the definition."""
    sizes = steps_of(sol, eta)
    moved = [each.distance(a, b) for a, b in zip(sol.states[:-1], sol.states[1:], strict=True)]
    spent = [_dissipated(each, x, 0.0, float(h)) for x, h in zip(sol.states[:-1], sizes, strict=True)]
    return np.asarray(np.diff([each.energy.value(x) for x in sol.states]) + np.square(moved) / (2.0 * sizes) + spent)


def _identity(each: Case, tau: float, eta: float, kinked: bool, exact: float) -> Found:
    sol = each.solve(uneven(3, tau), tau, eta)
    sizes, scale = steps_of(sol, eta), max(1.0, float(np.max(np.abs(sol.energies))))
    error = (2e-13 if exact == EXACT else 3e-10) * scale
    known: dict[str, Any] = {"tolerance": exact * scale, "error": error, "where": lambda k: f"step {k + 1}"}
    yield equal("De Giorgi's identity, from distances", _defects(each, sol, eta), 0.0, **known)
    yield equal("De Giorgi's identity, sol.residuals()", sol.residuals().degiorgi, 0.0, **known)
    balance = sol.balance(exact=True)
    yield equal("De Giorgi's identity, sol.balance(exact=True)", balance.residual, 0.0, **known)
    yield from _interpolation(each, sol, eta, kinked, exact)
    yield from _envelope(each, sol.states[0], float(sizes[0]), known)


def _interpolation(each: Case, sol: Solution, eta: float, kinked: bool, exact: float) -> Found:
    """Compare the slope at the variational interpolation with d(x, x~)/delta: at most, and equal for smooth energies."""
    times = [(k, 0.5 * (1.0 + r)) for k in range(len(sol.t) - 1) for r in NODES[2::6]]
    slopes, speeds = [], []
    for k, share in times:
        delta = share * (sol.t[k + 1] - sol.t[k])
        between = sol(float(sol.t[k] + delta), "degiorgi")
        slopes.append(_slope(each, between))
        speeds.append(each.distance(sol.states[k], between) / (eta * delta))
    scale, shortest = max(1.0, max(speeds)), eta * float(np.min(np.diff(sol.t))) * 0.5 * (1.0 + NODES[2])
    solved = exact != EXACT  # the residual of the inner solver is a distance
    error = 3e-12 / shortest if solved else 1e-10
    known: dict[str, Any] = {"tolerance": (1e-6 if solved else 1e-9) * scale, "error": error * scale}
    compare = at_most if kinked else equal
    yield compare("slope at the variational interpolation", slopes, speeds, **known)


def _envelope(each: Case, x: Any, tau: float, known: dict[str, Any]) -> Found:
    """Compare the Moreau-Yosida value at tau and tau/2 with the integral of its derivative -d^2/(2 tau^2)."""
    values = [_envelope_value(each, x, size) for size in (0.5 * tau, tau)]
    spent = _dissipated(each, x, 0.5 * tau, tau)
    yield equal("fall of the Moreau-Yosida value", values[0] - values[1], spent, **known | {"where": ""})


def _envelope_value(each: Case, x: Any, tau: float) -> float:
    end = proximal(each.energy, each.space, x, tau)
    return each.energy.value(end) + each.distance(x, end) ** 2 / (2.0 * tau)


PARTS = Panel("where the energy goes (S1)", "$t$", "energy")
ENVELOPE = Panel(r"Moreau-Yosida value $E_\tau(x)$ (S1)", r"$\tau$", r"$E_\tau$")
DEFECT = Panel("defect of De Giorgi's identity (S1)", r"$\tau$", "of the first step", "log")


def _pictured(points: int) -> Found:
    each = _problem("S1")
    sol = each.solve(1.0, 0.1)
    moved = np.array([each.distance(a, b) ** 2 / 0.2 for a, b in zip(sol.states[:-1], sol.states[1:], strict=True)])
    spent = np.array([_dissipated(each, x, 0.0, 0.1) for x in sol.states[:-1]])
    lost, half, rest = sol.energies[0] - sol.energies, np.cumsum([0.0, *moved]), np.cumsum([0.0, *spent])
    yield Curve(PARTS, r"$E(x_0) - E(x_n)$", sol.t, lost, "predicted")
    yield Curve(PARTS, r"$\sum d^2/2\tau$", sol.t, half)
    yield Curve(PARTS, r"$+ \sum \int d(x_n, \tilde{x}_\delta)^2/2\delta^2$", sol.t, half + rest)
    yield equal("energy lost until t", half + rest, lost, tolerance=EXACT, error=1e-13)
    taus = np.linspace(0.05, 2.0, points)
    values = [_envelope_value(each, each.start, tau) for tau in taus]
    integral = [each.energy.value(each.start) - _dissipated(each, each.start, 0.0, tau) for tau in taus]
    yield Curve(ENVELOPE, r"$\min_u E(u) + d(x,u)^2/2\tau$", taus, values)
    yield Curve(ENVELOPE, r"$E(x) - \int_0^\tau d(x, J_\delta x)^2/2\delta^2$", taus, integral, "predicted")
    yield equal("Moreau-Yosida value and its integral", values, integral, tolerance=1e-10, error=1e-11)
    sizes = np.geomspace(0.02, 0.4, points)
    defects = [float(np.abs(_defects(each, each.solve(tau, tau), 1.0)[0])) for tau in sizes]
    yield Curve(DEFECT, "minimizing movement", sizes, np.maximum(defects, 1e-17))


def _players(coupling: str, eta: float) -> Found:
    """Compare the identity of each player of a game against the opponents that the coupling showed it, and the total balance."""
    p = problems.get("G2", P=0.4, C=1.5, Q=0.7)
    sol = p.solve(0.08 / max(1.0, eta), JKO(coupling), t=0.4, speeds=(1.0, eta))
    known: dict[str, Any] = {"tolerance": EXACT, "error": 1e-13}
    yield equal(f"De Giorgi's identity of players, {coupling}", sol.residuals().degiorgi, 0.0, **known)
    balance = sol.balance(exact=True)
    yield equal(f"balance of players, {coupling}", balance.residual, 0.0, **known)


def _test(kind: str, seed: int = 0, share: float = 0.1, eta: float = 1.0, points: int = 0) -> Found:
    if points:
        yield from _pictured(points)
    elif kind in COUPLINGS:
        yield from _players(kind, eta)
    elif kind in CLOSED:
        yield from _identity(_problem(kind), share / eta, eta, kind == "E2", EXACT)
    else:
        each = case(kind, seed)
        yield from _identity(each, share / (eta * each.stiff), eta, False, ITERATED if kind in SOLVED else EXACT)


def _control(scheme: str, points: int) -> Found:
    rule: Scheme = VIM(tolerance=MINIMIZING.tolerance.residual) if scheme == "VIM" else Explicit()
    each = _problem("S1")
    yield equal("De Giorgi's identity", _defects(each, each.solve(0.1, 0.1, scheme=rule), 1.0), 0.0, tolerance=EXACT, error=1e-12)
    sizes = np.geomspace(0.02, 0.4, points)
    defects = [abs(float(_defects(each, each.solve(tau, tau, scheme=rule), 1.0)[0])) for tau in sizes]
    yield Curve(DEFECT, scheme, sizes, defects, "control")


FIGURE = {"kind": "figure", "points": 12}

ENTRIES = (
    Theorem(
        name="de-giorgi",
        label="4.3",
        title="De Giorgi's identity holds exactly, convex or not",
        statement="The energy that one minimizing movement loses is exactly the sum of d^2/(2 tau) and of the integral of "
        "d(x, x~_delta)^2/(2 delta^2) along De Giorgi's variational interpolation x~_delta = J_delta(x), at which"
        " the slope is at most d(x, x~_delta)/delta. It is the derivative of the Moreau-Yosida value, integrated. In games it "
        "holds player by player, against the opponents that the coupling showed.",
        formula=r"E(x_+) + \frac{d(x,x_+)^2}{2\tau} + \int_0^\tau \frac{d(x,\tilde{x}_\delta)^2}{2\delta^2} d\delta = "
        r"E(x), \quad |\partial E|(\tilde{x}_\delta) \leq \frac{d(x,\tilde{x}_\delta)}{\delta}, \quad "
        r"\frac{d}{d\tau} E_\tau(x) = -\frac{d(x, J_\tau x)^2}{2\tau^2}",
        hypotheses=("x_+ = J_tau(x) minimises E(u) + d(x, u)^2 / (2 tau), and so does x~_delta for all smaller delta",),
        source="theory.md, 4.1 and 4.3; Ambrosio, Gigli and Savare, Gradient Flows in Metric Spaces, section 3.2",
        problems=(*CLOSED, "E4", "G2"),
        test=_test,
        quick=[
            *every(kind=list(CLOSED), share=[0.08], eta=[1.0, 0.6]),
            *every(kind=list(COUPLINGS), eta=[1.0, 2.5]),
            *every(kind=list(KINDS), seed=[0], share=[0.5], eta=[2.5]),
            FIGURE,
        ],
        full=[
            *every(kind=list(CLOSED), share=[0.02, 0.05, 0.1], eta=[1.0, 0.6, 3.0]),
            *every(kind=list(COUPLINGS), eta=[0.4, 1.0, 2.5]),
            *every(kind=list(KINDS), seed=range(4), share=[0.2, 0.7], eta=[1.0, 2.5]),
            FIGURE,
        ],
        control=Control("the step is no minimizing movement", _control, every(scheme=["VIM", "explicit"], points=[12])),
    ),
)
