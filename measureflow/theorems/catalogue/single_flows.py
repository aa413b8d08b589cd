"""What flows of convex energies do: contraction, energy identity, EVI, decay of slope and energy (theory, 2 and 5.1: T5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from measureflow import problems
from measureflow.schemes import BDF2, JKO, RK4, VIM, Scheme, ThreeStage
from measureflow.solution import Solution
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.catalogue._single import KINDS, MINIMIZING, SLACK, Case, case, flat, steps_of, trembled
from measureflow.theorems.check import Check, at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import limit

Found = Iterator[Check | Curve]
Quantity = Callable[[Solution, int], Any]
"""(solution, stride) -> what is measured at every stride-th row."""

SCHEMES: dict[str, Scheme] = {
    "jko": MINIMIZING,
    "vim": VIM(tolerance=1e-12),
    "bdf2": BDF2(tolerance=1e-12),
    "three-stage": ThreeStage(tolerance=1e-12),
    "rk4": RK4(),
}
STIFF = ("quantiles, entropy", "quantiles, porous")
HILBERT = tuple(kind for kind in KINDS if kind not in ("Gaussians", "Gaussians, saddle", "simplex"))
"""Kinds on flat spaces, where single minimizing movements contract by 1 + lambda tau."""


class Refined:
    """Flows of a case from one start with three or more steps, tau, tau/2, tau/4 ..., and limits of what is read from them."""

    def __init__(self, each: Case, start: Any, span: float, eta: float, scheme: str, least: int, rows: int = 8) -> None:
        self.order = SCHEMES[scheme].order_for(1)
        self.eta = eta
        self.sols = [each.solve(span, span / (least * 2**k), eta, SCHEMES[scheme], start) for k in range(3)]
        self.strides = [least * 2**k // rows for k in range(3)]
        self.t = eta * self.sols[0].t[:: self.strides[0]][1:]

    def rows(self, quantity: Quantity) -> np.ndarray:
        """Return a quantity of all rows at the common times but the first, (levels, times)."""
        return np.array([quantity(sol, stride)[1:] for sol, stride in zip(self.sols, self.strides, strict=True)])

    def limit(self, quantity: Quantity) -> tuple[np.ndarray, np.ndarray]:
        """Return the limit of a quantity at the common times but the first, and its error."""
        value, error = limit(self.rows(quantity), self.order)
        return value, error + 1e-11


def _energies(sol: Solution, stride: int) -> np.ndarray:
    return np.asarray(sol.energies[::stride])


def _slopes(sol: Solution, stride: int) -> np.ndarray:
    return np.asarray(sol.slopes[::stride])


def _squared(each: Case, z: Any) -> Quantity:
    return lambda sol, stride: np.array([each.distance(x, z) ** 2 for x in sol.states[::stride]])


def _apart(each: Case, flow: Refined, other: Refined) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances of two flows in the limit, and their errors."""
    rows = [
        [each.distance(x, y) for x, y in zip(a.states[::s][1:], b.states[::s][1:], strict=True)]
        for a, b, s in zip(flow.sols, other.sols, flow.strides, strict=True)
    ]
    value, error = limit(rows, flow.order)
    return value, error + 1e-11


def growth(bend: float, t: np.ndarray) -> np.ndarray:
    """Return I_lambda(t), the integral of e^(lambda r) over [0, t].

    Examples
    --------
    >>> float(growth(0.0, np.array(2.0))), round(float(growth(1.0, np.array(1.0))), 6)
    (2.0, 1.718282)
    """
    return np.asarray(t if bend == 0.0 else np.expm1(bend * t) / bend)


def _contraction(each: Case, start: Any, flow: Refined, other: Refined, bend: float) -> Found:
    apart, error = _apart(each, flow, other)
    bound = np.exp(-bend * flow.t) * each.distance(each.start, start)
    size = np.maximum(1.0, bound)
    yield at_most("distance of two flows, contracted", apart, bound, tolerance=1e-5 * size, error=error, where=_time(flow))


def _single_steps(each: Case, start: Any, flow: Refined, other: Refined) -> Found:
    """In flat spaces every single minimizing movement contracts, by 1 + lambda tau."""
    a, b = flow.sols[0], other.sols[0]
    apart = [each.space.labelled_distance(x, y) for x, y in zip(a.states, b.states, strict=True)]
    bound = np.concatenate([[1.0], np.cumprod(1.0 / (1.0 + each.bend * steps_of(a, flow.eta)))]) * apart[0]
    scale = max(1.0, float(np.max(bound)))
    yield at_most("distance after steps of JKO", apart, bound, tolerance=SLACK * scale, error=1e-10 * scale)


def _decay(each: Case, flow: Refined, bend: float, tests: list[Any]) -> Found:
    """Compare slopes and energies with their bounds, and the integrated EVI with zero, for a constant lambda."""
    energies, unsure = flow.limit(_energies)
    slopes, error = flow.limit(_slopes)
    first, size = flow.sols[0], max(1.0, float(np.max(flow.sols[0].slopes)))
    known: dict[str, Any] = {"tolerance": 1e-5 * size, "where": _time(flow)}
    before = np.concatenate([[first.slopes[0]], slopes[:-1]])
    steps = np.diff(flow.t, prepend=0.0)
    late = error + np.concatenate([[0.0], error[:-1]])
    yield at_most("slope, decaying", slopes, np.exp(-bend * steps) * before, error=late, **known)
    if each.bottom is not None:
        lowest = each.energy.value(each.bottom)
        if bend > 0.0:
            bound = np.exp(-2.0 * bend * flow.t) * (first.energies[0] - lowest)
            yield at_most("energy above its minimum", energies - lowest, bound, error=unsure, **known)
        away = each.distance(each.start, each.bottom)
        yield at_most("energy and d(x0, z)^2", energies - lowest, away**2 / (2.0 * growth(bend, flow.t)), error=unsure, **known)
        if bend >= 0.0:
            yield at_most("slope and d(x0, z)/t", slopes, away / flow.t, error=error, **known)
    for z in tests:
        there, off = flow.limit(_squared(each, z))
        grown, at_z = growth(bend, flow.t), each.energy.value(z)
        left = 0.5 * np.exp(bend * flow.t) * there - 0.5 * each.distance(each.start, z) ** 2 - grown * (at_z - energies)
        errors = 0.5 * np.exp(bend * flow.t) * off + grown * unsure
        scale = max(1.0, abs(at_z), float(np.max(there)))
        yield at_most("integrated EVI", left, 0.0, error=errors, tolerance=1e-5 * scale, where=_time(flow))


def _time(flow: Refined) -> Callable[[int], str]:
    return lambda k: f"t = {flow.t[k]:.3g}"


def _identity(flow: Refined) -> Found:
    """Energy lost, squared speed and squared slope, integrated: equal in the limit."""
    lost, unsure = flow.limit(lambda sol, stride: sol.energies[0] - sol.energies[::stride])
    balances = {id(sol): sol.balance() for sol in flow.sols}
    parts: dict[str, Quantity] = {
        "energy lost and squared speed": lambda sol, stride: balances[id(sol)].cumulative("work")[::stride],
        "energy lost and squared slope": lambda sol, stride: _integral(flow.eta * sol.t, sol.slopes**2)[::stride],
        "energy lost and dissipation": lambda sol, stride: balances[id(sol)].cumulative("dissipation")[::stride],
    }
    for name, quantity in parts.items():
        # chords and trapezes are of order 2 at most, whatever the scheme
        value, error = limit(flow.rows(quantity), min(flow.order, 2))
        tolerance = 6e-3 * float(np.max(lost))
        yield equal(name, value, lost, tolerance=tolerance, error=error + unsure, where=_time(flow))


def _integral(t: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(0.5 * np.diff(t) * (values[1:] + values[:-1]))])


def _random(kind: str, seed: int, scheme: str, eta: float, least: int) -> Found:
    each = case(kind, seed)
    rng = np.random.default_rng([seed, 3])
    start = trembled(rng, each.start)
    span = (0.15 if kind in STIFF else 0.8) / eta
    flow, other = (Refined(each, x, span, eta, scheme, least) for x in (each.start, start))
    yield from _contraction(each, start, flow, other, each.bend)
    if kind in HILBERT and scheme == "jko":
        yield from _single_steps(each, start, flow, other)
    yield from _decay(each, flow, each.bend, [start, trembled(rng, each.start)])
    yield from _identity(flow)


APART = Panel("two flows", r"$\lambda t$", r"$d(x_t, y_t)/d(x_0, y_0)$", "log y")
SLOPE = Panel("slope", r"$\lambda t$", r"$|\partial E|(x_t)/|\partial E|(x_0)$", "log y")
ABOVE = Panel("energy", r"$\lambda t$", r"$(E(x_t) - E^*)/(E(x_0) - E^*)$", "log y")
BALANCE = Panel("the energy identity (S1)", "$t$", "energy lost")
SHOWN = ("one point", "Gaussians", "attraction")


def _pictured(rows: int) -> Found:
    s = np.linspace(0.0, 1.5, 2 * rows)
    for panel, rate in ((APART, 1.0), (SLOPE, 1.0), (ABOVE, 2.0)):
        yield Curve(panel, rf"$e^{{-{'' if rate == 1.0 else '2'}\lambda t}}$", s, np.exp(-rate * s), "predicted")
    for kind in SHOWN:
        each = flat(kind) if kind == "one point" else case(kind, 2)
        start = (
            each.start.replace(each.start.coordinates + 0.5)
            if kind != "Gaussians"
            else trembled(np.random.default_rng(1), each.start)
        )
        span = 1.5 / each.bend
        one, two = (each.solve(span, span / 64, scheme=SCHEMES["rk4"], start=x) for x in (each.start, start))
        t, assured = each.bend * one.t[::4], each.energy.value(each.bottom) if each.bottom is not None else 0.0
        apart = np.array([each.distance(x, y) for x, y in zip(one.states[::4], two.states[::4], strict=True)])
        for panel, values in ((APART, apart), (SLOPE, one.slopes[::4]), (ABOVE, one.energies[::4] - assured)):
            yield Curve(panel, kind, t, values / values[0])
    sol = problems.get("S1").solve(0.05, VIM())
    yield Curve(BALANCE, r"$E(x_0) - E(x_t)$", sol.t, sol.energies[0] - sol.energies, "predicted")
    yield Curve(BALANCE, r"$\int |\dot{x}|^2 dt$", sol.t, sol.balance().cumulative("work"))
    yield Curve(BALANCE, r"$\int |\partial E|^2 dt$", sol.t, _integral(sol.t, sol.slopes**2))


def _attained(kind: str, size: float, eta: float, claimed: float = 1.0) -> Found:
    """Where the energy has one curvature, flows contract at exactly that rate, and slope and energy decay at it and twice it."""
    each = flat(kind, size)
    rng = np.random.default_rng(2)
    start: Any = trembled(rng, each.start)
    if kind == "shifted Gaussians":
        start = type(start)(each.start.mean + 1.0, each.start.cov)  # type: ignore[attr-defined]
    if kind == "atoms":
        start = each.start.replace(each.start.coordinates + 0.2)
    span = 1.2 / eta
    flow, other = (Refined(each, x, span, eta, "rk4", 16, 4) for x in (each.start, start))
    apart, error = _apart(each, flow, other)
    rates = -np.log(apart / each.distance(each.start, start)) / flow.t
    bend = claimed * each.bend
    yield equal("attained: rate of contraction", rates, bend, tolerance=1e-6, error=error / apart / flow.t)
    slopes, error = flow.limit(_slopes)
    fall = -np.log(slopes / flow.sols[0].slopes[0]) / flow.t
    yield equal("attained: rate of the slope", fall, bend, tolerance=1e-6, error=error / slopes / flow.t)
    if each.bottom is not None:
        lowest = each.energy.value(each.bottom)
        energies, error = flow.limit(lambda sol, stride: sol.energies[::stride] - lowest)
        decay = -np.log(energies / (flow.sols[0].energies[0] - lowest)) / flow.t
        yield equal("attained: rate of the energy", decay, 2.0 * bend, tolerance=1e-6, error=error / energies / flow.t)


def _arrival(eta: float, steps: int) -> Found:
    """V = |x| (E2), where steps are exact: slope <= d/t is attained when the minimum is reached."""
    p = problems.get("E2")
    start = float(abs(p.initial.values[0]))
    sol = p.solve(start / eta / steps, JKO(), t=start / eta * (1.0 - 0.5 / steps), speeds=eta)
    t = eta * sol.t[1:-1]
    yield at_most("slope and d(x0, z)/t (E2)", sol.slopes[1:-1], start / t, tolerance=SLACK, error=1e-12)
    yield at_most("energy and d(x0, z)^2 (E2)", sol.energies[1:-1], start**2 / (2.0 * t), tolerance=SLACK, error=1e-12)
    yield equal(
        "attained: slope t/d(x0, z) before arrival (E2)", sol.slopes[-2] * t[-1] / start, 1.0, tolerance=1.1 / steps, error=1e-9
    )


def _test(
    kind: str,
    seed: int = 0,
    scheme: str = "jko",
    eta: float = 1.0,
    least: int = 16,
    size: float = 0.0,
    rows: int = 0,
    steps: int = 0,
) -> Found:
    if rows:
        return _pictured(rows)
    if steps:
        return _arrival(eta, steps)
    return _attained(kind, size, eta) if size else _random(kind, seed, scheme, eta, least)


def _control(what: str) -> Found:
    if what == "rates 1 % too large":
        return _attained("one point", 0.8, 1.0, 1.01)
    if what == "rates 1 % too large, W2":
        return _attained("shifted Gaussians", 0.8, 1.0, 1.01)
    return _well()


def _well() -> Found:
    each = case("double well", 0)
    near = each.start.replace(0.1 + 0.0 * each.start.coordinates)
    each = Case(each.energy, near, 0.0, 1.0, each.start.replace(1.0 + 0.0 * near.coordinates))
    start = near.replace(-near.coordinates)
    flow, other = (Refined(each, x, 1.5, 1.0, "rk4", 8) for x in (near, start))
    yield from _contraction(each, start, flow, other, 0.0)
    yield from _decay(each, flow, 0.0, [start])
    sol, opposite = flow.sols[0], other.sols[0]
    apart = [each.distance(x, y) for x, y in zip(sol.states, opposite.states, strict=True)]
    yield Curve(APART, r"double well, $\lambda = 0$ claimed", sol.t, np.array(apart) / apart[0], "control")


FLAT = ("one point", "atoms", "quantiles", "shifted Gaussians")
SMOOTH = [kind for kind in KINDS if kind not in STIFF]

ENTRIES = (
    Theorem(
        name="flow-evi",
        label="T5",
        title="flows contract and satisfy the energy identity",
        statement="The flow of a lambda-convex energy contracts distances like e^(-lambda t), loses energy exactly at the "
        "rate of its squared speed and of its squared slope, satisfies the EVI against every state, and its slope"
        " decays like e^(-lambda t), its energy above the minimum like e^(-2 lambda t); for lambda = 0 the slope "
        "is at most d(x0, z)/t for a minimiser z.",
        formula=r"d(x_t,y_t) \leq e^{-\lambda t} d(x_0,y_0), \quad E(x_s) - E(x_t) = \int_s^t |\dot{x}|^2 dr = \int_s^t "
        r"|\partial E|^2(x_r) dr, \quad e^{\lambda t} \frac{d(x_t,z)^2}{2} - \frac{d(x_0,z)^2}{2} \leq "
        r"I_\lambda(t) \left(E(z) - E(x_t)\right)",
        hypotheses=(
            "E is lambda-convex, lambda of any sign, on geodesics of Hilbert and Riemannian spaces, on generalised ones of W2",
            "lambda > 0 for the decay of the energy, lambda >= 0 for that of the slope like d(x0, z)/t",
        ),
        source="theory.md, 2 and 5.1 T5; Ambrosio, Gigli and Savare, Gradient Flows in Metric Spaces, theorems 2.4.15 and 4.0.4",
        problems=("E2", "E4", "S1"),
        test=_test,
        quick=[
            *every(kind=list(FLAT), size=[0.8], eta=[0.5]),
            {"kind": "one point", "size": -0.8, "eta": 2.0},
            {"kind": "arrival", "steps": 200, "eta": 2.0},
            {"kind": "figure", "rows": 16},
            *every(kind=["quadratic", "saddle", "Gaussians", "double well", "simplex"], seed=[0], scheme=["rk4"], eta=[2.0]),
            {"kind": "attraction", "seed": 0, "scheme": "bdf2", "eta": 0.5, "least": 8},
            {"kind": "quantiles, porous", "seed": 0, "scheme": "three-stage", "eta": 2.0},
            {"kind": "energy distance", "seed": 1, "scheme": "jko", "eta": 0.5},
            {"kind": "Gaussians", "seed": 1, "scheme": "jko", "eta": 0.5, "least": 32},
        ],
        full=[
            *every(kind=list(FLAT), size=[0.8, 2.0], eta=[1.0, 0.5]),
            {"kind": "one point", "size": -0.8, "eta": 2.0},
            *every(kind=["arrival"], steps=[200, 500], eta=[1.0, 2.0]),
            {"kind": "figure", "rows": 48},
            *every(kind=SMOOTH, seed=range(2), scheme=["rk4"], eta=[2.0], least=[24]),
            *every(kind=list(KINDS), seed=[2], scheme=["jko"], eta=[0.5], least=[96]),
            *every(kind=list(KINDS), seed=[3], scheme=["three-stage"], eta=[1.5], least=[32]),
        ],
        control=Control(
            "E is not convex (a double well), or the rates are claimed 1 % larger than they are",
            _control,
            every(what=["double well", "rates 1 % too large", "rates 1 % too large, W2"]),
        ),
    ),
)
