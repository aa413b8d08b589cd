"""What one minimizing movement does to energies and slopes (theory, 5.1: T1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from measureflow.schemes import Explicit
from measureflow.solution import Solution
from measureflow.theorems.base import Control, Theorem, every
from measureflow.theorems.catalogue._single import (
    KINDS,
    SHARP,
    SLACK,
    Case,
    case,
    flat,
    largest,
    lengths,
    steps_of,
    uneven,
    unsure,
)
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel

Found = Iterator[Check | Curve]


def _one_step(kind: str, seed: int, share: float, eta: float) -> Found:
    each = case(kind, seed)
    tau = largest(each, share, eta)
    sol = each.solve(uneven(3, tau), tau, eta)
    own = each.energy.convexity
    if own is not None:
        yield equal("lambda that the energy claims", own, each.bend, tolerance=SLACK)
    yield from _gains(each, sol, eta, each.bend)
    drift = lengths(each, sol) / steps_of(sol, eta)
    scale = float(np.max(drift))
    known = {"tolerance": SLACK * max(1.0, scale), "error": unsure(sol, scale) / float(np.min(steps_of(sol, eta)))}
    yield equal("slope reached, of a smooth energy", sol.slopes[1:], drift, **known)


def _gains(each: Case, sol: Solution, eta: float, bend: float) -> Found:
    """Compare all steps with the inequalities of T1 for a constant lambda."""
    h, d, values, slopes = steps_of(sol, eta), lengths(each, sol), sol.energies, sol.slopes
    size = max(1.0, float(np.max(np.abs(values))), float(np.max(slopes)))
    known: dict[str, Any] = {"tolerance": SLACK * size, "error": unsure(sol, size), "where": lambda k: f"step {k + 1}"}
    yield at_most("E(x+) + (1/tau + lambda/2) d^2", values[1:] + (1.0 / h + 0.5 * bend) * d**2, values[:-1], **known)
    known["error"] /= float(np.min(h))
    yield at_most("slope at x+", slopes[1:], d / h, **known)
    yield at_most("speed d/tau of the step", d / h, slopes[:-1] / (1.0 + bend * h), **known)
    if each.bottom is not None:
        above = values - each.energy.value(each.bottom)
        yield at_most("E(x+) - min E", above[1:], above[:-1] / (1.0 + bend * h) ** 2, **known)


def _attained(kind: str, size: float, eta: float) -> Found:
    """Where all curvatures are equal, all inequalities are equalities."""
    each = flat(kind, size)
    tau = largest(each, 0.6, eta)
    sol = each.solve(uneven(4, tau), tau, eta)
    h, d, values, slopes = steps_of(sol, eta), lengths(each, sol), sol.energies, sol.slopes
    known: dict[str, Any] = {"tolerance": SLACK, "error": 1e-12 / float(np.min(h))}
    gained = values[1:] + (1.0 / h + 0.5 * each.bend) * d**2
    yield equal("attained: E(x+) + (1/tau + lambda/2) d^2", gained, values[:-1], **known)
    yield equal("attained: speed of the step", d / h, slopes[:-1] / (1.0 + each.bend * h), **known)
    if each.bottom is not None:
        above = values - each.energy.value(each.bottom)
        yield equal("attained: E(x+) - min E", above[1:], above[:-1] / (1.0 + each.bend * h) ** 2, **known)


GAIN = Panel("what a step dissipates", r"$\lambda\tau$", r"$(E(x) - E(x_+)) / (d^2/2\tau)$")
SPEED = Panel("the slope before and the speed", r"$\lambda\tau$", r"$|\partial E|(x) / (d/\tau)$")
DECAY = Panel("the energy above its minimum", r"$\lambda\tau$", r"$\sqrt{(E(x) - E^*) / (E(x_+) - E^*)}$")
SHOWN = (("one point", 0.5), ("Gaussians", None), ("attraction", None))


def _pictured(points: int) -> Found:
    """Compare single steps of many sizes with T1, and draw them."""
    shares = np.geomspace(0.02, 4.0, points)
    line = [0.0, 2.0]
    for panel, start in ((GAIN, 2.0), (SPEED, 1.0), (DECAY, 1.0)):
        yield Curve(panel, r"bound of T1", line, [start, start + 2.0], "predicted")
    yield Curve(GAIN, "the trivial bound", line, [1.0, 1.0], "predicted")
    for kind, size in SHOWN:
        each = case(kind, 0) if size is None else flat(kind, size)
        rows = [_ratios(each, each.solve(tau, tau)) for tau in shares]
        bent = each.bend * shares
        for panel, row, start in zip((GAIN, SPEED, DECAY), np.transpose(rows), (2.0, 1.0, 1.0), strict=True):
            yield Curve(panel, kind, bent, row)
            yield at_least(f"{panel.title}: {kind}", row, start + bent, tolerance=1e-6, error=1e-9)


def _ratios(each: Case, sol: Solution) -> list[float]:
    """Return the ratios that T1 bounds from below, of the first step."""
    assert each.bottom is not None
    h, d, values = float(steps_of(sol, 1.0)[0]), float(lengths(each, sol)[0]), sol.energies
    above = values - each.energy.value(each.bottom)
    return [float((values[0] - values[1]) * 2.0 * h / d**2), float(sol.slopes[0] * h / d), float(np.sqrt(above[0] / above[1]))]


def _one_step_test(kind: str, seed: int = 0, share: float = 0.5, eta: float = 1.0, size: float = 0.0, points: int = 0) -> Found:
    if points:
        return _pictured(points)
    return _attained(kind, size, eta) if size else _one_step(kind, seed, share, eta)


def _one_step_control(what: str) -> Found:
    if what == "lambda 1 % too large":
        each = flat("one point", 1.0)
        yield from _gains(each, each.solve(1.5, 0.5), 1.0, 1.01)
    elif what == "double well, lambda = 0 claimed":
        each = case("double well", 0)
        each = Case(each.energy, each.start.replace(0.2 * each.start.coordinates), 0.0, 1.0)
        yield from _gains(each, each.solve(1.5, 0.5), 1.0, 0.0)
    else:
        each = flat("one point", 1.0)
        taus = np.linspace(0.1, 1.9, 10)
        sols = [each.solve(tau, tau, scheme=Explicit()) for tau in taus]
        yield from _gains(each, sols[3], 1.0, 1.0)
        yield Curve(GAIN, "explicit steps", taus, [_ratios(each, sol)[0] for sol in sols], "control")


ENTRIES = (
    Theorem(
        name="one-step",
        label="T1",
        title="one step gains twice the trivial dissipation",
        statement="A minimizing movement of a lambda-convex energy lowers it by (1/tau + lambda/2) d^2, twice of what its "
        "definition says; the slope it reaches is at most its speed d/tau, which is at most the slope it leaves "
        "divided by 1 + lambda tau; for lambda > 0 the energy above its minimum falls by the factor (1 + lambda "
        "tau)^2 or more.",
        formula=r"E(x_+) + \left(\frac{1}{\tau} + \frac{\lambda}{2}\right) d(x,x_+)^2 \leq E(x), \quad "
        r"|\partial E|(x_+) \leq \frac{d(x,x_+)}{\tau} \leq \frac{|\partial E|(x)}{1 + \lambda\tau}, \quad "
        r"E(x_+) - E^* \leq \frac{E(x) - E^*}{(1 + \lambda\tau)^2}",
        hypotheses=(
            "x_+ minimises E(u) + d(x, u)^2 / (2 tau)",
            "E is lambda-convex along geodesics, lambda of any sign",
            "tau < 1/lambda^- where lambda < 0; lambda > 0 for the last inequality",
        ),
        source="theory.md, 5.1 T1; Ambrosio, Gigli and Savare, Gradient Flows in Metric Spaces, chapter 3",
        problems=("E4",),
        test=_one_step_test,
        quick=[
            *SHARP,
            {"kind": "figure", "points": 8},
            *every(kind=list(KINDS), seed=[0, 1], share=[0.2, 0.8], eta=[1.0, 2.5]),
        ],
        full=[
            *SHARP,
            {"kind": "figure", "points": 24},
            *every(kind=list(KINDS), seed=range(10), share=[0.05, 0.2, 0.6, 0.95], eta=[1.0, 0.3, 2.5]),
        ],
        control=Control(
            "lambda is claimed larger than it is, by 1 % and in a double well, or the step is an explicit one",
            _one_step_control,
            every(what=["lambda 1 % too large", "double well, lambda = 0 claimed", "explicit steps"]),
        ),
    ),
)
