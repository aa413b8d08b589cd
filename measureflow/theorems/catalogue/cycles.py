"""Generators that are laws in the variance game and weights of modes (theory, section 8, M3 and M5)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from measureflow import problems
from measureflow.problems.base import Problem, named_scheme
from measureflow.schemes import Explicit
from measureflow.solution import Solution
from measureflow.solve import solve
from measureflow.states import Gaussian
from measureflow.theorems.base import Control, Theorem, Trial, every
from measureflow.theorems.catalogue._bilinear import next_crossing, roots, spectrum, start
from measureflow.theorems.check import Check, at_least, at_most, equal
from measureflow.theorems.curves import Curve, Panel
from measureflow.theorems.statistics import order

Found = Iterator[Check | Curve]


def _drift(problem: Problem, sol: Solution) -> np.ndarray:
    """Return the invariant of a problem at every row less its first value."""
    (invariant,) = problem.invariants.values()
    values = np.array([invariant(row) for row in sol.states])
    return np.asarray(values - values[0])


def _orders(problem: Problem, scheme: str, counts: Sequence[int], t: float, place: str) -> Found:
    """Measure the order in tau of the drift of the invariant."""
    taus = np.array([t / n for n in counts])
    drift = np.array([np.abs(_drift(problem, problem.solve(tau, scheme, t=t))).max() for tau in taus])
    if scheme == "rk4":
        yield at_most("drift / tau^4, rk4", drift / taus**4, 1.0, error=1e-3, where=place)
        return
    rate = order(taus, drift)
    known = 2.0 if scheme.startswith("vim") else 1.0
    yield at_least(f"order of the drift, {scheme}", rate.value, known, tolerance=0.1, error=rate.error, where=place)


# the variance game -----------------------------------------------------------------------------------------------------


def _conserved(scheme: str, first: float, counts: Sequence[int], t: float) -> Found:
    """Measure the drift of H."""
    problem = problems.get("G12", law=Gaussian(0.0, first**2))
    yield from _orders(problem, scheme, counts, t, f"g_0 = {first:g}")


def _with_speeds(speeds: Sequence[float], first: float, tau: float) -> Found:
    """Check that the game's own invariant keeps its value with speeds: a^2/(2 eta_2) + (g^2/4 - (g*^2/2) log g)/eta_1."""
    problem = problems.get("G12", law=Gaussian(0.0, first**2))
    sol = problem.solve(tau, "rk4", t=40.0 * tau, speeds=tuple(speeds))
    (drift,) = sol.invariants(drift=True).values()
    yield equal("drift of H with speeds / tau^4", drift / tau**4, 0.0, tolerance=1.0, error=1e-3, where=f"speeds {list(speeds)}")
    moved = np.ptp([float(row[0].cov[0, 0]) for row in sol.states])
    yield at_least("change of the variance meanwhile", moved, 0.2, error=1e-6, where=f"speeds {list(speeds)}")


def _turning(first: float, tau: float, t: float) -> Found:
    """Follow the deviation to the other end of its cycle, where the critic vanishes again."""
    problem = problems.get("G12", law=Gaussian(0.0, first**2))
    sol = problem.solve(tau, "rk4", t=t)
    bend = np.array([float(row[1].values[-1]) for row in sol.states])
    g = np.array([float(np.sqrt(row[0].cov[0, 0])) for row in sol.states])
    _, seen = next_crossing(sol.t[1:], -bend[1:], g[1:])
    place, known = f"g_0 = {first:g}", problem.constants["largest deviation"]
    yield equal("deviation at the turning point", seen, known, tolerance=1e-4, error=1e-5, where=place)
    plane = Panel("variance game, one cycle", "deviation $g$", "critic $a$")
    yield Curve(plane, place, g, bend)
    level = np.linspace(problem.constants["smallest deviation"], known, 200)
    height = level**2 / 4.0 - problem.constants["frequency"] ** 2 / 2.0 * np.log(level)
    square = np.maximum(2.0 * (height[0] - height), 0.0)
    for side in (1.0, -1.0):
        yield Curve(plane, "", level, side * np.sqrt(square), role="predicted")


def _secular(scheme: str, tau: float, cycles: int) -> Found:
    """Alternating and midpoint steps make H waver, but not drift away."""
    problem = problems.get("G12", law=Gaussian(0.0, 1.0))
    t = cycles * 2.0 * np.pi / problem.constants["frequency"]
    sol = problem.solve(tau, scheme, t=t)
    drift = np.abs(_drift(problem, sol))
    third = len(drift) // 3
    ratio = drift[-third:].max() / drift[:third].max()
    yield at_most("drift of H in the last third, over that in the first", ratio, 1.0, tolerance=0.1, error=0.01, where=scheme)
    yield Curve(Panel("drift of H", r"$t$", r"$|H - H_0|$"), f"{scheme}, {tau:g}", sol.t, drift)


def _nash(goal: float, beta: float, eta: float) -> Found:
    """Compare the eigenvalues at the target: of the mean and of the deviation."""
    target = Gaussian(0.0, goal**2)
    problem = problems.get("G12", target=target, law=target, beta=beta)
    known = [*roots(0.5 * eta * beta, eta), *roots(0.5 * eta * beta, eta * goal**2)]
    place = f"g* = {goal:g}, beta = {beta:g}, eta = {eta:g}"
    near = solve(problem.problem, problem.initial, 0.01, 0.01, scheme=Explicit(), speeds=(1.0, eta)).linearisation()
    gaps = [np.abs(near.eigenvalues - value).min() for value in known]
    yield equal("distances of the eigenvalues", gaps, 0.0, tolerance=1e-7, error=1e-8, where=place)


_VARIANCE: Mapping[str, Callable[..., Found]] = {
    "conserved": _conserved,
    "speeds": _with_speeds,
    "turning": _turning,
    "secular": _secular,
    "nash": _nash,
}


def _variance(case: str, **trial: Any) -> Found:
    yield from _VARIANCE[case](**trial)


def _variance_control(case: str) -> Found:
    """Take a ridge, or simultaneous steps, in place of a flow without ridge."""
    free, beta = problems.get("G12", law=Gaussian(0.0, 1.0)), 0.1 if case == "ridge" else 0.0
    problem = problems.get("G12", law=Gaussian(0.0, 1.0), beta=beta)
    sol = problem.solve(0.2, named_scheme("rk4" if case == "ridge" else "explicit simultaneous"), t=10.0)
    drift = np.abs(_drift(free, sol))
    third = len(drift) // 3
    ratio = drift[-third:].max() / drift[:third].max()
    yield at_most("drift of H in the last third, over that in the first", ratio, 1.0, tolerance=0.1, error=0.01, where=case)
    yield Curve(Panel("drift of H where it fails", r"$t$", r"$|H - H_0|$"), case, sol.t, drift, role="control")


def _variance_quick() -> list[Trial]:
    kept = every(case=["conserved"], scheme=["alternating", "vim symmetric"], first=[0.8], counts=[[12, 24, 48]], t=[2.0])
    turning = {"case": "turning", "first": 0.7, "tau": 0.05, "t": 3.5}
    stays = {"case": "secular", "scheme": "explicit alternating", "tau": 0.15, "cycles": 6}
    nash = [{"case": "nash", "goal": g, "beta": b, "eta": eta} for g, b, eta in ((1.3, 0.5, 1.0), (0.8, 2.0, 1.7))]
    speeds = {"case": "speeds", "speeds": [0.6, 1.7], "first": 0.8, "tau": 0.05}
    return [*kept, speeds, turning, stays, *nash, {"case": "nash", "goal": 1.3, "beta": 0.0, "eta": 1.0}]


def _variance_full() -> list[Trial]:
    names = ["alternating", "explicit alternating", "rk4"]
    kept = every(case=["conserved"], scheme=names, first=[0.3, 1.6], counts=[[40, 80, 160]], t=[2.0])
    middle = {"case": "conserved", "scheme": "vim implicit", "first": 0.8, "counts": [10, 20, 40], "t": 2.0}
    turning = [{"case": "turning", "first": first, "tau": 0.02, "t": 4.0} for first in (0.3, 1.0)]
    stays = [{"case": "secular", "scheme": "alternating", "tau": 0.1, "cycles": 15}]
    stays += [{"case": "secular", "scheme": "vim symmetric", "tau": 0.15, "cycles": 8}]
    nash = every(case=["nash"], goal=[0.5, 2.0], beta=[0.0, 0.3, 3.0], eta=[0.4, 2.0])
    return [*_variance_quick(), *kept, middle, *turning, *stays, *nash]


VARIANCE = Theorem(
    name="variance-game",
    label="G12",
    title="against a quadratic critic the spread of a Gaussian generator shrinks and grows for ever",
    statement=(
        "Generator N(0, g^2), target N(0, g*^2), critic a x^2 / 2 without ridge: H = a^2/2 + g^2/4 - (g*^2/2) log g is "
        "conserved, so that g moves between two turning points for ever; alternating and midpoint schemes keep H up to "
        "their order with no secular drift. At the target the eigenvalues are -beta/2 +- sqrt(beta^2/4 - g*^2) with a ridge"
        " beta, +- i g* without."
    ),
    formula=r"H = \frac{a^2}{2} + \frac{g^2}{4} - \frac{g_*^2}{2} \log g, \quad \lambda = -\frac{\beta}{2}"
    r" \pm \sqrt{\frac{\beta^2}{4} - g_*^2}",
    hypotheses=(
        "centred Gaussians on the line",
        "beta = 0 for the conservation",
        "the flow, or alternating and midpoint schemes",
    ),
    source="theory, section 8 M5 and 9.4 G12",
    problems=("G12",),
    test=_variance,
    quick=_variance_quick(),
    full=_variance_full(),
    control=Control("a ridge; explicit simultaneous steps", _variance_control, every(case=["ridge", "simultaneous"])),
)


# weights of modes ------------------------------------------------------------------------------------------------------


def _uneven(k: int) -> list[float]:
    weights = np.arange(1.0, k + 1.0)
    return [float(w) for w in weights / weights.sum()]


def _kept(scheme: str, modes: int, eta: float, counts: Sequence[int], t: float) -> Found:
    """Measure the drift of KL(q | p) + |D|^2 / (2 eta) without a ridge."""
    problem = problems.get("G13", eta=eta, start=_uneven(modes))
    yield from _orders(problem, scheme, counts, t, f"{modes} modes, eta = {eta:g}")


def _dissipated(modes: int, eta: float, beta: float, t: float, steps: int) -> Found:
    """With a ridge V' = -beta |D|^2: compare the integral by Simpson's rule with the change of V."""
    problem, place = (
        problems.get("G13", eta=eta, beta=beta, start=_uneven(modes)),
        f"{modes} modes, eta = {eta:g}, beta = {beta:g}",
    )
    free = problems.get("G13", eta=eta, start=_uneven(modes))
    sol = problem.solve(t / steps, "rk4", t=t)
    change = _drift(free, sol)
    work = np.array([float(row[1].values @ row[1].values) for row in sol.states])
    rule = np.where(np.arange(steps + 1) % 2 == 1, 4.0, 2.0)
    rule[[0, -1]] = 1.0
    yield equal("V(T) - V(0)", change[-1], -beta * (rule @ work) * t / (3.0 * steps), tolerance=1e-5, error=1e-6, where=place)
    yield at_most("growth of V in a step", np.diff(change), 0.0, tolerance=1e-9, error=1e-10, where=place)
    share = np.array([row[0].masses for row in sol.states])
    panel = Panel(f"weights of {modes} modes, beta = {beta:g}", r"$t$", "weight")
    for k in range(modes):
        yield Curve(panel, f"mode {k + 1}", sol.t, share[:, k])
    yield Curve(panel, "uniform", [0.0, t], [1.0 / modes] * 2, role="predicted")


def _modes_nash(modes: int, eta: float, beta: float) -> Found:
    """Compare the eigenvalues at the uniform weights; a constant critic, which moves nothing, decays at the rate eta beta."""
    problem = problems.get("G13", eta=eta, beta=beta, start=[1.0 / modes] * modes)
    pair = roots(0.5 * eta * beta, eta / modes)
    c, place = problem.constants, f"{modes} modes, eta = {eta:g}, beta = {beta:g}"
    slow = complex(-c["slowest decay"], c["frequency"])
    yield equal("the slowest of the pair", abs(pair[0] - slow), 0.0, tolerance=1e-12, error=1e-14, where=place)
    yield from spectrum(problem, problem.initial, [*pair * (modes - 1), -eta * beta], place)


def _lost(scheme: str, eta: float) -> Found:
    """Check that a lost mode stays lost."""
    problem = problems.get("G13", eta=eta, beta=0.3)
    law, critic = problem.initial
    halves = (law.replace(np.array([0.6, 0.4, 0.0, 0.0])), critic)
    sol = start(problem, halves, 3.0, 0.1, named_scheme(scheme))
    yield equal("weights of lost modes", [row[0].masses[2:] for row in sol.states], 0.0, tolerance=1e-15, where=scheme)
    yield at_least("critic at a lost mode", sol.states[-1][1].values[2:] * -1.0, 0.1, error=1e-3, where=scheme)


_WEIGHTS: Mapping[str, Callable[..., Found]] = {
    "kept": _kept,
    "dissipated": _dissipated,
    "nash": _modes_nash,
    "lost": _lost,
}


def _weights(case: str, **trial: Any) -> Found:
    yield from _WEIGHTS[case](**trial)


def _weights_control(case: str) -> Found:
    """Take a ridge, or simultaneous steps, in place of a flow without ridge."""
    free = problems.get("G13", eta=2.0)
    problem = problems.get("G13", eta=2.0, beta=0.2) if case == "ridge" else free
    sol = problem.solve(0.1, "rk4" if case == "ridge" else "explicit simultaneous", t=10.0)
    drift = _drift(free, sol)
    yield equal("drift of KL + |D|^2 / (2 eta)", drift[-1], 0.0, tolerance=0.01, error=1e-3, where=case)
    yield Curve(Panel("drift where it fails", r"$t$", r"$V - V_0$"), case, sol.t, drift, role="control")


def _weights_quick() -> list[Trial]:
    names = ["alternating", "explicit alternating", "vim symmetric"]
    kept = every(case=["kept"], scheme=names, modes=[3], eta=[2.0], counts=[[12, 24, 48]], t=[2.0])
    kept += every(case=["kept"], scheme=["rk4"], modes=[3], eta=[2.0], counts=[[20, 40, 80]], t=[2.0])
    falls = {"case": "dissipated", "modes": 4, "eta": 2.0, "beta": 0.3, "t": 10.0, "steps": 100}
    return [
        *kept,
        falls,
        *every(case=["nash"], modes=[3], eta=[2.0], beta=[0.0, 0.7]),
        *every(case=["lost"], scheme=["rk4"], eta=[2.0]),
    ]


def _weights_full() -> list[Trial]:
    names = ["alternating", "explicit alternating", "vim symmetric", "vim implicit", "rk4"]
    kept = every(case=["kept"], scheme=names, modes=[2, 5], eta=[0.5], counts=[[20, 40, 80]], t=[2.0])
    falls = every(case=["dissipated"], modes=[2, 6], eta=[0.7, 3.0], beta=[0.2, 1.0], t=[10.0], steps=[200])
    nash = every(case=["nash"], modes=[2, 4, 7], eta=[0.5, 2.0], beta=[0.0, 0.4, 3.0])
    lost = every(case=["lost"], scheme=["alternating", "explicit simultaneous", "vim symmetric"], eta=[1.0])
    return [*_weights_quick(), *kept, *falls, *nash, *lost]


WEIGHTS = Theorem(
    name="mode-weights",
    label="G13",
    title="weights of modes oscillate without a ridge, settle with one, and a lost mode stays lost",
    statement=(
        "A generator that weighs k modes in Fisher-Rao against a linear critic of speed eta with ridge beta: V = KL(q | p) "
        "+ |D|^2 / (2 eta) has V' = -beta |D|^2, so that it is conserved for beta = 0. At the uniform target the "
        "eigenvalues are -eta beta/2 +- sqrt(eta^2 beta^2/4 - eta/k). A weight that is zero stays zero."
    ),
    formula=r"\frac{d}{dt} \left( \mathrm{KL}(q | p) + \frac{|D|^2}{2 \eta} \right) = -\beta |D|^2",
    hypotheses=(
        "Fisher-Rao metric of the weights",
        "beta = 0 for the conservation",
        "the flow, or alternating and midpoint schemes",
    ),
    source="theory, section 8 M3 and 9.4 G13",
    problems=("G13",),
    test=_weights,
    quick=_weights_quick(),
    full=_weights_full(),
    control=Control("a ridge; explicit simultaneous steps", _weights_control, every(case=["ridge", "simultaneous"])),
)

ENTRIES = (VARIANCE, WEIGHTS)
