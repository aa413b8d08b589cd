"""The Dirac-WGAN with clipping and with a gradient penalty: absorption in finite time, a limit cycle (theory, 7.1, G7 and G8)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from measureflow import problems
from measureflow.games import DiracGAN
from measureflow.problems.base import Problem, named_scheme
from measureflow.problems.dirac import radius
from measureflow.schemes import JKO
from measureflow.solve import solve
from measureflow.states import Vector
from measureflow.theorems.base import Control, Theorem, Trial, every
from measureflow.theorems.catalogue._bilinear import crossings, exact_plane, next_crossing, plane
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import limit, order

Found = Iterator[Check | Curve]


# clipping --------------------------------------------------------------------------------------------------------------


def _absorption(theta0: float, clip: float, steps: int) -> Found:
    """Measure when an outer orbit meets the circle of radius c, and how it turns there: one piece of it after the other.

    The field jumps where the orbit meets and leaves the line |psi| = c; Runge-Kutta steps are used up to there only.
    """
    problem, side = problems.get("G7", start=(theta0, 0.0), clip=clip), float(np.sign(theta0))
    known, place = problem.constants, f"theta_0 = {theta0:g}, c = {clip:g}"
    slack = {"tolerance": 1e-6, "error": 1e-8, "where": place}
    span = 1.2 * known["time to the boundary"]
    sol = problem.solve(span / steps, "rk4", t=span)
    arc, theta = next_crossing(sol.t, clip - side * plane(sol.states)[:, 1], plane(sol.states)[:, 0])
    yield equal("time to the boundary", arc, known["time to the boundary"], **slack)
    span = 1.1 * (known["time to the circle"] - known["time to the boundary"])
    sol = solve(problem.problem, _pair(theta, side * clip), span, span / steps, scheme="rk4")
    slide, psi = next_crossing(sol.t, side * plane(sol.states)[:, 0], plane(sol.states)[:, 1])
    yield equal("time to the circle", arc + slide, known["time to the circle"], **slack)
    yield equal("psi at its end", psi, side * clip, **slack)
    quarter = 0.25 * known["period"]
    sol = solve(problem.problem, _pair(0.0, side * clip), 1.1 * quarter, quarter / steps, scheme="rk4")
    yield equal("four times the time to psi = 0", 4.0 * crossings(sol.t, plane(sol.states)[:, 1])[0], known["period"], **slack)
    yield equal("radius behind it", [radius(row) for row in sol.states], clip, **slack)


def _orders(scheme: str, start: Sequence[float], clip: float, counts: Sequence[int]) -> Found:
    """Measure the order at which schemes follow orbits that meet the bound."""
    problem = problems.get("G7", start=tuple(start), clip=clip)
    t = problem.constants["time to the circle"] + 1.0
    sols = [problem.solve(t / n, scheme, t=t) for n in counts]
    errors = [max(problem.error(sol, row) for row in range(len(sol))) for sol in sols]
    rate = order([t / n for n in counts], errors)
    place = f"{scheme}, start {list(start)}"
    yield equal("order of the largest error", rate.value, 1.0, tolerance=0.08, error=rate.error, where=place)
    yield at_most("largest |psi|", np.abs(plane(sols[0].states)[:, 1]), clip, tolerance=1e-15, where=place)


def _pair(theta: float, psi: float) -> tuple[Vector, Vector]:
    return Vector(theta), Vector(psi)


def _rise(game: DiracGAN, starts: Sequence[Sequence[float]], speeds: Sequence[float], tau: float) -> tuple[float, float]:
    """Return the largest growth per step of the distance of two implicit orbits, relative to it, and its error."""
    pair = [solve(game, _pair(*z), 60.0 * tau, tau, scheme=JKO("implicit"), speeds=tuple(speeds)) for z in starts]
    moved = (plane(pair[0].states) - plane(pair[1].states)) / np.sqrt(np.asarray(speeds))
    distance = np.hypot(*moved.T)
    residual = max(float(np.max(sol.info["residual"])) for sol in pair)
    return float(np.max(np.diff(distance)) / distance[0]), 4.0 * residual / float(distance[0]) + 1e-15


def _apart(starts: Sequence[Sequence[float]], clip: float, speeds: Sequence[float], tau: float) -> Found:
    """Two orbits never move apart in the distance weighted by the speeds: lambda = 0 in D2, exactly so for implicit steps."""
    value, error = _rise(DiracGAN("wgan", clip=clip), starts, speeds, tau)
    yield at_most(
        "relative growth of a distance", value, 0.0, tolerance=1e-9, error=error, where=f"speeds {list(speeds)}, tau = {tau:g}"
    )


def _clipping_picture(clip: float) -> Found:
    axes = Panel(f"clipped at c = {clip:g}", r"$\theta$", r"$\psi$")
    for start in ((2.0, 0.0), (-1.2, 0.2), (0.3, 0.0)):
        problem = problems.get("G7", start=start, clip=clip)
        t = problem.constants["time to the circle"] + 6.3
        sol = problem.solve(0.05, "explicit alternating", t=t)
        yield Curve(axes, f"from {start}", *plane(sol.states).T)
        exact = exact_plane(problem, np.linspace(0.0, t, 300))
        yield Curve(axes, "", exact[:, 0], exact[:, 1], role="predicted")
    size = Panel("absorption", r"$t$", "radius")
    problem = problems.get("G7", start=(2.0, 0.0), clip=clip)
    sol = problem.solve(0.05, "explicit alternating", t=7.0)
    yield Curve(size, "alternating steps of 0.05", sol.t, [radius(row) for row in sol.states])
    yield Curve(size, "exact flow", sol.t, np.hypot(*exact_plane(problem, sol.t).T), role="predicted")


_CLIPPING: Mapping[str, Callable[..., Found]] = {
    "absorption": _absorption,
    "orders": _orders,
    "apart": _apart,
    "picture": _clipping_picture,
}


def _clipping(case: str, **trial: Any) -> Found:
    yield from _CLIPPING[case](**trial)


def _clipping_control(case: str) -> Found:
    """Take no clip, an inner orbit, or a penalty with a concave kink."""
    problem = problems.get("G7", start=(2.0, 0.0) if case == "no clip" else (0.3, 0.0), clip=0.5)
    if case == "kink":
        value, error = _rise(DiracGAN("wgan", gradient_penalty=(0.7, 1.0)), [[0.1, 0.05], [0.1, -0.05]], (1.0, 1.0), 0.1)
        yield at_most("relative growth of a distance", value, 0.0, tolerance=1e-9, error=error, where=case)
        return
    game = DiracGAN("wgan") if case == "no clip" else problem.problem
    sol = solve(game, problem.initial, 6.0, 0.1, scheme="rk4")
    sizes = [radius(row) for row in sol.states]
    yield equal("radius at the end", sizes[-1], 0.5, tolerance=1e-3, error=1e-4, where=case)
    yield Curve(Panel("orbits that are not absorbed", r"$t$", "radius"), case, sol.t, sizes, role="control")


_INNER = [[0.3, 0.1], [-0.2, 0.4]]
_OUTER = [[1.5, 0.2], [0.9, -0.3]]


def _clipping_full() -> list[Trial]:
    times = every(case=["absorption"], theta0=[0.8, -1.5, 4.0], clip=[0.5, 0.7], steps=[40, 80])
    names = ["simultaneous", "alternating", "explicit simultaneous", "implicit"]
    rates = every(case=["orders"], scheme=names, start=[[2.0, 0.0], [-1.2, 0.3]], clip=[0.5], counts=[[100, 200, 400]])
    near = every(case=["apart"], starts=[_OUTER, _INNER], clip=[0.5, 1.0], speeds=[[1.0, 1.0], [0.5, 3.0]], tau=[0.1, 0.7])
    return [*_clipping_quick(), *times, *rates, *near]


def _clipping_quick() -> list[Trial]:
    times = {"case": "absorption", "theta0": 2.0, "clip": 0.5, "steps": 40}
    rates = every(case=["orders"], scheme=["alternating"], start=[[2.0, 0.0]], clip=[0.5], counts=[[75, 150, 300]])
    near = every(case=["apart"], starts=[_OUTER], clip=[0.5], speeds=[[0.5, 3.0]], tau=[0.15])
    return [times, *rates, *near, {"case": "picture", "clip": 0.5}]


CLIPPING = Theorem(
    name="wgan-clipping",
    label="G7",
    title="clipping absorbs every outer orbit of the Dirac-WGAN on a circle, in finite time",
    statement=(
        "With |psi| <= c the orbit of the Dirac-WGAN from (theta_0, 0), |theta_0| > c, turns until |psi| = c, slides along "
        "that line and meets the circle of radius c at t* = arcsin(c/|theta_0|) + sqrt(theta_0^2 - c^2)/c; there it turns "
        "for ever with the period 2 pi, as inner orbits do on their own circles. Two orbits never move apart: D2 with "
        "lambda = 0."
    ),
    formula=r"t^* = \arcsin\frac{c}{|\theta_0|} + \frac{\sqrt{\theta_0^2 - c^2}}{c}",
    hypotheses=("linear loss", "|theta_0| > c for the absorption", "convex penalties only"),
    source="theory, section 7.1, G7 and D2",
    problems=("G7",),
    test=_clipping,
    quick=_clipping_quick(),
    full=_clipping_full(),
    control=Control(
        "no clip; an inner orbit; a penalty with a concave kink", _clipping_control, every(case=["no clip", "inside", "kink"])
    ),
)


# gradient penalty ------------------------------------------------------------------------------------------------------


def half_cycle(problem: Problem, theta: float, steps: int, scheme: str = "rk4") -> tuple[float, float]:
    """Return time and theta of the next crossing of psi = 0 of an orbit that leaves it at theta.

    The field jumps at psi = 0, so that steps are used up to there only: both numbers are those of polynomials through the last
    rows before.
    """
    span, side = 0.5 * problem.constants["period"], float(np.sign(theta))
    tau = span / steps
    start = _pair(theta, 1e-13 * side)
    sol = solve(problem.problem, start, 1.2 * span, tau, scheme=named_scheme(scheme))
    values = plane(sol.states)
    return next_crossing(sol.t, side * values[:, 1], values[:, 0])


def _cycle(strength: float, size: float, counts: Sequence[int], share: float) -> Found:
    """Measure one half of the cycle, and of an orbit that starts at `share` of its amplitude."""
    problem, place = problems.get("G8", strength=strength, size=size), f"g = {strength:g}, g_0 = {size:g}"
    amplitude, q = problem.constants["amplitude"], problem.constants["half-cycle factor"]
    for first, name in ((amplitude, "on the cycle"), (share * amplitude, f"from {share:g} of its amplitude")):
        (time, theta), (slack, doubt) = limit([half_cycle(problem, first, n) for n in counts], 4)
        known = q * (first + strength * size) + strength * size
        here = f"{place}, {name}"
        yield equal(
            "time of half a cycle", 2.0 * time, problem.constants["period"], tolerance=1e-6, error=2.0 * slack, where=here
        )
        yield equal("theta half a cycle later", -theta, known, tolerance=1e-6, error=doubt, where=here)
    yield equal(
        "amplitude of the cycle, kept", known_fixed(strength, size, q), amplitude, tolerance=1e-12, error=1e-15, where=place
    )


def known_fixed(strength: float, size: float, q: float) -> float:
    """Return the fixed point of the half-cycle map a = q (a + g g_0) + g g_0."""
    return strength * size * (1.0 + q) / (1.0 - q)


def _attracts(strength: float, size: float, start: float, halves: int, steps: int) -> Found:
    """Follow half-cycles: their distance from the cycle shrinks by q each."""
    problem = problems.get("G8", strength=strength, size=size)
    sizes = [start]
    for _ in range(halves):
        sizes.append(-half_cycle(problem, sizes[-1], steps)[1])
    gaps = np.abs(np.array(sizes) - problem.constants["amplitude"])
    place = f"g = {strength:g}, from {start:g}"
    yield equal(
        "factor of half a cycle",
        gaps[1:4] / gaps[:3],
        problem.constants["half-cycle factor"],
        tolerance=1e-3,
        error=1e-4,
        where=place,
    )
    panel = Panel("distance of the turning points from the cycle", "half-cycles", r"$||\theta_k| - \theta^*|$", "log y")
    known = gaps[0] * problem.constants["half-cycle factor"] ** np.arange(halves + 1)
    yield Curve(panel, place, np.arange(halves + 1), gaps)
    yield Curve(panel, "", np.arange(halves + 1), known, role="predicted")


def _followed(scheme: str, start: Sequence[float], counts: Sequence[int]) -> Found:
    """Follow an orbit across the jump with schemes of first order."""
    problem, t = problems.get("G8", start=tuple(start)), 6.0
    errors = [problem.error(problem.solve(t / n, scheme, t=t)) for n in counts]
    yield at_most("error of an orbit / tau", np.array(errors) * np.array(counts) / t, 3.0, error=1e-6, where=scheme)


def _wrong(strength: float, size: float, scheme: str) -> Found:
    """For g >= 2 explicit orbits end at (-+ g g_0, 0), no equilibria of the game without penalty."""
    game = DiracGAN("wgan", gradient_penalty=(strength, size))
    for side in (1.0, -1.0):
        sol = solve(game, _pair(0.4 * side, 0.5 * side), 60.0, 0.2, scheme=named_scheme(scheme), save_at=20)
        theta, psi = plane(sol.states)[-1]
        place = f"g = {strength:g}, {scheme}"
        yield equal("theta at the end", theta, -side * strength * size, tolerance=1e-3, error=1e-8, where=place)
        yield equal("psi at the end", psi, 0.0, tolerance=1e-3, error=1e-8, where=place)
        yield at_least("psi on its side", side * psi, 0.0, tolerance=1e-12, error=1e-15, where=place)


def _cycle_picture(strength: float, size: float) -> Found:
    axes = Panel(f"g = {strength:g}, target {size:g}", r"$\theta$", r"$\psi$")
    for start in ((2.2, 0.3), (0.8, 0.1)):
        problem = problems.get("G8", strength=strength, size=size, start=start)
        sol = problem.solve(0.03, "explicit alternating", t=11.0)
        yield Curve(axes, f"from {start}", *plane(sol.states).T)
    cycle = problems.get("G8", strength=strength, size=size)
    exact = exact_plane(cycle, np.linspace(0.0, cycle.constants["period"], 200))
    yield Curve(axes, "limit cycle", exact[:, 0], exact[:, 1], role="predicted")


_PENALTY: Mapping[str, Callable[..., Found]] = {
    "cycle": _cycle,
    "attracts": _attracts,
    "followed": _followed,
    "wrong": _wrong,
    "picture": _cycle_picture,
}


def _penalty(case: str, **trial: Any) -> Found:
    yield from _PENALTY[case](**trial)


def _penalty_control(case: str) -> Found:
    """Take the convex penalty R1, or a strength beyond 2: no cycle is left."""
    cycle = problems.get("G8", strength=0.7, size=1.0)
    game = DiracGAN("wgan", r1=0.7) if case == "R1" else DiracGAN("wgan", gradient_penalty=(2.2, 1.0))
    sol = solve(game, cycle.initial, 30.0, 0.05, scheme="explicit")
    sizes = np.array([radius(row) for row in sol.states])
    late = np.abs(plane(sol.states)[sol.t > 20.0, 0]).max()
    yield equal("largest |theta| at last", late, cycle.constants["amplitude"], tolerance=0.1, error=1e-3, where=case)
    yield Curve(Panel("other penalties", r"$t$", "radius"), case, sol.t, sizes, role="control")


def _penalty_quick() -> list[Trial]:
    cycle = {"case": "cycle", "strength": 0.7, "size": 1.0, "counts": [20, 40, 80], "share": 1.5}
    wrong = {"case": "wrong", "strength": 2.5, "size": 0.8, "scheme": "explicit alternating"}
    followed = {"case": "followed", "scheme": "alternating", "start": [1.5, 0.2], "counts": [100, 200]}
    return [cycle, wrong, followed, {"case": "picture", "strength": 0.7, "size": 1.0}]


def _penalty_full() -> list[Trial]:
    cycles = [
        {"case": "cycle", "strength": g, "size": g0, "counts": [30, 60, 120], "share": share}
        for g, g0, share in ((0.7, 1.0, 2.0), (0.3, 0.5, 0.9), (1.5, 1.0, 3.0), (0.1, 2.0, 1.2))
    ]
    near = [{"case": "attracts", "strength": g, "size": 1.0, "start": 4.0, "halves": 6, "steps": 80} for g in (0.3, 0.7)]
    names = ["alternating", "explicit alternating", "simultaneous"]
    followed = every(case=["followed"], scheme=names, start=[[1.5, 0.2], [-2.0, 0.4]], counts=[[100, 200, 400]])
    wrong = every(case=["wrong"], strength=[2.2, 3.0], size=[1.0], scheme=["explicit simultaneous", "rk4"])
    return [*_penalty_quick(), *cycles, *near, *followed, *wrong]


PENALTY = Theorem(
    name="wgan-gp-cycle",
    label="G8",
    title="the gradient penalty leaves the Dirac-WGAN a limit cycle, or wrong points",
    statement=(
        "With the penalty (g/2)(|psi| - g_0)^2, g < 2, the Dirac-WGAN has an attracting limit cycle that crosses psi = 0 at"
        " theta = +- g g_0 coth(g pi / (4w)), w = sqrt(1 - g^2/4), of period 2 pi / w. From one crossing to the next "
        "|theta| goes to q (|theta| + g g_0) + g g_0, q = exp(-g pi / (2w)): the distance from the cycle shrinks by q. For "
        "g >= 2 orbits end at (+- g g_0, 0), if they do not jump across the kink, as minimizing movements do."
    ),
    formula=r"\theta^* = g\, g_0 \coth\frac{g \pi}{4 w}, \quad w = \sqrt{1 - g^2/4}, \quad T = 2\pi / w",
    hypotheses=("linear loss", "penalty with a concave kink at psi = 0", "not the rest points |theta| <= g g_0 on psi = 0"),
    source="theory, section 7.1, G8",
    problems=("G8",),
    test=_penalty,
    quick=_penalty_quick(),
    full=_penalty_full(),
    control=Control("the convex penalty R1; a strength g >= 2", _penalty_control, every(case=["R1", "g >= 2"])),
)

ENTRIES = (CLIPPING, PENALTY)
